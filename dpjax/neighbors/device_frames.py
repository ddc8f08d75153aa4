"""The device search for many small structures at once: every pair of a frame is looked at, frame by frame.

Bins do not pay for molecules.  So each frame is one bin, which :mod:`dpjax.neighbors.device` searches together with as many
periodic images as the smallest cell needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.neighbors.device import (
    CELL_SMALL,
    LIST_FULL,
    NOT_FINITE,
    DeviceNeighbors,
    NeighborFlags,
    SearchSizes,
    flags_of,
    search_block,
    sort_into_bins,
)
from dpjax.neighbors.lattice import heights
from dpjax.neighbors.plan import CANDIDATES, ROUNDING, SHRINK


@dataclass(frozen=True)
class FramesPlan:
    """Static sizes of a search in many frames; hashable, so that it selects a compiled program."""

    rcut: float  # angstrom
    skin: float  # angstrom; neighbours up to rcut + skin are listed
    reach: tuple[int, int, int]  # periodic images to look through on each side
    bin_atoms: tuple[int, ...]  # most atoms of each section in one frame
    nbrs: tuple[int, ...]  # slots for neighbours of each section

    @property
    def rlist(self) -> float:
        """Cut-off of the list, angstrom."""
        return self.rcut + self.skin

    def sizes(self, pbc: jax.Array) -> SearchSizes:
        """The same for the search of one frame, periodic in the directions ``pbc`` (3,)."""
        offsets = np.array(list(product(*(range(-r, r + 1) for r in self.reach))), np.int32)
        one = np.ones(3, np.int32)
        return SearchSizes(self.rlist, pbc, one, np.ones(3), offsets, 1, self.bin_atoms, self.nbrs)


def reach_of(cells: np.ndarray, pbc: np.ndarray, rlist: float) -> tuple[int, int, int]:
    """Images on each side that the smallest of the cells (n_frame, 3, 3) needs, in the directions where it is periodic."""
    height = np.stack([heights(cell) for cell in np.asarray(cells, np.float64)]) * SHRINK
    need = np.where(pbc, np.ceil(rlist * ROUNDING / height), 0).max(axis=0)
    return tuple(int(n) for n in need)


def update_frames(
    plan: FramesPlan, coord: jax.Array, section: jax.Array, cell: jax.Array, pbc: np.ndarray, members: np.ndarray
) -> DeviceNeighbors:
    """All neighbours with distance < ``plan.rlist`` in each frame; pure, for use under ``jit``.

    Args:
        plan: sizes.
        coord: (n_atom, 3) angstrom, of all frames.
        section: (n_atom,) of each atom; -1 on padding.
        cell: (n_frame, 3, 3) angstrom; that of open directions must span a volume with the others.
        pbc: (n_frame, 3) bool.
        members: (n_frame, most) atoms of each frame, then -1.

    Returns:
        The list on the axis of all atoms, as :func:`dpjax.neighbors.update` gives it; ``flags.heights`` are the least of all.
    """
    n_atom = coord.shape[0]
    none = members < 0
    own = np.where(none, 0, members)
    frames = (coord[own], jnp.where(none, -1, section[own]), cell, jnp.asarray(pbc), jnp.asarray(own))
    images = np.prod([2 * r + 1 for r in plan.reach])
    at_once = max(1, int(CANDIDATES // max(1, members.shape[1] * images * sum(plan.bin_atoms))))
    found = jax.lax.map(partial(_search_frame, plan), frames, batch_size=min(at_once, len(members)))
    index, shift, need, flags = found
    target = jnp.asarray(np.where(none, n_atom, members).reshape(-1))  # beyond the last atom: dropped

    def placed(rows: jax.Array, empty: jax.Array) -> jax.Array:
        return empty.at[target].set(rows.reshape(-1, *rows.shape[2:]), mode="drop")

    width = sum(plan.nbrs)
    itself = jnp.broadcast_to(jnp.arange(n_atom, dtype=jnp.int32)[:, None], (n_atom, width))
    count = jnp.minimum(need, jnp.asarray(plan.nbrs, jnp.int32)[None, None, :])
    return DeviceNeighbors(
        placed(index, itself),
        placed(shift, jnp.zeros((n_atom, width, 3), jnp.int32)),
        placed(count, jnp.zeros((n_atom, len(plan.nbrs)), jnp.int32)),
        _joined(flags),
    )


def grow_frames(plan: FramesPlan, flags: NeighborFlags, wanted: Sequence[int], cells: np.ndarray, pbc: np.ndarray):
    """A plan with room for what ``flags`` found missing; ``wanted`` (n_section,) slots where the list was full."""
    if int(flags.bits) & LIST_FULL:
        plan = replace(plan, nbrs=tuple(max(a, int(b)) for a, b in zip(plan.nbrs, wanted, strict=True)))
    if int(flags.bits) & CELL_SMALL:
        plan = replace(plan, reach=tuple(map(max, plan.reach, reach_of(cells, pbc, plan.rlist))))
    return plan


def _search_frame(plan: FramesPlan, frame):
    coord, section, cell, pbc, members = frame
    sizes = plan.sizes(pbc)
    bins = sort_into_bins(sizes, coord, section, cell)
    index, shift, need = search_block(sizes, bins, section, cell, jnp.arange(coord.shape[0], dtype=jnp.int32))
    return members[index].astype(jnp.int32), shift, need, flags_of(sizes, bins, jnp.max(need, axis=0))


def _joined(flags: NeighborFlags) -> NeighborFlags:
    """Flags of all frames as one."""
    bits = sum(bit * jnp.any(flags.bits & bit != 0) for bit in (1, LIST_FULL, CELL_SMALL, NOT_FINITE))
    return NeighborFlags(
        bits.astype(jnp.int32),
        jnp.max(flags.bin_atoms, axis=0),
        jnp.max(flags.nbrs, axis=0),
        jnp.min(flags.heights, axis=0),
    )
