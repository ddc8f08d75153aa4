"""What one slab does to see its neighbours: send copies of its atoms, list neighbours, send back what copies received.

Everything here runs inside ``shard_map`` over the axis :data:`SLABS`, on the arrays of one slab: own atoms first, then those
received, hop by hop.  Atoms travel directly to the slab that needs them (``ppermute`` over so many hops); a copy that passed the
end of the cell is moved by the cell vector.  Where messages pass between atoms, what these have become is sent before each
layer.

A list holds as long as no pair that it left out can have come within the cut-off: how far atoms moved counts, and how much the cell
changed.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.models.listed import kept_slots
from dpjax.models.spread.division import SlabPlan
from dpjax.neighbors.device import NeighborFlags, search_centres
from dpjax.neighbors.lattice import heights, inverse3

SLABS = "slabs"  # mesh axis

# Bits of SlabFlags, above those of NeighborFlags
SENT_FULL = 32  # more atoms have to be sent than the plan has places for
SLABS_FAR = 64  # a slab is needed that the plan does not reach
NOT_RESOLVED = 128  # series for embedding networks are too coarse for these distances
COINCIDENT = 256  # two atoms are on one point
STALE = 512  # the list no longer holds for the positions; only where a program does not make it again
NEAR_FULL = 1024  # an atom has more neighbours within the cut-off than there are slots
ALL_BITS = tuple(1 << i for i in range(11))

_ROUNDING = 1e-9  # across the slabs a distance is no longer than the distance itself but for rounding


class SlabFlags(NamedTuple):
    """What went wrong in any of the slabs, the same on all."""

    bits: jax.Array  # () int32, sum of those above and of NeighborFlags; 0: all is right
    neighbors: NeighborFlags  # what a larger plan must hold, the largest of all slabs
    near: jax.Array  # (n_section,) int32 most neighbours within the cut-off
    crowd: tuple[jax.Array, ...]  # for each descriptor (len(sel),) int32 neighbours that an atom has at most


class Sent(NamedTuple):
    """The atoms that go to one other slab."""

    place: jax.Array  # (n,) int32 among own atoms
    real: jax.Array  # (n,) bool


class SlabList(NamedTuple):
    """Neighbours of the own atoms of a slab, and what was sent for it."""

    sent: tuple[Sent, ...]  # in the order of ``plan.sent``
    atype: jax.Array  # (n_own + n_received,) int32 types; -1 where there is no atom
    index: jax.Array  # (n_own, n_nbr) int32 among own and received atoms
    shift: jax.Array  # (n_own, n_nbr, 3) int16 cell vectors added to the neighbour; none along the axis
    count: jax.Array  # (n_own, n_section) int32
    frac: jax.Array  # (n_own, 3) fractions of the cell vectors when the list was made
    cell: jax.Array  # (3, 3) angstrom then
    flags: SlabFlags  # of the search


@flax.struct.dataclass
class Received:
    """Appends to values of own atoms (n_own, ...) those of received ones, in the order of ``SlabList.index``.

    Its derivative sends back to the owners what copies were given, so messages between slabs need nothing else.
    """

    sent: tuple[Sent, ...]
    plan: SlabPlan = flax.struct.field(pytree_node=False)

    def __call__(self, values: jax.Array) -> jax.Array:
        return jnp.concatenate([values, received(self.plan, self.sent, values)])


def make_list(
    plan: SlabPlan, atype: jax.Array, frac: jax.Array, cell: jax.Array, cuts: tuple, *, by_type: bool
) -> SlabList:
    """The neighbours of the own atoms; every slab calls it at the same time.

    Args:
        plan: sizes.
        atype: (n_own,) types, -1 on padding.
        frac: (n_own, 3) fractions of the cell vectors.
        cell: (3, 3) angstrom.
        cuts: :func:`dpjax.descriptors.crowding.cuts` of the model, whose neighbours are counted for ``flags.crowd``.
        by_type: whether neighbours come in sections by type.
    """
    real = atype >= 0
    frac = jnp.where(real[:, None], frac, 0.0)
    sent, bits = _chosen(plan, frac[:, plan.axis] * heights(cell)[plan.axis], real, heights(cell)[plan.axis])
    own = frac @ cell
    coord = jnp.concatenate([own, received_positions(plan, sent, own, cell)])
    types = jnp.concatenate([atype, received(plan, sent, atype + 1) - 1])
    found = search_centres(plan.cells, coord, types if by_type else jnp.minimum(types, 0), cell, plan.n_own)
    disp = coord[found.index] + jnp.einsum("nks,sd->nkd", found.shift.astype(cell.dtype), cell) - own[:, None, :]
    square = jnp.where(_used(plan, found.count), jnp.sum(disp * disp, axis=-1), jnp.inf)
    bits = bits | jnp.where(jnp.min(square, initial=jnp.inf) < 1e-12, COINCIDENT, 0)
    crowd, near = tuple(_crowd(plan, cut, square) for cut in cuts), jnp.zeros_like(found.flags.nbrs)
    flags = _of_all(SlabFlags(found.flags.bits | bits, found.flags, near, crowd))
    return SlabList(sent, types, found.index, found.shift.astype(jnp.int16), found.count, frac, cell, flags)


def moved(
    plan: SlabPlan, listed: SlabList, coord: jax.Array, cell: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where own atoms are now, and whether their list still holds.

    Args:
        plan: sizes.
        listed: the list.
        coord: (n_own, 3) angstrom, in any image of the cell as long as no atom moved by half of it.
        cell: (3, 3) angstrom now.

    Returns:
        (n_own, 3) angstrom and (n_own, 3) fractions, near those of the list; () bool, the same on all slabs.
    """
    real = (listed.atype[: plan.n_own] >= 0)[:, None]
    coord = jnp.where(real, coord, 0.0)
    frac = coord @ inverse3(cell)
    turns = jnp.round(frac - listed.frac) if plan.periodic else jnp.zeros_like(frac)
    turns = jnp.where(real, jax.lax.stop_gradient(turns), 0.0)
    own = coord - turns @ cell
    step = jnp.where(real, own - listed.frac @ cell, 0.0)
    farthest = jnp.sqrt(jnp.max(jnp.sum(step * step, axis=-1), initial=0.0))
    strain = inverse3(listed.cell) @ cell - jnp.eye(3, dtype=cell.dtype)
    shrunk = 1.0 - jnp.sqrt(jnp.sum(strain * strain))  # no distance became shorter than by this factor
    holds = shrunk * plan.cells.rlist - 2.0 * farthest >= plan.cells.rcut * (1.0 - _ROUNDING)  # NaN does not hold
    stale = (
        jax.lax.pmax((~holds).astype(jnp.int32), SLABS) > 0
    )  # of numbers the largest, over devices, may leave out NaN
    return own, frac - turns, stale


