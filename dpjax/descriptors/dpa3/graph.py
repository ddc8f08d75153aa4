"""What ``dpa3`` passes messages over: edges from each atom to its neighbours, and angles between the nearest of them.

Edges are (n_atom, k), angles (n_atom, a, a) with the ``a`` nearest neighbours of each atom.  Every place counts with a weight that
falls smoothly to zero at the cut-off and is zero where there is no neighbour, so empty places contribute to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import DPA3Config
from dpjax.descriptors.nearest import nearest_neighbors, paired
from dpjax.descriptors.neighborhood import Neighborhood, ordered_pairs
from dpjax.geometry.environment import env_components, exponential_switch, switch_weight
from dpjax.nn.precision import dtype_of

GUARD = 1e-6  # in angles: added to distances, and by which cosines are made smaller, as DeePMD-kit does


class Graph(NamedTuple):
    """Edges and angles, in the precision of the descriptor."""

    index: jax.Array  # (n_atom, k) the atom at the other end
    length: jax.Array  # (n_atom, k) smoothed 1/r, or r, that edges start from
    rows: jax.Array  # (n_atom, 3, k) directional part of the normalised environment
    switch: jax.Array  # (n_atom, k) weight of an edge
    cosine: jax.Array  # (n_atom, a, a) that angles start from
    corner: jax.Array  # (n_atom, a) weight of an edge in angles; the edges of angles are the first ones
    in_angles: jax.Array  # (n_atom, a) bool: which of these are nearer than the cut-off of angles


def graph_of(
    view: Neighborhood, config: DPA3Config, pair_exclude: Iterable[tuple[int, int]], davg: jax.Array, dstd: jax.Array
) -> Graph:
    """Edges and angles of all atoms.

    Args:
        view: the atoms and their neighbours, with ``index``.
        config: hyper-parameters.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list; they hold their places.
        davg, dstd: (n_type, 4) statistics by type of the centre.
    """
    flow, dtype, n_type = config.repflow, dtype_of(config.precision), davg.shape[0]
    weight = exponential_switch if flow.use_exp_switch else switch_weight
    near = nearest_neighbors(view, flow.e_sel, flow.e_rcut, in_order=True)
    excluded = (*pair_exclude, *ordered_pairs(config.exclude_types))
    mask = near.mask & ~paired(excluded, n_type, view, near.types)
    disp = jnp.swapaxes(near.disp.astype(dtype), 1, 2)
    raw = env_components(
        disp, mask, r_on=flow.e_rcut_smth, r_off=flow.e_rcut, protection=config.env_protection, weight=weight
    )
    mean, spread = (jnp.asarray(stat)[view.centre_types, :, None] for stat in (davg, dstd))
    rows = jnp.where(mask[:, None], (raw - mean) / spread, 0.0)
    dist = jnp.sqrt(jnp.where(mask, jnp.sum(disp * disp, axis=1), 1.0))
    first = slice(None, flow.a_sel)
    in_angles = mask[:, first] & (dist[:, first] < flow.a_rcut)
    unit = jnp.where(in_angles[:, None], disp[:, :, first] / (dist[:, None, first] + GUARD), 0.0)
    return Graph(
        index=near.index,
        length=jnp.where(mask, dist, 0.0) if flow.edge_init_use_dist else rows[:, 0],
        rows=rows[:, 1:],
        switch=jnp.where(mask, weight(dist, flow.e_rcut_smth, flow.e_rcut), 0.0),
        cosine=jnp.einsum("nxj,nxk->njk", unit, unit) * (1.0 - GUARD),
        corner=jnp.where(in_angles, weight(dist[:, first], flow.a_rcut_smth, flow.a_rcut), 0.0),
        in_angles=in_angles,
    )
