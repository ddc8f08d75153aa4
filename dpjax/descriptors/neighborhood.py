"""A descriptor's view of the neighbour table: its own cut of the one untruncated table a model searches.

The table comes in sections by neighbour type where a model has networks per type, and in one section otherwise.  A descriptor
with networks per type keeps at most ``sel[t]`` neighbours of type t, after the reference's
two-step rule: of all neighbours the nearest ``sum(sel)`` stay, then of each type the nearest ``sel[t]`` of those.  Where the array
widths show that nothing can be cut, no sorting code is compiled at all.  Widths may be symbols of ``jax.export``; where these leave
open what is wider, the program decides when its sizes are known, and XLA then drops the side that is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from dpjax.batching.lists import Lists
from dpjax.nn.blocks import AS_SUITS, Work

# values (n_atom, ...) -> the same, and behind them those of atoms on other devices; a tree of arrays
Copies = Callable[[jax.Array], jax.Array]


class Listing(NamedTuple):
    """What counts as a neighbour, before a descriptor takes its own cut: the nearest ``room`` of any type within ``rcut``.

    The members of a hybrid share one list.  A neighbour beyond a member's own cut-off leaves no empty place there: its row of
    the environment matrix is zero, but it has a type, it takes part in attention, and exclusions apply to it.
    """

    rcut: float  # angstrom
    room: int


@flax.struct.dataclass
class Neighborhood:
    """A block of centres and the untruncated table of their neighbours, as a descriptor is handed them.

    Where a model has networks per type, all centres have one type and the table has a section for each neighbour type; then types
    are known before anything runs.  Otherwise they are arrays.
    """

    disp: jax.Array  # (n_atom, sum(nbrs), 3) neighbour minus centre, angstrom
    count: jax.Array  # (n_atom, n_section) neighbours of each section; they fill it from the front
    types: jax.Array | None = None  # (n_atom,) of the centres, where ``centre`` does not say it; -1 on padding
    kinds: jax.Array | None = None  # (n_atom, sum(nbrs)) types of the neighbours, where sections do not say it
    empty_kinds: jax.Array | None = None  # (n_atom,) types whose vectors empty places get; None: the vector of padding
    index: jax.Array | None = None  # (n_atom, sum(nbrs)) which centre a neighbour is, where messages pass between them
    condition: jax.Array | None = None  # (n_atom, 2) charge and spin of the frame, where the descriptor takes them
    near: jax.Array | None = (
        None  # (n_atom, sum(nbrs), n) atomic parameters of the neighbours, where the descriptor takes them
    )
    mask: jax.Array | None = None  # (n_atom,) bool: which centres are real and which virtual, where frames say so
    mask_nbrs: jax.Array | None = None  # (n_atom, sum(nbrs)) the same of their neighbours
    # numbers of fragments, where frames have them: 0 the first one (QM), above 0 others, -1 of atoms that take no part
    fragment: jax.Array | None = None  # (n_atom,) of the centres
    fragment_nbrs: jax.Array | None = None  # (n_atom, sum(nbrs)) of their neighbours
    n_fragment: jax.Array | None = None  # (n_atom,) how many the frame has beside the first one
    lists: Lists | None = None  # flat lists of edges and angles of all atoms of a batch, where it has them
    copies: Copies | None = None  # where neighbours are on other devices: ``index`` counts them after the atoms here
    nbrs: tuple[int, ...] = flax.struct.field(pytree_node=False, default=())  # widths of the sections
    inner: tuple[tuple[float, int], ...] = flax.struct.field(pytree_node=False, default=())  # of the batch's layout
    centre: int | None = flax.struct.field(pytree_node=False, default=None)  # type of all centres
    work: Work = flax.struct.field(pytree_node=False, default=AS_SUITS)
    shared: Listing | None = flax.struct.field(
        pytree_node=False, default=None
    )  # of the hybrid that a descriptor is part of

    @property
    def n_atom(self) -> int:
        return self.disp.shape[0]

    @property
    def centre_types(self) -> jax.Array:
        """(n_atom,) types of the centres."""
        return self.types if self.centre is None else jnp.full(self.n_atom, self.centre)

    @property
    def neighbor_types(self) -> jax.Array:
        """(n_atom, sum(nbrs)) types of the neighbours; anything valid or -1 where there is none."""
        if self.kinds is not None:
            return self.kinds
        row = jnp.repeat(jnp.arange(len(self.nbrs)), jnp.array(self.nbrs), total_repeat_length=sum(self.nbrs))
        return jnp.broadcast_to(row, self.disp.shape[:2])

    @property
    def empty_types(self) -> jax.Array:
        """(n_atom,) types whose vectors empty places get; -1: the vector of padding."""
        return jnp.full(self.n_atom, -1) if self.empty_kinds is None else self.empty_kinds

    @property
    def listed(self) -> jax.Array:
        """(n_atom, sum(nbrs)) bool: which slots hold a neighbour."""
        return jnp.concatenate([_listed(self.count, t, width) for t, width in enumerate(self.nbrs)], axis=1)

    @property
    def by_section(self) -> list[tuple[jax.Array, jax.Array]]:
        """For each section (n_atom, k, 3) displacements, and (n_atom, k) bool where there is a neighbour; nothing is left out."""
        starts = accumulate(self.nbrs, initial=0)
        return [
            (jax.lax.slice_in_dim(self.disp, start, start + width, axis=1), _listed(self.count, t, width))
            for t, (start, width) in enumerate(zip(starts, self.nbrs, strict=False))
        ]

    def places(self, sel: int, rcut: float) -> int:
        """Places for the nearest ``sel`` neighbours within ``rcut`` (angstrom): fewer where no atom has so many."""
        return min([sel, *(most for reach, most in self.inner if reach >= rcut)])

    def listing(self, sel: Sequence[int], rcut: float) -> Listing:
        """What counts as a neighbour of a descriptor with this ``sel`` and cut-off."""
        return self.shared or Listing(rcut, sum(sel))

    def sections(self, sel: Sequence[int], rcut: float) -> list[Section]:
        """:func:`sections` of this table for a descriptor with networks per type."""
        return sections(self.disp, self.count, self.nbrs, sel, *self.listing(sel, rcut))

    def sections_with_parameters(self, sel: Sequence[int], rcut: float) -> list[tuple[Section, jax.Array]]:
        """:meth:`sections`, each with the atomic parameters of its neighbours (n_atom, k, n)."""
        both = jnp.concatenate([self.disp, self.near.astype(self.disp.dtype)], axis=-1)
        cut = sections(both, self.count, self.nbrs, sel, *self.listing(sel, rcut))
        return [(own._replace(disp=own.disp[..., :3]), own.disp[..., 3:]) for own in cut]


def at_neighbors(values: jax.Array, index: jax.Array, copies: Copies | None) -> jax.Array:
    """What neighbours have: (*index.shape, ...) of values (n_atom, ...), ``index`` and ``copies`` being those of the view."""
    return (values if copies is None else copies(values))[index]


class Features(NamedTuple):
    """What a descriptor says about atoms."""

    values: jax.Array  # (n_atom, dim_out), unchanged by rotations
    frame: jax.Array | None = None  # (n_atom, dim_frame, 3), turning with the structure; None: the descriptor has none


class Section(NamedTuple):
    """Neighbours of one type for a block of centres."""

    disp: jax.Array  # (n_atom, k, 3) angstrom; any finite value where mask is False
    mask: jax.Array  # (n_atom, k) bool
    kept: jax.Array  # (n_atom,) number of True entries


def may_truncate(nbrs: Sequence[int], sel: Sequence[int]) -> bool:
    """Whether arrays of widths ``nbrs``, numbers or symbols, could hold more neighbours than ``sel`` keeps."""
    return any(_may_exceed(have, keep) for have, keep in zip(nbrs, sel, strict=True))


def _may_exceed(have: int, keep: int) -> bool:
    try:
        return have > keep
    except jax.errors.InconclusiveDimensionOperation:  # a symbol without a bound
        return True


def sections(
    disp: jax.Array, count: jax.Array, nbrs: Sequence[int], sel: Sequence[int], rcut: float, room: int | None = None
) -> list[Section]:
    """Cut a neighbour table into sections by neighbour type and truncate each to ``sel``.

    Args:
        disp: (n_atom, sum(nbrs), 3) neighbour minus centre, angstrom; more columns are carried along.
        count: (n_atom, n_type) neighbours of each type; they fill their section from the front.
        nbrs: width of each section.
        sel: neighbours of each type that the descriptor keeps.
        rcut: the descriptor's own cut-off, angstrom; slots beyond it (a larger table, a list with a skin) are left out.
        room: neighbours of any type, the nearest, out of which ``sel`` chooses; None: ``sum(sel)``.

    Returns:
        One :class:`Section` for each type, at most ``sel[t]`` wide where truncation is possible.
    """
    parts, start = [], 0
    for t, width in enumerate(nbrs):
        part = jax.lax.slice_in_dim(disp, start, start + width, axis=1)
        listed = _listed(count, t, width)
        near = _square(part) < rcut * rcut
        parts.append((part, listed & near))
        start += width
    if may_truncate(nbrs, sel):
        known = all(isinstance(n, int) for n in nbrs)
        room = sum(sel) if room is None else room
        parts = _truncate(parts, sel, room) if known else _truncate_wider(parts, nbrs, sel, room)
    return [Section(part, mask, jnp.sum(mask, axis=1)) for part, mask in parts]


def _square(part: jax.Array) -> jax.Array:
    """(n_atom, k) squares of the first three columns of (n_atom, k, 3 or more)."""
    disp = part[..., :3]
    return jnp.sum(disp * disp, axis=-1)


def _listed(count: jax.Array, t: int, width: int) -> jax.Array:
    """(n_atom, width) bool: which slots of section t hold a neighbour."""
    return jnp.arange(width)[None, :] < count[:, t, None]


def nearest_distance(disp: jax.Array, count: jax.Array, nbrs: Sequence[int]) -> jax.Array:
    """() smallest distance of a listed neighbour, angstrom; infinite without any.  No derivative is taken of it.

    Args:
        disp: (n_atom, sum(nbrs), 3) neighbour minus centre, angstrom.
        count: (n_atom, n_type) neighbours of each type.
        nbrs: width of each section.
    """
    disp = jax.lax.stop_gradient(disp)
    listed = [_listed(count, t, width) for t, width in enumerate(nbrs)]
    squares = jnp.where(jnp.concatenate(listed, axis=1), jnp.sum(disp * disp, axis=-1), jnp.inf)
    return jnp.sqrt(jnp.min(squares, initial=jnp.inf))


def _truncate(
    parts: list[tuple[jax.Array, jax.Array]], sel: Sequence[int], room: int
) -> list[tuple[jax.Array, jax.Array]]:
    """Keep the nearest ``room`` of all, then the nearest ``sel[t]`` of each section."""
    squares = [jnp.where(mask, jax.lax.stop_gradient(_square(part)), jnp.inf) for part, mask in parts]
    everything = jnp.concatenate(squares, axis=1)
    crowded = room > 0 and _may_exceed(everything.shape[1], room)
    limit = jnp.sort(everything, axis=1)[:, :room][:, -1:] if crowded else jnp.inf  # of fewer columns the last
    cut = []
    for (part, mask), sq, keep in zip(parts, squares, sel, strict=True):
        order = jnp.argsort(sq, axis=1)[:, : max(keep, 0)]
        near = jnp.take_along_axis(mask & (sq <= limit), order, axis=1)
        cut.append((jnp.take_along_axis(part, order[..., None], axis=1), near))
    return cut


def _truncate_wider(
    parts: list[tuple[jax.Array, jax.Array]], nbrs: Sequence[int], sel: Sequence[int], room: int
) -> list[tuple[jax.Array, jax.Array]]:
    """:func:`_truncate` for widths that are symbols; nothing is sorted in a program whose widths turn out to be within ``sel``."""

    def as_they_are(parts):
        return [(part[:, :keep], mask[:, :keep]) for (part, mask), keep in zip(parts, sel, strict=True)]

    wider = jnp.any(jnp.array(tuple(nbrs)) > jnp.array(tuple(sel)))
    return jax.lax.cond(wider, lambda parts: _truncate(parts, sel, room), as_they_are, parts)


def ordered_pairs(pairs: Iterable[Sequence[int]]) -> frozenset[tuple[int, int]]:
    """Unordered type pairs as the set of both ordered pairs."""
    return frozenset((a, b) for pair in pairs for a, b in (tuple(pair), tuple(pair)[::-1]))
