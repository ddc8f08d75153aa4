"""What the layers of ``dpa2`` pass messages over: each atom and its neighbours.

In the smooth form a pair counts with a weight that falls to zero at the cut-off, and sums are divided by the number of places,
``nsel``.  In the other form each pair counts alike, and sums are divided by the number of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa2.parts import RepformersConfig
from dpjax.descriptors.nearest import surroundings
from dpjax.descriptors.neighborhood import Copies, Neighborhood, at_neighbors

FEW = 1e-4  # added to numbers of neighbours, by which sums are divided, as DeePMD-kit does


class Pairs(NamedTuple):
    """Places for neighbours, in the precision of the descriptor."""

    index: jax.Array  # (n_atom, k) the atom at the other end; anything valid where mask is False
    mask: jax.Array  # (n_atom, k) bool: which places hold a neighbour that no option excludes
    weight: jax.Array  # (n_atom, k) with which a pair counts, zero where mask is False
    per_number: jax.Array  # (n_atom, 1) by which sums over neighbours are multiplied
    per_moment: jax.Array  # (n_atom, 1, 1) the same for sums of directions
    radial: jax.Array  # (n_atom, k) the smoothed 1/r, or r, that g2 starts from
    direction: jax.Array  # (n_atom, k, 3) that h2 starts from, zero where mask is False
    copies: Copies | None = None  # of the view

    def near(self, values: jax.Array) -> jax.Array:
        """(n_atom, k, m) of values (n_atom, m) those of the neighbours."""
        return at_neighbors(values, self.index, self.copies)


def pairs_of(
    view: Neighborhood,
    config: RepformersConfig,
    pair_exclude: Iterable[tuple[int, int]],
    davg: jax.Array,
    dstd: jax.Array,
) -> Pairs:
    """The pairs of all atoms.  Arguments as for :func:`~dpjax.descriptors.nearest.surroundings`."""
    around, own = surroundings(view, config, pair_exclude, davg, dstd), config.layers
    if config.smooth:
        weight, number = around.switch, jnp.full((view.n_atom, 1), float(own.nsel), around.rows.dtype)
        shift = 0.0
    else:
        weight = around.mask.astype(around.rows.dtype)
        number, shift = jnp.sum(weight, axis=1, keepdims=True), FEW
    root = jnp.sqrt(number) if own.use_sqrt_nnei else number
    if own.direct_dist:
        disp = jnp.where(around.mask[:, None], around.disp, 0.0)
        radial, direction = around.dist / own.rcut, disp / own.rcut
    else:
        radial, direction = around.rows[:, 0], around.rows[:, 1:]
    return Pairs(
        index=around.index,
        mask=around.mask,
        weight=weight,
        per_number=1.0 / (number + shift),
        per_moment=1.0 / (root + shift)[..., None],
        radial=radial,
        direction=jnp.swapaxes(direction, 1, 2),
        copies=view.copies,
    )
