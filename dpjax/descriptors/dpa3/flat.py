"""Edges and angles of ``dpa3`` one after another, as a batch lists them: what :class:`~dpjax.descriptors.dpa3.graph.Graph` is
for arrays over all pairs of neighbours, with the same methods.

All arrays have an axis for blocks of atoms first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.batching.lists import Lists
from dpjax.config.descriptors import DPA3Config
from dpjax.descriptors.dpa3.graph import GUARD, corners, normalised
from dpjax.descriptors.nearest import in_pairs
from dpjax.descriptors.neighborhood import Neighborhood, ordered_pairs
from dpjax.nn.blocks import Work
from dpjax.nn.precision import dtype_of


class FlatGraph(NamedTuple):
    """Edges and angles of blocks of atoms, in the precision of the descriptor; padding has weight zero."""

    index: jax.Array  # (n_block, E) the atom at the other end, of all blocks
    own: jax.Array  # (n_block, E) the atom of the block that an edge starts from
    first: jax.Array  # (n_block, A) first edge of an angle, of the block
    last: jax.Array  # (n_block, A) last edge
    length: jax.Array  # (n_block, E) smoothed 1/r, or r, that edges start from
    rows: jax.Array  # (n_block, 3, E) directional part of the normalised environment
    switch: jax.Array  # (n_block, E) weight of an edge
    cosine: jax.Array  # (n_block, A) that angles start from
    weight: jax.Array  # (n_block, A) of an angle
    in_angles: jax.Array  # (n_block, E) bool: which edges are nearer than the cut-off of angles
    nodes: jax.Array  # (n_block, b) places of the atoms among those of the neighbourhood

    @property
    def n_angle(self) -> int:
        """Places for angles of a block."""
        return self.first.shape[1]

    @property
    def has_angles(self) -> jax.Array:
        """(n_block, E) bool: which edges are in angles."""
        return self.in_angles

    def divided(self, work: Work) -> Work:
        """Block by block, as it comes, or all blocks at once where everything is kept."""
        return replace(work, block=1 if work.recomputes else None)

    def start(self, values: jax.Array) -> jax.Array:
        """Values of all atoms (n_atom, m) as (n_block, b, m)."""
        return values[self.nodes]

    def end(self, values: jax.Array) -> jax.Array:
        """Values (n_block, b, ...) of nodes in the order of the neighbourhood, (n_atom, ...)."""
        flat = values.reshape(-1, *values.shape[2:])
        return flat[jnp.argsort(self.nodes.reshape(-1))]

    def near(self, nodes: jax.Array) -> jax.Array:
        """(n_block, E, m) the nodes at the other ends of edges, of all nodes (n_block, b, m)."""
        return nodes.reshape(-1, nodes.shape[-1])[self.index]

    def alone(self) -> FlatGraph:
        """Itself: atoms of a batch with lists are all on one device."""
        return self

    def to_edges(self, nodes: jax.Array) -> jax.Array:
        """(n_block, E, m) of each edge what its own node has."""
        return _taken(nodes, self.own)

    def edge_sums(self, values: jax.Array) -> jax.Array:
        """(n_block, b, m) weighted sums over edges."""
        return _summed(self.switch[..., None] * values, self.own, self.nodes.shape[1])

    def turned_sums(self, values: jax.Array) -> jax.Array:
        """(n_block, b, 3, m) weighted sums over edges of their directions times values."""
        turned = jnp.swapaxes(self.rows * self.switch[:, None], 1, 2)[..., None] * values[:, :, None]
        return _summed(turned, self.own, self.nodes.shape[1])

    def of_angles(self, edges: jax.Array) -> jax.Array:
        """The edges that angles are made of: all."""
        return edges

    def to_angles(self, first: jax.Array, last: jax.Array) -> jax.Array:
        """(n_block, A, m) sums of what the two edges of an angle have."""
        return _taken(first, self.first) + _taken(last, self.last)

    def angle_sums(self, values: jax.Array) -> jax.Array:
        """(n_block, E, m) weighted sums over the angles whose first edge an edge is."""
        return _summed(self.weight[..., None] * values, self.first, self.index.shape[1])


def _taken(values: jax.Array, index: jax.Array) -> jax.Array:
    return jax.vmap(lambda v, i: v[i])(values, index)


def _summed(values: jax.Array, index: jax.Array, number: int) -> jax.Array:
    return jax.vmap(lambda v, i: jax.ops.segment_sum(v, i, number))(values, index)


def flat_graph_of(
    view: Neighborhood,
    lists: Lists,
    config: DPA3Config,
    pair_exclude: Iterable[tuple[int, int]],
    davg: jax.Array,
    dstd: jax.Array,
) -> FlatGraph:
    """Edges and angles of all atoms, as they are listed; other arguments as for
    :func:`~dpjax.descriptors.dpa3.graph.graph_of`."""
    flow, n_type = config.repflow, davg.shape[0]
    atoms, pairs = lists.atoms, lists.angles
    centres = view.centre_types[_taken(atoms.nodes, atoms.receivers)]
    disp = view.disp.reshape(-1, 3)[atoms.edges].astype(dtype_of(config.precision))
    excluded = (*pair_exclude, *ordered_pairs(config.exclude_types))
    listed = jnp.arange(atoms.edges.shape[1])[None] < atoms.n_edge[:, None]
    mask = listed & (jnp.sum(disp * disp, axis=-1) < flow.e_rcut**2)
    mask &= ~in_pairs(excluded, n_type, centres, view.neighbor_types.reshape(-1)[atoms.edges])
    edges = normalised(jnp.swapaxes(disp, 1, 2), mask, centres, config, davg, dstd)
    in_angles, unit, corner = corners(edges, config)
    first, last = pairs.receivers, pairs.senders
    unit = jnp.swapaxes(unit, 1, 2)
    cosine = jnp.sum(_taken(unit, first) * _taken(unit, last), axis=-1)
    counted = jnp.arange(first.shape[1])[None] < pairs.n_edge[:, None]
    weight = jnp.where(counted, _taken(corner, first) * _taken(corner, last), 0.0)
    return FlatGraph(
        index=atoms.senders, own=atoms.receivers, first=first, last=last, length=edges.length, rows=edges.rows,
        switch=edges.switch, cosine=cosine * (1.0 - GUARD), weight=weight, in_angles=in_angles, nodes=atoms.nodes,
    )  # fmt: skip
