"""Neighbour tables of a data set, found once: training never searches a frame twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dpjax.errors import OutputError
from dpjax.neighbors.folder import FolderFull, TableFolder
from dpjax.neighbors.frames import FrameSource, default_workers
from dpjax.neighbors.group import Budget, TableGroup
from dpjax.neighbors.table import NeighborTable

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # frames done, frames in all

LIMIT = 8 * 2**30
"""Bytes that tables may take, in memory and again in a folder."""
FILES = 256  # at most; with more systems, neighbouring ones share a file, since a process can map and open only so many


class NeighborCache:
    """Tables of all frames of several systems, kept compactly.

    About 5 bytes per neighbour, in memory or, with a ``directory``, in memory-mapped files that later runs find again by the
    content of the data. What does not fit is searched whenever it is asked for. In memory, tables that are there stay: a
    training takes the frames of a pass in random order, where throwing out those used longest ago would throw out just those that
    come next. In the folder, files that were used longest ago are removed first, and never those of this run.  May be used from
    several threads.
    """

    def __init__(
        self,
        systems: Sequence[FrameSource],
        rcut: float,
        n_type: int,
        directory: str | Path | None = None,
        *,
        limit: int = LIMIT,
    ):
        """
        Args:
            systems: data systems (``dpjax.data.System``).
            rcut: cut-off, angstrom; the largest of the model.
            n_type: number of the model's types.
            directory: folder for files, made if absent; :meth:`build` writes them.
            limit: bytes that tables may take in memory, and those that files of this and other runs may take in the folder.
        """
        self.rcut = float(rcut)
        self.n_type = n_type
        self._folder = None if directory is None else TableFolder(Path(directory), limit)
        budget, step = Budget(limit), -(-len(systems) // FILES) or 1
        self._groups = [
            TableGroup(systems[i : i + step], self.rcut, n_type, budget) for i in range(0, len(systems), step)
        ]
        self._step = step

    def table(self, system: int, frame: int) -> NeighborTable:
        """The table of one frame: searched at the first call, unless :meth:`build` or an earlier run found it.

        Raises:
            DataError: the frame cannot have neighbours (see :func:`dpjax.neighbors.search`); system and frame are named.
        """
        group = self._groups[system // self._step]
        if self._folder is not None:
            group.open(self._folder)
        return group.table(group.row(system % self._step, frame))

    def build(self, progress: Progress | None = None, workers: int | None = None) -> None:
        """Finds the tables of all frames that are not there yet, and writes the files.

        Args:
            progress: called with the frames done and the frames in all, from the calling thread.
            workers: threads; the number of cores by default.
        """
        workers = workers or default_workers()
        ticks = _Ticks(progress, sum(group.n_frame for group in self._groups))
        for group in self._groups:
            if not self._have_file(group, ticks, workers) and not group.complete:
                for _ in group.fill(workers):
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
        most = [group.most[self.n_type :] if mixed else group.most[: self.n_type] for group in self._groups]
        return np.max(most, axis=0) if most else np.zeros(1 if mixed else self.n_type, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes that tables take in memory now; those in files take none."""
        return sum(group.nbytes for group in self._groups)

    def _have_file(self, group: TableGroup, ticks: _Ticks, workers: int) -> bool:
        """Opens or writes the file of one group; False when there is none and tables belong into memory."""
        if self._folder is None:
            return False
        if group.open(self._folder):
            ticks.add(group.n_frame)
            return True
        before = ticks.done
        try:
            for _ in group.write(self._folder, workers):
                ticks.add(1)
            return group.open(self._folder)
        except FolderFull as error:
            log.warning("%s; the neighbours of system %s are kept in memory only", error, group.name)
            ticks.done = before
            return False
        except OutputError as error:
            log.warning("%s; neighbour tables are kept in memory only", error)
            self._folder, ticks.done = None, before
            return False


class _Ticks:
    """Counts frames for a progress callback."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self.done = progress, total, 0

    def add(self, n: int) -> None:
        self.done += n
        if self._progress is not None:
            self._progress(self.done, self._total)
