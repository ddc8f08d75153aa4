"""Energies of pairs of atoms from a table, evaluated in the program.

A table is a part of a model's statistics: its pieces (:class:`dpjax.formats.pair_table.PairTable`), its first distance and its
spacing.  Its file is read when a model is new; checkpoints and artifacts hold the numbers.

Beyond the last row energies are zero.  Below the first the energy stays what it is there, as the spline leaves the table with slope
zero; so forces vanish where they should be strongest, and whoever has the coordinates at hand says so (``TableStart``).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.nearest import Neighbors, nearest_neighbors, paired
from dpjax.descriptors.neighborhood import Neighborhood
from dpjax.formats.pair_table import PairTable

Tree = dict[str, Any]

NAME = "pair_table"  # of a table among the variables of a model
PIECES, START, SPACING = "pieces", "start", "spacing"


def table_stats(table: PairTable) -> Tree:
    """A table as variables."""
    return {PIECES: table.pieces, START: np.array(table.start), SPACING: np.array(table.spacing)}


def table_of(stats: Tree) -> PairTable:
    """The table that variables hold."""
    return PairTable(float(stats[START]), float(stats[SPACING]), np.asarray(stats[PIECES], np.float64))


def with_table_sizes(like: Any, given: Any) -> Any:
    """Shapes of fresh variables, with those of the tables that ``given`` has: how many rows a table has, no option says."""
    if not isinstance(like, dict):
        return like
    if PIECES in like and PIECES in given:
        pieces = given[PIECES]
        return like | {PIECES: jax.ShapeDtypeStruct(np.shape(pieces), like[PIECES].dtype)}
    return {
        key: with_table_sizes(own, given.get(key, {})) if isinstance(given, dict) else own for key, own in like.items()
    }


def pair_energies(
    distance: jax.Array, here: jax.Array, there: jax.Array, pieces: jax.Array, start: jax.Array, spacing: jax.Array
) -> jax.Array:
    """Energies of pairs, eV, shaped like ``distance``.

    Args:
        distance: angstrom; any shape.
        here, there: types of the atoms of each pair, broadcast to that shape.
        pieces: (n_type, n_type, n_piece, 4) eV.
        start, spacing: () angstrom.
    """
    place = (distance - start) / spacing
    n_piece = pieces.shape[2]
    piece = jnp.clip(place, 0, n_piece - 1).astype(jnp.int32)
    along = jnp.maximum(place - piece, 0.0)
    c = jnp.asarray(pieces)[jnp.broadcast_to(here, distance.shape), there, piece]
    energy = ((c[..., 0] * along + c[..., 1]) * along + c[..., 2]) * along + c[..., 3]
    return jnp.where(place < n_piece, energy, 0.0)


class PairEnergies(nn.Module):
    """A table and the neighbours that it is asked about.

    Attributes:
        n_type: number of types.
        rcut: cut-off, angstrom.
        sel: neighbours that count, the nearest.
        pair_exclude: ordered pairs (centre, neighbour) that are no neighbours.
    """

    n_type: int
    rcut: float
    sel: int
    pair_exclude: frozenset[tuple[int, int]] = frozenset()

    def setup(self):
        shape = (self.n_type, self.n_type, 1, 4)  # as many pieces as a table has take their place
        self.pieces = self.variable("stats", PIECES, jnp.zeros, shape, jnp.float64)
        self.start = self.variable("stats", START, jnp.zeros, (), jnp.float64)
        self.spacing = self.variable("stats", SPACING, jnp.ones, (), jnp.float64)

    def __call__(self, view: Neighborhood) -> jax.Array:
        """(n_atom,) eV, half of the energies of each atom's pairs."""
        near, distance = self.neighbors(view)
        here, there = jnp.maximum(view.centre_types, 0)[:, None], jnp.maximum(near.types, 0)
        energies = pair_energies(distance, here, there, self.pieces.value, self.start.value, self.spacing.value)
        return 0.5 * jnp.sum(jnp.where(near.mask, energies, 0.0), axis=1)

    def neighbors(self, view: Neighborhood) -> tuple[Neighbors, jax.Array]:
        """The neighbours that count, and their distances (n_atom, k) angstrom; 1 where there is none."""
        near = nearest_neighbors(view, self.sel, self.rcut)
        mask = near.mask & ~paired(self.pair_exclude, self.n_type, view, near.types)
        square = jnp.where(mask, jnp.sum(near.disp * near.disp, axis=-1), 1.0)
        return near._replace(mask=mask), jnp.sqrt(square)

    def init_parameters(self) -> None:
        """Touch every statistic once."""


def soft_minimum(distance: jax.Array, mask: jax.Array, alpha: float, *, clamped: bool) -> jax.Array:
    """Mean distance of neighbours with weights ``exp(-distance / alpha)``, (n_atom,) angstrom; infinite without any.

    Args:
        distance: (n_atom, k) angstrom.
        mask: (n_atom, k) bool, which of them count.
        alpha: angstrom.
        clamped: keep the sum of the weights at least 1e-20, as DeePMD-kit does.  Where all neighbours are farther than 46 ``alpha``
            the mean then falls to zero, as if an atom were very near.
    """
    nearest = jnp.min(jnp.where(mask, distance, jnp.inf), axis=1, keepdims=True)
    shift = 0.0 if clamped else jax.lax.stop_gradient(jnp.where(jnp.isfinite(nearest), nearest, 0.0))
    weight = jnp.where(mask, jnp.exp((shift - distance) / alpha), 0.0)
    some = mask.any(axis=1)
    total = jnp.where(some, jnp.sum(weight, axis=1), 1.0)
    total = jnp.maximum(total, 1e-20) if clamped else total
    return jnp.where(some, jnp.sum(weight * distance, axis=1) / total, jnp.inf)
