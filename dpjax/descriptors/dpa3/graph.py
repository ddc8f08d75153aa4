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
from dpjax.descriptors.neighborhood import Copies, Neighborhood, at_neighbors, ordered_pairs
from dpjax.geometry.environment import Switch, distances, env_components, exponential_switch, switch_weight
from dpjax.nn.blocks import Work
from dpjax.nn.precision import dtype_of

GUARD = 1e-6  # in angles: added to distances, and by which cosines are made smaller, as DeePMD-kit does


class Graph(NamedTuple):
    """Edges and angles of atoms, in the precision of the descriptor; how values move between nodes, edges and angles."""

    index: jax.Array  # (n_atom, k) the atom at the other end
    length: jax.Array  # (n_atom, k) smoothed 1/r, or r, that edges start from
    rows: jax.Array  # (n_atom, 3, k) directional part of the normalised environment
    switch: jax.Array  # (n_atom, k) weight of an edge
    cosine: jax.Array  # (n_atom, a, a) that angles start from
    corner: jax.Array  # (n_atom, a) weight of an edge in angles; the edges of angles are the first ones
    in_angles: jax.Array  # (n_atom, a) bool: which of these are nearer than the cut-off of angles
    copies: Copies | None = None  # of the view

    @property
    def n_angle(self) -> int:
        """Places for angles of an atom."""
        return self.corner.shape[1] ** 2

    @property
    def has_angles(self) -> jax.Array:
        """(n_atom, k) bool: which edges are in angles."""
        return self._padded(self.in_angles)

    def divided(self, work: Work) -> Work:
        """How the work on this graph is divided where that of a model is divided so."""
        return work

    def start(self, values: jax.Array) -> jax.Array:
        """Values of atoms in the order of the graph: as they are."""
        return values

    def end(self, values: jax.Array) -> jax.Array:
        """The way back from :meth:`start`."""
        return values

    def near(self, nodes: jax.Array) -> jax.Array:
        """(n_atom, k, m) the nodes at the other ends of edges, of all nodes (n_atom, m)."""
        return at_neighbors(nodes, self.index, self.copies)

    def alone(self) -> Graph:
        """Without the way to other devices: arrays that can be cut into blocks of atoms, for what follows :meth:`near`."""
        return self._replace(copies=None)

    def to_edges(self, nodes: jax.Array) -> jax.Array:
        """Of each edge what its own node has, (n_atom, 1, m), which all edges of a node share."""
        return nodes[:, None]

    def edge_sums(self, values: jax.Array) -> jax.Array:
        """(n_atom, m) weighted sums over edges."""
        return jnp.einsum("nk,nkm->nm", self.switch, values)

    def turned_sums(self, values: jax.Array) -> jax.Array:
        """(n_atom, 3, m) weighted sums over edges of their directions times values."""
        return jnp.einsum("nxk,nkm->nxm", self.rows * self.switch[:, None], values)

    def of_angles(self, edges: jax.Array) -> jax.Array:
        """(n_atom, a, m) the edges that angles are made of."""
        return edges[:, : self.corner.shape[1]]

    def to_angles(self, first: jax.Array, last: jax.Array) -> jax.Array:
        """(n_atom, a, a, m) sums of what the two edges of an angle have, of :meth:`of_angles` edges."""
        return first[:, :, None] + last[:, None]

    def angle_sums(self, values: jax.Array) -> jax.Array:
        """(n_atom, k, m) weighted sums over the angles whose first edge an edge is."""
        return self._padded(jnp.einsum("nj,nk,njkm->njm", self.corner, self.corner, values))

    def _padded(self, values: jax.Array) -> jax.Array:
        """Values of the edges that angles are made of, and zero for the others."""
        rest = self.index.shape[1] - values.shape[1]
        return jnp.pad(values, [(0, 0), (0, rest), *[(0, 0)] * (values.ndim - 2)])


class Edges(NamedTuple):
    """What is known of neighbours, (n, ..., k) in the precision of the descriptor."""

    disp: jax.Array  # (n, 3, k) angstrom
    dist: jax.Array  # (n, k) angstrom; 1 where mask is False
    mask: jax.Array  # (n, k) bool
    length: jax.Array  # (n, k) smoothed 1/r, or r
    rows: jax.Array  # (n, 3, k) directional part of the normalised environment
    switch: jax.Array  # (n, k) weight


def normalised(
    disp: jax.Array, mask: jax.Array, centres: jax.Array, config: DPA3Config, davg: jax.Array, dstd: jax.Array
) -> Edges:
    """Edges of displacements.

    Args:
        disp: (n, 3, k) angstrom; any finite value where ``mask`` (n, k) is False.
        centres: (n, k) or (n, 1) types of the centres.
        config: hyper-parameters.
        davg, dstd: (n_type, 4) statistics by type of the centre.
    """
    flow, weight = config.repflow, _switch(config)
    raw = env_components(
        disp, mask, r_on=flow.e_rcut_smth, r_off=flow.e_rcut, protection=config.env_protection, weight=weight
    )
    mean, spread = (jnp.swapaxes(jnp.asarray(stat)[centres], 1, 2) for stat in (davg, dstd))
    rows = jnp.where(mask[:, None], (raw - mean) / spread, 0.0)
    dist = distances(jnp.sum(disp * disp, axis=1), mask)
    length = jnp.where(mask, dist, 0.0) if flow.edge_init_use_dist else rows[:, 0]
    switch = jnp.where(mask, weight(dist, flow.e_rcut_smth, flow.e_rcut), 0.0)
    return Edges(disp, dist, mask, length, rows[:, 1:], switch)


def corners(edges: Edges, config: DPA3Config) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of edges (n, k) as parts of angles: whether they are, their directions (n, 3, k), shortened a little, and their weights."""
    flow = config.repflow
    inside = edges.mask & (edges.dist < flow.a_rcut)
    unit = jnp.where(inside[:, None], edges.disp / (edges.dist[:, None] + GUARD), 0.0)
    weight = _switch(config)(edges.dist, flow.a_rcut_smth, flow.a_rcut)
    return inside, unit, jnp.where(inside, weight, 0.0)


def _switch(config: DPA3Config) -> Switch:
    return exponential_switch if config.repflow.use_exp_switch else switch_weight


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
    flow = config.repflow
    near = nearest_neighbors(view, flow.e_sel, flow.e_rcut, in_order=True)
    excluded = (*pair_exclude, *ordered_pairs(config.exclude_types))
    mask = near.mask & ~paired(excluded, davg.shape[0], view, near.types)
    disp = jnp.swapaxes(near.disp.astype(dtype_of(config.precision)), 1, 2)
    edges = normalised(disp, mask, view.centre_types[:, None], config, davg, dstd)
    a_sel = view.places(flow.a_sel, flow.a_rcut)
    in_angles, unit, corner = corners(jax.tree.map(lambda x: x[..., :a_sel], edges), config)
    return Graph(
        index=near.index,
        length=edges.length,
        rows=edges.rows,
        switch=edges.switch,
        cosine=jnp.einsum("nxj,nxk->njk", unit, unit) * (1.0 - GUARD),
        corner=corner,
        in_angles=in_angles,
        copies=view.copies,
    )