def within_cutoff(plan: SlabPlan, listed: SlabList, disp: jax.Array) -> tuple[SlabList, jax.Array, jax.Array]:
    """A list with a skin without the pairs beyond the cut-off, so that networks work on what is near now.

    Args:
        plan: sizes.
        listed: the list.
        disp: (n_own, n_nbr, 3) neighbour minus centre, angstrom.

    Returns:
        The list with ``plan.near`` slots, whose neighbours keep their order; displacements in these; and (n_section,) int32 most
        neighbours that an atom of this slab has within the cut-off: where these are more than slots, some are missing.
    """
    if plan.near == plan.cells.nbrs:
        return listed, disp, jnp.max(listed.count, axis=0)
    near = _used(plan, listed.count) & (jnp.sum(disp * disp, axis=-1) < plan.cells.rcut**2)
    pick, count = kept_slots(near, plan.cells.nbrs, plan.near)
    index = jnp.take_along_axis(listed.index, pick, axis=1)
    kept = listed._replace(index=index, count=jnp.minimum(count, np.asarray(plan.near, np.int32)[None, :]))
    return kept, jnp.take_along_axis(disp, pick[..., None], axis=1), jnp.max(count, axis=0)


def received(plan: SlabPlan, sent: tuple[Sent, ...], values: jax.Array) -> jax.Array:
    """(n_received, ...) values of the atoms that come from other slabs, out of ``values`` (n_own, ...); zero where none is."""
    parts = []
    for (hop, _), atoms in zip(plan.sent, sent, strict=True):
        real = jnp.reshape(atoms.real, (-1, *(1,) * (values.ndim - 1)))
        parts.append(jax.lax.ppermute(jnp.where(real, values[atoms.place], 0), SLABS, _pairs(plan, hop)))
    return jnp.concatenate([jnp.zeros((0, *values.shape[1:]), values.dtype), *parts])


def returned(plan: SlabPlan, sent: tuple[Sent, ...], values: jax.Array) -> jax.Array:
    """The transpose of :func:`received`: what own atoms have and what their copies elsewhere were given, added up.

    Args:
        plan: sizes.
        sent: of the list.
        values: (n_own + n_received, ...).

    Returns:
        (n_own, ...)
    """
    total, start = values[: plan.n_own], plan.n_own
    for (hop, room), atoms in zip(plan.sent, sent, strict=True):
        back = jax.lax.ppermute(values[start : start + room], SLABS, _pairs(plan, -hop))
        real = jnp.reshape(atoms.real, (-1, *(1,) * (values.ndim - 1)))
        total = total.at[atoms.place].add(jnp.where(real, back, 0))
        start += room
    return total


