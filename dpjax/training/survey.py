"""All frames of a data section looked at once, before a training comes to them one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from dpjax.data import System
from dpjax.neighbors.frames import default_workers, in_threads
from dpjax.training.sides import DataSide
from dpjax.training.source import Extent

READ = 64  # frames whose values are read at once


@dataclass(frozen=True)
class Survey:
    """What the systems of a data section hold.

    Attributes:
        systems: those that take part.
        given: systems in the section; ``filter:N`` leaves some out.
        extents: by position of the system in the section, arrays with a leading frame axis.
    """

    systems: tuple[System, ...]
    given: int
    extents: dict[int, Extent]

    @property
    def frames(self) -> int:
        """Frames of all systems."""
        return sum(system.n_frame for system in self.systems)

    @property
    def most(self) -> np.ndarray:
        """(n_section,) neighbours that an atom of any frame has at most."""
        return np.max([extent.most.max(axis=0) for extent in self.extents.values()], axis=0)

    @property
    def within(self) -> np.ndarray:
        """(n_number,) the same within the cut-off of each descriptor."""
        return np.max([extent.within.max(axis=0) for extent in self.extents.values()], axis=0)

    def extent(self, system: int, frame: int) -> Extent:
        """What one frame needs room for."""
        return Extent(*(array[frame] for array in self.extents[system]))


def survey(side: DataSide) -> Survey:
    """Reads every value and finds every neighbour of the systems that take part.

    Raises:
        DataError: what a training would raise when it came to the frame.
    """
    kept = side.sampler.kept
    for system in kept:
        _read(side.systems[system])
    extents = {system: _extents(side, system) for system in kept}
    return Survey(tuple(side.systems[i] for i in kept), len(side.systems), extents)


def _read(system: System) -> None:
    """Values are checked as they are read."""
    names = [name for name, found in system.found.items() if found]
    for start in range(0, system.n_frame, READ):
        system.arrays(np.arange(start, min(start + READ, system.n_frame)), names)


def _extents(side: DataSide, system: int) -> Extent:
    frames = range(side.systems[system].n_frame)
    found = in_threads(partial(side.source.extent, system), frames, default_workers())
    return Extent(*(np.array(arrays, np.int32) for arrays in zip(*found, strict=True)))
