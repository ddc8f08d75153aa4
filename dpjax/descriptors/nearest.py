"""What a descriptor that tells types apart by vectors sees: the nearest neighbours of all types, in one row per centre.

All empty places (fewer neighbours than ``sel``) are alike, so one row stands for them, with their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.facts import kept
from dpjax.descriptors.neighborhood import Neighborhood, may_truncate, ordered_pairs
from dpjax.geometry.environment import distances, env_components, switch_weight
from dpjax.nn.precision import dtype_of


class Neighbors(NamedTuple):
    """Neighbours of all types for a block of centres."""

    disp: jax.Array  # (n_atom, k, 3) angstrom; any finite value where mask is False
    mask: jax.Array  # (n_atom, k) bool
    types: jax.Array  # (n_atom, k); any type, or -1, where mask is False
    index: jax.Array | None = None  # (n_atom, k) of ``view.index``


class Surroundings(NamedTuple):
    """Normalised environment of a block of centres, in the precision of the descriptor."""

    disp: jax.Array  # (n_atom, 3, k) angstrom; any finite value where mask is False
    dist: jax.Array  # (n_atom, k) angstrom, 1 where mask is False
    spread: jax.Array  # (n_atom, 4, 1) by which the rows are divided
    rows: jax.Array  # (n_atom, 4, k), zero where mask is False
    switch: jax.Array  # (n_atom, k) 1 near the centre, 0 at the cut-off and where mask is False
    mask: jax.Array  # (n_atom, k) bool: which slots hold a neighbour that no option excludes
    types: jax.Array  # (n_atom, k); any type, or -1, where mask is False
    empty_row: jax.Array  # (n_atom, 4) of an empty place
    n_empty: jax.Array  # (n_atom,) how many there are
    index: jax.Array | None = None  # (n_atom, k) of ``view.index``


def surroundings(
    view: Neighborhood, config: Any, pair_exclude: Iterable[tuple[int, int]], davg: jax.Array, dstd: jax.Array
) -> Surroundings:
    """The environment of each centre.

    Args:
        view: the centres.
        config: hyper-parameters of a descriptor.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list: their places are empty.
        davg, dstd: (n_type, 4) statistics by type of the centre.
    """
    n_type, sel, dtype = davg.shape[0], kept(config)[0], dtype_of(config.precision)
    near = nearest_neighbors(view, sel, config.rcut)
    held = near.mask & ~paired(pair_exclude, n_type, view, near.types)
    heard = held & ~paired(ordered_pairs(config.exclude_types), n_type, view, near.types)
    disp = jnp.swapaxes(near.disp.astype(dtype), 1, 2)
    raw = env_components(disp, heard, r_on=config.rcut_smth, r_off=config.rcut, protection=config.env_protection)
    mean, spread = (jnp.asarray(stat)[view.centre_types, :, None] for stat in (davg, dstd))
    dist = distances(jnp.sum(disp * disp, axis=1), heard)
    return Surroundings(
        disp=disp,
        dist=dist,
        spread=spread,
        rows=jnp.where(heard[:, None], (raw - mean) / spread, 0.0),
        switch=jnp.where(heard, switch_weight(dist, config.rcut_smth, config.rcut), 0.0),
        mask=heard,
        types=near.types,
        empty_row=(-mean / spread)[..., 0],
        n_empty=(sel - jnp.sum(held, axis=1)).astype(dtype),
        index=near.index,
    )


def nearest_neighbors(view: Neighborhood, sel: int, rcut: float, *, in_order: bool = False) -> Neighbors:
    """The nearest ``sel`` of what counts as a neighbour (:class:`~dpjax.descriptors.neighborhood.Listing`), of any type.

    Nothing is sorted unless the table is wider than ``sel``.  Its width may be a symbol of ``jax.export``; then the program decides
    when its sizes are known.

    Args:
        view: the centres and the untruncated table of their neighbours.
        sel: neighbours that the descriptor keeps.
        rcut: its own cut-off, angstrom.
        in_order: sort them by distance in any case.

    Returns:
        Those of the list that the descriptor shares with others in a hybrid may lie beyond ``rcut``.
    """
    reach = view.listing((sel,), rcut).rcut
    square = jnp.sum(view.disp * view.disp, axis=-1)
    near = Neighbors(view.disp, view.listed & (square < reach * reach), view.neighbor_types, view.index)
    width = view.disp.shape[1]
    if not in_order and not may_truncate((width,), (sel,)):
        return near
    keys = jnp.where(near.mask, jax.lax.stop_gradient(square), jnp.inf)
    if in_order or isinstance(width, int):
        order = jnp.argsort(keys, axis=1)
    else:
        as_it_is = jnp.broadcast_to(jnp.arange(width), keys.shape)
        order = jax.lax.cond(jnp.array(width) > sel, lambda: jnp.argsort(keys, axis=1), lambda: as_it_is)
    order = order[:, :sel]
    return Neighbors(
        jnp.take_along_axis(near.disp, order[..., None], axis=1),
        jnp.take_along_axis(near.mask, order, axis=1),
        jnp.take_along_axis(near.types, order, axis=1),
        None if near.index is None else jnp.take_along_axis(near.index, order, axis=1),
    )


def in_order(view: Neighborhood, sel: int, rcut: float) -> Neighborhood:
    """A view of the nearest ``sel`` of the neighbours within ``rcut`` (angstrom), sorted by distance."""
    near = nearest_neighbors(view, sel, rcut, in_order=True)
    count = jnp.sum(near.mask, axis=1, keepdims=True)
    width = near.mask.shape[1]
    return view.replace(disp=near.disp, count=count, kinds=near.types, index=near.index, nbrs=(width,))


def first(view: Neighborhood, sel: int) -> Neighborhood:
    """A view of the first ``sel`` neighbours of a sorted one (:func:`in_order`)."""
    disp = view.disp[:, :sel]
    index = None if view.index is None else view.index[:, :sel]
    count = jnp.minimum(view.count, sel)
    return view.replace(disp=disp, count=count, kinds=view.kinds[:, :sel], index=index, nbrs=(disp.shape[1],))


def paired(pairs: Iterable[tuple[int, int]], n_type: int, view: Neighborhood, types: jax.Array) -> jax.Array:
    """Which slots hold a neighbour that forms one of the ordered type pairs (centre, neighbour) with its centre.

    Args:
        pairs: the ordered pairs.
        n_type: number of types.
        view: the centres.
        types: (n_atom, k) types of the neighbours; -1 counts as type 0.

    Returns:
        (n_atom, k) bool.
    """
    return in_pairs(pairs, n_type, view.centre_types[:, None], types)


def in_pairs(pairs: Iterable[tuple[int, int]], n_type: int, centres: jax.Array, types: jax.Array) -> jax.Array:
    """Which types (...,) of neighbours form one of the ordered pairs with those of their centres; -1 counts as type 0."""
    table = np.zeros((n_type, n_type), bool)
    for centre, neighbor in pairs:
        table[centre, neighbor] = True
    if not table.any():
        return jnp.zeros(types.shape, bool)
    return jnp.asarray(table)[jnp.maximum(centres, 0), jnp.maximum(types, 0)]
