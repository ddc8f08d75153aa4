"""A folder with files of neighbour tables, which together stay below a limit."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from dpjax.neighbors.store import TableWriter

log = logging.getLogger(__name__)

SUFFIX = ".neighbors"


class FolderFull(Exception):
    """A file would take the folder over its limit."""


class TableFolder:
    """Files of this run and of earlier ones; those used longest ago make room for new ones."""

    def __init__(self, path: Path, limit: int):
        """
        Args:
            path: the folder, made when the first file is written.
            limit: bytes that all files together may take.
        """
        self._path, self._limit = path, limit
        self._used: dict[Path, int] = {}  # files of this run, bytes

    def path(self, key: str) -> Path:
        """Where the tables of data with this key are."""
        return self._path / f"{key[:32]}{SUFFIX}"

    def writer(self, key: str) -> TableWriter:
        """Begins a file. Raises OutputError: the folder cannot be written."""
        return TableWriter(self.path(key))

    def check(self, size: int) -> None:
        """Raises FolderFull if a new file of so many bytes does not fit beside the others of this run."""
        if sum(self._used.values()) + size > self._limit:
            raise FolderFull(
                f"{self._path}: the neighbour tables need more than {self._limit / 2**30:.3g} GiB (dpjax/neighbor_cache_size)"
            )

    def use(self, path: Path) -> None:
        """Notes that a file belongs to this run, and removes those of other runs that there is no room for any more."""
        try:
            os.utime(path)
        except OSError:  # a folder that may only be read
            pass
        self._used[path] = path.stat().st_size
        others = [(status.st_mtime_ns, status.st_size, other) for other, status in self._others()]
        total = sum(self._used.values()) + sum(size for _, size, _ in others)
        for _, size, other in sorted(others):
            if total <= self._limit:
                return
            try:
                other.unlink()
            except OSError as error:
                log.warning("%s cannot be removed, and the neighbour cache is larger than its limit: %s", other, error)
                return
            total -= size

    def _others(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self._path.glob(f"*{SUFFIX}"):
            if path not in self._used:
                try:
                    found.append((path, path.stat()))
                except OSError:  # another run removed it
                    continue
        return found
