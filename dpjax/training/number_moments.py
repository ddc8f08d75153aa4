"""Mean and spread of every number by which ``loc_frame`` describes an atom, over the atoms of a type, as DeePMD-kit takes them.

Empty slots count as zeros, because they are zeros of the same vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpjax.geometry.local_frames import FrameRule, local_coordinates
from dpjax.neighbors import NeighborTable
from dpjax.statistics import ABSENT_SPREAD, SMALLEST_SPREAD


@dataclass(frozen=True)
class NumberMoments:
    """Running sums over atoms of each type."""

    number: np.ndarray  # (n_type,) atoms
    frameless: np.ndarray  # (n_type,) of them without a frame
    total: np.ndarray  # (n_type, n_number)
    squares: np.ndarray  # (n_type, n_number)

    @classmethod
    def zero(cls, n_type: int, n_number: int) -> NumberMoments:
        return cls(*np.zeros((2, n_type)), *np.zeros((2, n_type, n_number)))

    def __add__(self, other: NumberMoments) -> NumberMoments:
        return NumberMoments(*(a + b for a, b in zip(self._fields(), other._fields(), strict=True)))

    def scaled(self, weight: float) -> NumberMoments:
        """These moments as if every atom counted so often."""
        return NumberMoments(*(weight * values for values in self._fields()))

    def _fields(self) -> tuple[np.ndarray, ...]:
        return self.number, self.frameless, self.total, self.squares

    def davg(self) -> np.ndarray:
        """(n_type, n_number) means; zero for types without atoms."""
        return self.total / np.maximum(self.number, 1)[:, None]

    def dstd(self) -> np.ndarray:
        """(n_type, n_number) population spreads; small ones are raised, types without atoms have a constant."""
        variance = self.squares / np.maximum(self.number, 1)[:, None] - self.davg() ** 2
        spread = np.maximum(np.sqrt(np.maximum(variance, 0.0)), SMALLEST_SPREAD)
        return np.where(self.number[:, None] > 0, spread, ABSENT_SPREAD)


def number_moments(
    coord: np.ndarray, cell: np.ndarray | None, atype: np.ndarray, table: NeighborTable, rules: Sequence[FrameRule]
) -> NumberMoments:
    """Moments of one frame.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (3, 3) or None.
        atype: (n_atom,) types, -1 for placeholders.
        table: neighbours within at least the cut-off of the rules.
        rules: what atoms of each type see.
    """
    rows = []
    for t, rule in enumerate(rules):
        centres = np.flatnonzero(atype == t)
        numbers, framed = local_coordinates(sections_of(table, table.displacements(coord, cell), centres), rule)
        rows.append((len(centres), np.sum(~framed), numbers.sum(axis=0), (numbers**2).sum(axis=0)))
    return NumberMoments(*(np.array(own, float) for own in zip(*rows, strict=True)))


def sections_of(table: NeighborTable, disp: np.ndarray, centres: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Neighbours of some atoms in sections by type: (n, k, 3) displacements and (n, k) bool where there is one.

    Args:
        table: of all atoms.
        disp: (n_edge, 3) angstrom, of its edges.
        centres: (n,) which atoms.
    """
    ends = np.cumsum(table.count.reshape(-1)).reshape(table.count.shape)
    sections = []
    for t in range(table.count.shape[1]):
        number = table.count[centres, t]
        column = np.arange(number.max(initial=0))[None]
        listed = column < number[:, None]
        edge = np.where(listed, (ends[centres, t] - number)[:, None] + column, 0)
        here = disp[edge] if len(disp) else np.zeros((*edge.shape, 3))
        sections.append((here, listed))
    return sections
