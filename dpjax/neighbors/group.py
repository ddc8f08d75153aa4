"""Neighbour tables of some systems that lie in one file, or in memory."""

from __future__ import annotations

import hashlib
import logging
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from dpjax.errors import DataError
from dpjax.neighbors.folder import TableFolder
from dpjax.neighbors.frames import FrameSource, frame_table, in_threads
from dpjax.neighbors.store import TableFile, index_dtype
from dpjax.neighbors.table import NeighborTable

log = logging.getLogger(__name__)


class Budget:
    """Bytes that may still be used, by all groups together."""

    def __init__(self, limit: int):
        self._left = limit
        self._lock = threading.Lock()
        self._warned = False

    def take(self, size: int) -> bool:
        """Whether so many bytes are left; they are taken."""
        with self._lock:
            if size <= self._left:
                self._left -= size
                return True
            warned, self._warned = self._warned, True
        if not warned:
            log.warning(
                "the memory limit of the neighbour cache is reached; further frames are searched at each use "
                "(dpjax/neighbor_cache_size, dpjax/neighbor_cache)"
            )
        return False

    def give(self, size: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self._left += size


class TableGroup:
    """Tables of all frames of consecutive systems; rows number the frames through the systems.

    Attributes:
        n_frame: rows.
        most: (n_type + 1,) neighbours an atom has at most: of each type, then of all together, over the frames seen.
    """

    def __init__(self, systems: Sequence[FrameSource], rcut: float, n_type: int, budget: Budget):
        self._systems = systems
        self._starts = [0, *accumulate(system.n_frame for system in systems)]
        self.n_frame = self._starts[-1]
        self.most = np.zeros(n_type + 1, np.int64)
        self._rcut, self._n_type, self._budget = rcut, n_type, budget
        self._seen = np.zeros(self.n_frame, bool)
        self._memory: dict[int, NeighborTable] = {}
        self._file: TableFile | None = None
        self._looked = False
        self._key_value: str | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What messages call it."""
        others = f" and {len(self._systems) - 1} others" if len(self._systems) > 1 else ""
        return f"{self._systems[0].name}{others}"

    @property
    def complete(self) -> bool:
        """Whether ``most`` covers every frame."""
        return bool(self._seen.all())

    @property
    def nbytes(self) -> int:
        """Bytes of the tables kept in memory."""
        return sum(table.nbytes for table in list(self._memory.values()))

    def row(self, system: int, frame: int) -> int:
        """The row of a frame of the system at this position."""
        own = self._systems[system]
        if not 0 <= frame < own.n_frame:
            raise IndexError(f"system {own.name} has {own.n_frame} frames; frame {frame} was asked for")
        return self._starts[system] + frame

    def table(self, row: int) -> NeighborTable:
        """The table of one row; searched if it is neither in the file nor in memory."""
        found = self._find(row)
        if self._file is None:
            self._keep(row, found)
        return found

    def fill(self, workers: int) -> Iterator[None]:
        """Searches all frames and keeps what fits; yields once per frame."""
        for row, found in enumerate(in_threads(self._find, range(self.n_frame), workers)):
            self._keep(row, found)
            yield

    def open(self, folder: TableFolder) -> bool:
        """Uses the file of an earlier run, if it is there and undamaged; looks for it once."""
        with self._lock:
            if self._looked or self._file is not None:
                return self._file is not None
            self._looked = True
            path = folder.path(self._key())
            if not path.exists():
                return False
            try:
                file = TableFile(path, self._n_type)
                if file.header.get("key") != self._key() or file.n_frame != self.n_frame:
                    raise DataError(f"{path}: the neighbour cache belongs to other data")
            except (DataError, OSError) as error:
                log.warning("%s; the neighbours of system %s are searched again", error, self.name)
                return False
            folder.use(path)
            self._file, held, self._memory = file, self.nbytes, {}
            self._budget.give(held)
            self.most[:] = file.header["most"]
            self._seen[:] = True
            return True

    def write(self, folder: TableFolder, workers: int) -> Iterator[None]:
        """Searches all frames and writes the file; yields once per frame.

        Raises:
            FolderFull: its limit does not allow the file.
            OutputError: the file cannot be written.
        """
        writer = folder.writer(self._key())
        try:
            for row, found in enumerate(in_threads(self._find, range(self.n_frame), workers)):
                folder.check(writer.size)
                writer.append(found)
                self._count(row, found)
                yield
            writer.commit({"key": self._key(), "rcut": self._rcut, "most": self.most.tolist()})
        finally:
            writer.abort()
        self._looked = False

    def _find(self, row: int) -> NeighborTable:
        system = self._systems[bisect_right(self._starts, row) - 1]
        if self._file is not None:
            return self._file.table(row, system.n_atom)
        kept = self._memory.get(row)
        if kept is not None:
            return replace(kept, index=kept.index.astype(np.int32))
        frame = row - self._starts[bisect_right(self._starts, row) - 1]
        return frame_table(system, frame, self._n_type, self._rcut)[0]

    def _keep(self, row: int, table: NeighborTable) -> None:
        self._count(row, table)
        compact = replace(table, index=table.index.astype(index_dtype(table.n_atom)))
        if row not in self._memory and self._budget.take(compact.nbytes):
            self._memory[row] = compact

    def _count(self, row: int, table: NeighborTable) -> None:
        if self._seen[row] or table.n_atom == 0:
            return
        with self._lock:
            counts = np.append(table.count.max(axis=0), table.count.sum(axis=1).max())
            self.most = np.maximum(self.most, counts)
            self._seen[row] = True

    def _key(self) -> str:
        """Hash of all that the tables depend on."""
        if self._key_value is None:
            keys = [_key(system, self._rcut, self._n_type) for system in self._systems]
            self._key_value = keys[0] if len(keys) == 1 else hashlib.sha256("".join(keys).encode()).hexdigest()
        return self._key_value


def _key(system: FrameSource, rcut: float, n_type: int) -> str:
    digest = hashlib.sha256(system.content_hash(("coord", "box")).encode())
    digest.update(f"{rcut!r} {n_type} {system.periodic} {system.n_frame}".encode())
    for frame in range(system.n_frame if system.mixed else min(1, system.n_frame)):
        digest.update(np.ascontiguousarray(system.frame_types(frame), "<i4").tobytes())
    return digest.hexdigest()
