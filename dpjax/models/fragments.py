"""Fragments of the frames of a batch, and what an atom sees of them: pure functions for DPRc models.

The energy of such a model is a sum over terms, each of which is a set of atoms by itself: the QM atoms, and the QM atoms with one
fragment at a time.  No term is copied out.  An atom's neighbours in a term are some of those in its row of the one neighbour table,
so a term is a view of that row in which all others lie beyond the cut-off (:func:`seen`), and an atom's terms differ only where one
of their fragments is near (:func:`near_fragments`).  Everything depends on the displacements of the atom's own row, so derivatives,
blocks and programs are those of any model with one neighbour table, and cells are no obstacle.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Array
from dpjax.descriptors.neighborhood import Neighborhood

LAST = jnp.iinfo(jnp.int32).max  # behind all numbers of fragments


class FrameFragments(NamedTuple):
    """What the fragments of frames are counted from."""

    first: jax.Array  # (n_frame,) int32 smallest number, that of the QM atoms
    others: jax.Array  # (n_frame,) int32 how many fragments there are beside


def numbers(aparam: Array) -> jax.Array:
    """(...,) int32 numbers of fragments, of atomic parameters (..., 1)."""
    return jnp.round(jnp.asarray(aparam)[..., 0]).astype(jnp.int32)


def fragments_of_frames(aparam: Array, frame: Array, real: Array, n_frame: int) -> FrameFragments:
    """The fragments of each frame of a batch.

    Args:
        aparam: (n_atom, 1) of all atoms.
        frame: (n_atom,) which frame an atom belongs to.
        real: (n_atom,) bool, False on padding.
        n_frame: number of frames.
    """
    number = numbers(aparam)
    held = jnp.asarray(real) & (number >= 0)
    number, frame = jnp.where(held, number, LAST), jnp.where(held, jnp.asarray(frame), n_frame)
    first = jax.ops.segment_min(number, frame, n_frame)  # entries of the frame behind the last one are dropped
    frame, number = jax.lax.sort((frame, number), num_keys=2)
    again = (frame[1:] == frame[:-1]) & (number[1:] == number[:-1])
    new = jnp.concatenate([jnp.ones_like(again, shape=(1,)), ~again]).astype(jnp.int32)
    return FrameFragments(first, jnp.maximum(jax.ops.segment_sum(new, frame, n_frame) - 1, 0))


def fragment_rows(fragments: FrameFragments, frame: Array, aparam: Array, aparam_nbrs: Array) -> dict[str, jax.Array]:
    """What a view says of fragments, under the names that it has in a :class:`~dpjax.descriptors.Neighborhood`.

    Args:
        fragments: of all frames.
        frame: (n,) of the centres.
        aparam: (n, 1) of the centres.
        aparam_nbrs: (n, k, 1) of their neighbours.
    """
    first = fragments.first[frame]

    def counted(number: jax.Array, first: jax.Array) -> jax.Array:
        return jnp.where(number >= 0, number - first, -1)

    return {
        "fragment": counted(numbers(aparam), first),
        "fragment_nbrs": counted(numbers(aparam_nbrs), first[:, None]),
        "n_fragment": fragments.others[frame],
    }


def seen(view: Neighborhood, members: jax.Array, reach: float) -> Neighborhood:
    """The same centres that see some of their neighbours only.

    Args:
        view: the centres.
        members: (n_atom, k) bool, which neighbours they see; the others go to where no descriptor looks.
        reach: angstrom, no smaller than any cut-off.
    """
    away = jnp.array([2.0 * reach, 0.0, 0.0], view.disp.dtype).reshape(1, 1, 3)
    return view.replace(
        disp=jnp.where(members[..., None], view.disp, away), fragment=None, fragment_nbrs=None, n_fragment=None
    )


def near_fragments(view: Neighborhood, reach: float) -> tuple[jax.Array, jax.Array]:
    """The fragments beside the first one that have an atom near to a QM atom.

    Args:
        view: any centres.
        reach: angstrom.

    Returns:
        (n_atom, k) int32 for each slot the place of its fragment among those near to the centre, -1 where there is none; and
        (n_atom,) int32 how many these are.  Centres that are no QM atoms have none.
    """
    disp = jax.lax.stop_gradient(view.disp)
    near = view.listed & (jnp.sum(disp * disp, axis=-1) < reach * reach)
    near &= (view.fragment_nbrs > 0) & (view.fragment == 0)[:, None]
    number = jnp.where(near, view.fragment_nbrs, LAST)
    order = jnp.argsort(number, axis=1)
    ordered = jnp.take_along_axis(number, order, axis=1)
    fresh = jnp.concatenate([jnp.ones_like(ordered[:, :1], bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    fresh &= ordered < LAST
    rank = jnp.cumsum(fresh, axis=1, dtype=jnp.int32) - 1
    rows = jnp.arange(view.n_atom)[:, None]
    place = jnp.zeros_like(rank).at[rows, order].set(rank)
    return jnp.where(near, place, -1), jnp.sum(fresh, axis=1, dtype=jnp.int32)
