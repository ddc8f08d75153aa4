"""The neighbours of a descriptor that tells types apart by vectors: the nearest of all types, in one row per centre."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.neighborhood import Neighborhood, may_truncate


class Neighbors(NamedTuple):
    """Neighbours of all types for a block of centres."""

    disp: jax.Array  # (n_atom, k, 3) angstrom; any finite value where mask is False
    mask: jax.Array  # (n_atom, k) bool
    types: jax.Array  # (n_atom, k); any type, or -1, where mask is False


def nearest_neighbors(view: Neighborhood, sel: int, rcut: float) -> Neighbors:
    """The nearest ``sel`` of what counts as a neighbour (:class:`~dpjax.descriptors.neighborhood.Listing`), of any type.

    Nothing is sorted unless the table is wider than ``sel``.  Its width may be a symbol of ``jax.export``; then the program decides
    when its sizes are known.

    Args:
        view: the centres and the untruncated table of their neighbours.
        sel: neighbours that the descriptor keeps.
        rcut: its own cut-off, angstrom.

    Returns:
        Those of the list that the descriptor shares with others in a hybrid may lie beyond ``rcut``.
    """
    reach = view.listing((sel,), rcut).rcut
    square = jnp.sum(view.disp * view.disp, axis=-1)
    near = Neighbors(view.disp, view.listed & (square < reach * reach), view.neighbor_types)
    width = view.disp.shape[1]
    if not may_truncate((width,), (sel,)):
        return near
    keys = jnp.where(near.mask, jax.lax.stop_gradient(square), jnp.inf)
    if isinstance(width, int):
        order = jnp.argsort(keys, axis=1)
    else:
        as_it_is = jnp.broadcast_to(jnp.arange(width), keys.shape)
        order = jax.lax.cond(jnp.array(width) > sel, lambda: jnp.argsort(keys, axis=1), lambda: as_it_is)
    order = order[:, :sel]
    return Neighbors(
        jnp.take_along_axis(near.disp, order[..., None], axis=1),
        jnp.take_along_axis(near.mask, order, axis=1),
        jnp.take_along_axis(near.types, order, axis=1),
    )


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
    table = np.zeros((n_type, n_type), bool)
    for centre, neighbor in pairs:
        table[centre, neighbor] = True
    if not table.any():
        return jnp.zeros(types.shape, bool)
    return jnp.asarray(table)[jnp.maximum(view.centre_types, 0)[:, None], jnp.maximum(types, 0)]
