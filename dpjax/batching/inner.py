"""How many neighbours atoms have within cut-offs shorter than that of the table.

A descriptor that passes messages sorts neighbours by distance and works on the nearest ones, up to an option's number.  Where a
batch is known to have fewer, arrays are that much shorter, and those of pairs of neighbours by the square.  Only what is packed on
the host is counted; a layout that says nothing leaves room for as many as the option keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dpjax.batching.batch import Layout
from dpjax.batching.ladder import round_up
from dpjax.batching.packing import Frame

COARSE = 8  # of which places are multiples where a program may be compiled for few frames
MARGIN = 1e-6  # angstrom that is counted beyond a cut-off: a device may round a distance differently


@dataclass(frozen=True)
class InnerCut:
    """A list of the nearest neighbours of any type.

    Attributes:
        rcut: angstrom within which they are, less than the table reaches.
        sel: how many are kept.
    """

    rcut: float
    sel: int


def most_inner(cuts: Sequence[InnerCut], frame: Frame) -> np.ndarray:
    """(len(cuts),) neighbours that an atom of a frame has at most within each cut-off."""
    within = [frame.table.count_within(cut.rcut + MARGIN, frame.coord, frame.cell) for cut in cuts]
    return np.array([own.sum(axis=1).max(initial=0) for own in within], int)


def inner_places(cuts: Sequence[InnerCut], most: Sequence[int], multiple: int = 4) -> np.ndarray:
    """(len(cuts),) ladder sizes, at least 1, for so many neighbours, of which ``sel`` are kept."""
    sizes = [min(max(1, round_up(int(n), multiple=multiple)), cut.sel) for cut, n in zip(cuts, most, strict=True)]
    return np.array(sizes, int)


def with_inner(layout: Layout, cuts: Sequence[InnerCut], places: Sequence[int]) -> Layout:
    """A layout that says how many places lists have."""
    return replace(layout, inner=tuple((cut.rcut, int(n)) for cut, n in zip(cuts, places, strict=True)))


@dataclass
class InnerSizes:
    """Places for the batches of a model; those of a layout only grow, so that few programs are compiled."""

    cuts: tuple[InnerCut, ...] = ()
    _grown: dict[Layout, np.ndarray] = field(default_factory=dict)

    def alone(self, layout: Layout, frames: Sequence[Frame]) -> Layout:
        """The layout with places that are just enough for these frames, whatever there was before or will be."""
        if not self.cuts:
            return layout
        return with_inner(layout, self.cuts, self._places(frames))

    def added(self, layout: Layout, frames: Sequence[Frame]) -> Layout:
        """The layout with places for these frames and those before."""
        if not self.cuts:
            return layout
        places = self._grown[layout] = np.maximum(self._grown.get(layout, 0), self._places(frames))
        return with_inner(layout, self.cuts, places)

    def _places(self, frames: Sequence[Frame]) -> np.ndarray:
        most = [most_inner(self.cuts, frame) for frame in frames]
        return inner_places(self.cuts, np.max(most, axis=0) if most else [0] * len(self.cuts), COARSE)
