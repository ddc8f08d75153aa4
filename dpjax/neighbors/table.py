"""The neighbour table of one structure: a flat list of edges, nothing truncated, no ghost atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NeighborTable:
    """All neighbours nearer than a cut-off, ordered by (centre, neighbour type, distance).

    A neighbour is a real atom and an integer image shift, so self images and cells thinner than the cut-off need
    nothing special: ``disp = coord[index] + shift @ cell - coord[centre]`` with the coordinates as they were given,
    wrapped or not.  Atoms of type -1 have no neighbours and are none.
    """

    count: np.ndarray  # (n_atom, n_type) int32 neighbours of each type
    index: np.ndarray  # (n_edge,) int32 (smaller in caches) atom that is the neighbour
    shift: np.ndarray  # (n_edge, 3) int8, or wider where int8 does not hold the numbers

    @property
    def n_atom(self) -> int:
        return self.count.shape[0]

    @property
    def n_edge(self) -> int:
        return self.index.shape[0]

    @property
    def nbytes(self) -> int:
        return self.count.nbytes + self.index.nbytes + self.shift.nbytes

    def centre(self) -> np.ndarray:
        """(n_edge,) int32 atom at the centre of each edge."""
        return np.repeat(np.arange(self.n_atom, dtype=np.int32), self.count.sum(axis=1))

    def displacements(self, coord: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """(n_edge, 3) neighbour minus centre, angstrom, for coord (n_atom, 3) and cell (3, 3) or None."""
        disp = coord[self.index] - coord[self.centre()]
        return disp if cell is None else disp + self.shift @ np.asarray(cell, float)

    def count_within(self, rcut: float, coord: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """(n_atom, n_type) neighbours of each type that are nearer than ``rcut``, angstrom; arguments as for displacements."""
        disp, (n_atom, n_type) = self.displacements(coord, cell), self.count.shape
        group = np.repeat(np.arange(n_atom * n_type), self.count.reshape(-1))
        near = np.einsum("ed,ed->e", disp, disp) < rcut * rcut
        return np.bincount(group[near], minlength=n_atom * n_type).reshape(n_atom, n_type)


def smallest_int(values: np.ndarray) -> np.dtype:
    """The narrowest of int8, int16, int32 that holds every entry of an integer array."""
    most = int(np.abs(values).max(initial=0))
    return np.dtype(next(t for t in (np.int8, np.int16, np.int32) if most <= np.iinfo(t).max))
