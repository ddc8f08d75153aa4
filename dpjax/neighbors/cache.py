"""Neighbour tables of a data set, found once: training never searches a frame twice."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpjax.errors import DataError, OutputError
from dpjax.neighbors.frames import FrameSource, default_workers, frame_table, in_threads
from dpjax.neighbors.store import TableFile, TableWriter, index_dtype
from dpjax.neighbors.table import NeighborTable

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # frames done, frames in all


class NeighborCache:
    """Tables of all frames of several systems, kept compactly.

    About 5 bytes per neighbour: in memory up to ``memory_limit``, beyond which further tables are searched whenever
    they are asked for; or, with a ``directory``, in one memory-mapped file per system, which later runs find again by
    the content of the data.  May be used from several threads.
    """

    def __init__(
        self,
        systems: Sequence[FrameSource],
        rcut: float,
        n_type: int,
        directory: str | Path | None = None,
        *,
        memory_limit: int = 8 * 2**30,
    ):
        """
        Args:
            systems: data systems (``dpjax.data.System``).
            rcut: cut-off, angstrom; the largest of the model.
            n_type: number of the model's types.
            directory: folder for files, made if absent; :meth:`build` writes them.
            memory_limit: bytes that tables may take in memory.
        """
        self.rcut = float(rcut)
        self.n_type = n_type
        self._systems = [_SystemTables(system, self.rcut, n_type) for system in systems]
        self._directory = None if directory is None else Path(directory)
        self._budget = _Budget(memory_limit)

    def table(self, system: int, frame: int) -> NeighborTable:
        """The table of one frame: searched at the first call, unless :meth:`build` or an earlier run found it.

        Raises:
            DataError: the frame cannot have neighbours (see :func:`dpjax.neighbors.search`); system and frame are named.
        """
        tables = self._systems[system]
        if self._directory is not None:
            tables.open(self._directory)
        return tables.table(frame, self._budget)

    def build(self, progress: Progress | None = None, workers: int | None = None) -> None:
        """Finds the tables of all frames that are not there yet, and writes the files.

        Args:
            progress: called with the frames done and the frames in all, from the calling thread.
            workers: threads; the number of cores by default.
        """
        ticks = _Ticks(progress, sum(tables.system.n_frame for tables in self._systems))
        for tables in self._systems:
            if not self._have_file(tables, ticks, workers or default_workers()) and not tables.complete:
                for _ in tables.fill(self._budget, workers or default_workers()):
                    ticks.add(1)

    def max_count(self, *, mixed: bool = False, progress: Progress | None = None) -> np.ndarray:
        """Most neighbours that any atom of any frame has; builds what is missing.

        Args:
            mixed: of all types together instead of each.
            progress: as in :meth:`build`.

        Returns:
            (n_type,), or (1,) if ``mixed``; the maximum of the totals, not the total of the maxima.
        """
        self.build(progress)
        most = [tables.most[self.n_type :] if mixed else tables.most[: self.n_type] for tables in self._systems]
        return np.max(most, axis=0) if most else np.zeros(1 if mixed else self.n_type, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes that tables take in memory now; those in files take none."""
        return sum(tables.nbytes for tables in self._systems)

    def _have_file(self, tables: _SystemTables, ticks: _Ticks, workers: int) -> bool:
        """Opens or writes the file of one system; False when there is none and tables belong into memory."""
        if self._directory is None:
            return False
        if tables.open(self._directory):
            ticks.add(tables.system.n_frame)
            return True
        before = ticks.done
        try:
            for _ in tables.write(self._directory, workers):
                ticks.add(1)
            return tables.open(self._directory)
        except OutputError as error:
            log.warning("%s; neighbour tables are kept in memory only", error)
            self._directory, ticks.done = None, before
            return False


