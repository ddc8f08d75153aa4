"""Pairs of atoms that are nearer to each other than the pair tables of a model begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dpjax.errors import DataError
from dpjax.models.pair_table import NAME, START
from dpjax.neighbors import NeighborTable


class TableStart:
    """Refuses structures about which a pair table says nothing; a program alone would take the energy at its first distance.

    Attributes:
        start: angstrom, where the table that begins farthest out begins; 0 without tables.
    """

    def __init__(self, stats: Any) -> None:
        self.start = max((float(own[START]) for own in _tables(stats)), default=0.0)

    def check(self, name: str, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Look at one structure.

        Args:
            name: of the structure.
            table: its neighbours.
            coord: (n_atom, 3) angstrom.
            cell: (3, 3) angstrom or None.

        Raises:
            DataError: two of its atoms are too near.
        """
        if not self.start or not table.n_edge:
            return
        nearest = float(np.linalg.norm(table.displacements(coord, cell), axis=1).min())
        if nearest < self.start:
            raise DataError(
                f"{name}: two atoms are {nearest:.4g} angstrom apart, but a pair table of the model begins at {self.start:g} "
                "angstrom. Extend the table to shorter distances and make the model anew, or leave the structure out."
            )


def _tables(tree: Any) -> Iterator[dict]:
    """The tables in a collection of variables."""
    if not isinstance(tree, dict):
        return
    for key, own in tree.items():
        yield from (own,) if key == NAME else _tables(own)