def received_positions(plan: SlabPlan, sent: tuple[Sent, ...], own: jax.Array, cell: jax.Array) -> jax.Array:
    """(n_received, 3) positions of received atoms as this slab sees them, in the image of the cell that lies beside it."""
    place = jax.lax.axis_index(SLABS)
    images = [jnp.full(room, (place - hop) // plan.n_slab) for hop, room in plan.sent]
    image = jnp.concatenate([jnp.zeros(0, place.dtype), *images]).astype(own.dtype)
    return received(plan, sent, own) + image[:, None] * cell[plan.axis][None, :]


def _chosen(plan: SlabPlan, along: jax.Array, real: jax.Array, period: jax.Array) -> tuple[tuple[Sent, ...], jax.Array]:
    """The atoms that each hop takes, and bits of what the plan cannot hold.

    A slab needs what lies within the cut-off of the interval that its own atoms span along the axis.
    """
    reach = plan.cells.rlist * (1 + _ROUNDING)
    here = jax.lax.axis_index(SLABS)
    low, high = jnp.min(jnp.where(real, along, jnp.inf)), jnp.max(jnp.where(real, along, -jnp.inf))
    lows, highs = jax.lax.all_gather(low, SLABS), jax.lax.all_gather(high, SLABS)

    def interval(hop: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of the slab so far away: its interval beside this one, and whether there is such a slab."""
        image = (here + hop) // plan.n_slab
        other, away = (here + hop) % plan.n_slab, image * period
        return lows[other] + away, highs[other] + away, (image == 0) | plan.periodic

    sent, full = [], jnp.zeros((), bool)
    for hop, room in plan.sent:
        first, last, exists = interval(hop)
        wanted = real & (along >= first - reach) & (along <= last + reach) & exists
        number = jnp.sum(wanted)
        place = jnp.nonzero(wanted, size=room, fill_value=0)[0].astype(jnp.int32)
        sent.append(Sent(place, jnp.arange(room) < number))
        full = full | (number > room)
    far = jnp.zeros((), bool)
    for hop in range(plan.hops + 1, plan.hops + 1 + plan.n_slab):
        first, last, exists = interval(hop)
        far = far | (exists & (first - high < reach) & (low - last < reach))
    return tuple(sent), SENT_FULL * full.astype(jnp.int32) + SLABS_FAR * far.astype(jnp.int32)


def _pairs(plan: SlabPlan, hop: int) -> list[tuple[int, int]]:
    return [(slab, (slab + hop) % plan.n_slab) for slab in range(plan.n_slab)]


def _used(plan: SlabPlan, count: jax.Array) -> jax.Array:
    """(n_own, n_nbr) bool: slots that hold a neighbour."""
    parts = [jnp.arange(width)[None, :] < count[:, t, None] for t, width in enumerate(plan.cells.nbrs)]
    return jnp.concatenate(parts, axis=1)


def _crowd(plan: SlabPlan, cut, square: jax.Array) -> jax.Array:
    """(len(sel),) most neighbours that an own atom has within a descriptor's cut-off; squares are infinite in empty slots."""
    near = square < cut.rcut**2
    ends = np.cumsum(plan.cells.nbrs)[:-1]
    counts = [jnp.sum(part, axis=1) for part in jnp.split(near, ends, axis=1)]
    counts = counts if cut.names else [sum(counts)]
    return jnp.stack([jnp.max(n, initial=0) for n in counts]).astype(jnp.int32)


def _of_all(flags: SlabFlags) -> SlabFlags:
    """Flags of one slab as those of all: bits that any has, the largest of numbers."""
    bits = joint_bits(flags.bits)
    numbers = flags.neighbors
    least = -jax.lax.pmax(-numbers.heights, SLABS)
    neighbors = NeighborFlags(bits, *(jax.lax.pmax(n, SLABS) for n in (numbers.bin_atoms, numbers.nbrs)), least)
    return SlabFlags(bits, neighbors, flags.near, tuple(jax.lax.pmax(n, SLABS) for n in flags.crowd))


def joint_bits(bits: jax.Array) -> jax.Array:
    """Bits that are set on any slab."""
    each = np.array(ALL_BITS, np.int32)
    anywhere = jax.lax.pmax(((bits & each) > 0).astype(jnp.int32), SLABS)
    return jnp.sum(anywhere * each, dtype=jnp.int32)