class _SystemTables:
    """Tables of one system: in a file, or in memory."""

    def __init__(self, system: FrameSource, rcut: float, n_type: int):
        self.system = system
        self.most = np.zeros(n_type + 1, np.int64)  # of each type, then of all together, over the frames seen
        self._rcut, self._n_type = rcut, n_type
        self._seen = np.zeros(system.n_frame, bool)
        self._memory: dict[int, NeighborTable] = {}
        self._file: TableFile | None = None
        self._looked = False
        self._key_value: str | None = None
        self._lock = threading.Lock()

    @property
    def complete(self) -> bool:
        """Whether ``most`` covers every frame."""
        return bool(self._seen.all())

    @property
    def nbytes(self) -> int:
        """Bytes of the tables kept in memory."""
        return sum(table.nbytes for table in list(self._memory.values()))

    def table(self, frame: int, budget: _Budget) -> NeighborTable:
        if not 0 <= frame < self.system.n_frame:
            raise IndexError(f"system {self.system.name} has {self.system.n_frame} frames; frame {frame} was asked for")
        found = self._find(frame)
        if self._file is None:
            self._keep(frame, found, budget)
        return found

    def fill(self, budget: _Budget, workers: int) -> Iterator[None]:
        """Searches all frames and keeps what fits; yields once per frame."""
        for frame, found in enumerate(in_threads(self._find, range(self.system.n_frame), workers)):
            self._keep(frame, found, budget)
            yield

    def open(self, directory: Path) -> bool:
        """Uses the file of an earlier run, if it is there and undamaged; looks for it once."""
        with self._lock:
            if self._looked or self._file is not None:
                return self._file is not None
            self._looked = True
            path = self._path(directory)
            if not path.exists():
                return False
            try:
                file = TableFile(path, self.system.n_atom, self._n_type)
                if file.header.get("key") != self._key() or file.n_frame != self.system.n_frame:
                    raise DataError(f"{path}: the neighbour cache belongs to other data")
            except (DataError, OSError) as error:
                log.warning("%s; the neighbours of system %s are searched again", error, self.system.name)
                return False
            self._file, self._memory = file, {}
            self.most[:] = file.header["most"]
            self._seen[:] = True
            return True

    def write(self, directory: Path, workers: int) -> Iterator[None]:
        """Searches all frames and writes the file; yields once per frame.

        Raises:
            OutputError: the file cannot be written.
        """
        writer = TableWriter(self._path(directory))
        try:
            for frame, found in enumerate(in_threads(self._find, range(self.system.n_frame), workers)):
                writer.append(found)
                self._count(frame, found)
                yield
            writer.commit({"key": self._key(), "rcut": self._rcut, "most": self.most.tolist()})
        finally:
            writer.abort()
        self._looked = False

    def _find(self, frame: int) -> NeighborTable:
        if self._file is not None:
            return self._file.table(frame)
        kept = self._memory.get(frame)
        if kept is not None:
            return replace(kept, index=kept.index.astype(np.int32))
        return frame_table(self.system, frame, self._n_type, self._rcut)[0]

    def _keep(self, frame: int, table: NeighborTable, budget: _Budget) -> None:
        self._count(frame, table)
        compact = replace(table, index=table.index.astype(index_dtype(table.n_atom)))
        if frame not in self._memory and budget.take(compact.nbytes):
            self._memory[frame] = compact

    def _count(self, frame: int, table: NeighborTable) -> None:
        if self._seen[frame] or table.n_atom == 0:
            return
        with self._lock:
            counts = np.append(table.count.max(axis=0), table.count.sum(axis=1).max())
            self.most = np.maximum(self.most, counts)
            self._seen[frame] = True

    def _key(self) -> str:
        """Hash of all that the tables depend on."""
        if self._key_value is None:
            digest = hashlib.sha256(self.system.content_hash(("coord", "box")).encode())
            digest.update(f"{self._rcut!r} {self._n_type} {self.system.periodic} {self.system.n_frame}".encode())
            for frame in range(self.system.n_frame if self.system.mixed else min(1, self.system.n_frame)):
                digest.update(np.ascontiguousarray(self.system.frame_types(frame), "<i4").tobytes())
            self._key_value = digest.hexdigest()
        return self._key_value

    def _path(self, directory: Path) -> Path:
        return directory / f"{self._key()[:32]}.neighbors"


class _Budget:
    """Bytes that may still be used."""

    def __init__(self, limit: int):
        self._left = limit
        self._lock = threading.Lock()
        self._warned = False

    def take(self, size: int) -> bool:
        with self._lock:
            if size <= self._left:
                self._left -= size
                return True
            warned, self._warned = self._warned, True
        if not warned:
            log.warning("the memory limit of the neighbour cache is reached; further frames are searched at each use")
        return False


class _Ticks:
    """Counts frames for a progress callback."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self.done = progress, total, 0

    def add(self, n: int) -> None:
        self.done += n
        if self._progress is not None:
            self._progress(self.done, self._total)
