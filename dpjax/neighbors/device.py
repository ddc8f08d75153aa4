"""A cell list for the device: linear in the number of atoms, any cell or none, pure and jitted.

Space is cut into bins; atoms are sorted by (section, bin); each atom looks through the bins around its own.  Bins outside the
cell are periodic images of bins inside, so a cell thinner than the cut-off is nothing special: its bins are met several
times, with different shifts.  All sizes are fixed by a plan made on the host (:mod:`dpjax.neighbors.plan`), so one
compiled program serves many steps.  What a plan cannot hold sets a flag; nothing is ever dropped silently.

The search itself takes its sizes as :class:`SearchSizes`, whose entries may also be symbols of ``jax.export``, and arrays that
are only known when a program runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.errors import CapacityError, NonFiniteError
from dpjax.neighbors.lattice import heights, inverse3

Array = jax.Array | np.ndarray

BIN_FULL = 1  # a bin holds more atoms than the plan has places
LIST_FULL = 2  # an atom has more neighbours than the plan has slots
CELL_SMALL = 4  # the cell shrank below what the plan's bins cover
NOT_FINITE = 8  # a coordinate or the cell is NaN or infinite
GRID_LARGE = 16  # there are more bins than their number says; only where both are given from outside


@dataclass(frozen=True)
class CellListPlan:
    """Static sizes of a cell list; hashable, so that it selects a compiled program."""

    rcut: float  # angstrom
    skin: float  # angstrom; neighbours up to rcut + skin are listed
    pbc: tuple[bool, bool, bool]
    grid: tuple[int, int, int]  # bins along each cell vector
    width: tuple[float, float, float]  # least bin width in open directions, angstrom
    reach: tuple[int, int, int]  # bins to look through on each side
    bin_atoms: tuple[int, ...]  # most atoms of each section in one bin
    nbrs: tuple[int, ...]  # slots for neighbours of each section
    subdivision: int = 1  # bins per list cut-off
    block: int = 1024  # atoms searched at once

    @property
    def rlist(self) -> float:
        """Cut-off of the list, angstrom."""
        return self.rcut + self.skin

    @property
    def n_bin(self) -> int:
        return int(np.prod(self.grid))

    @property
    def n_stencil(self) -> int:
        """Bins that each atom looks through."""
        return int(np.prod([2 * r + 1 for r in self.reach]))

    @property
    def sizes(self) -> SearchSizes:
        """The same for the search."""
        return SearchSizes(
            rlist=self.rlist,
            pbc=np.asarray(self.pbc),
            grid=np.asarray(self.grid, np.int32),
            width=np.asarray(self.width),
            offsets=np.array(list(product(*(range(-r, r + 1) for r in self.reach))), np.int32),
            n_bin=self.n_bin,
            bin_atoms=self.bin_atoms,
            nbrs=self.nbrs,
        )


@dataclass(frozen=True)
class SearchSizes:
    """What a search needs to know.  Numbers may be symbols of ``jax.export``, and arrays only known when the program runs."""

    rlist: float  # angstrom
    pbc: Array  # (3,) bool
    grid: Array  # (3,) int32 bins along each cell vector
    width: Array  # (3,) least bin width in open directions, angstrom
    offsets: Array  # (n_stencil, 3) int32 from a bin to those to look through, the box of all within some reach
    n_bin: Any  # at least the product of ``grid``
    bin_atoms: tuple[Any, ...]  # most atoms of each section in one bin
    nbrs: tuple[Any, ...]  # slots for neighbours of each section

    @property
    def n_stencil(self) -> Any:
        """Bins that each atom looks through."""
        return self.offsets.shape[0]


@partial(jax.tree_util.register_dataclass, data_fields=["bits", "bin_atoms", "nbrs", "heights"], meta_fields=[])
@dataclass(frozen=True)
class NeighborFlags:
    """Whether a list is complete, and what a larger plan must hold."""

    bits: jax.Array  # () int32, sum of BIN_FULL, LIST_FULL, CELL_SMALL, NOT_FINITE; 0 when the list is complete
    bin_atoms: jax.Array  # (n_section,) int32 most atoms found in a bin
    nbrs: jax.Array  # (n_section,) int32 most neighbours found; too low while bins are full
    heights: jax.Array  # (3,) heights of the cell, angstrom

    def raise_if_set(self) -> None:
        """Reads the flags on the host.

        Raises:
            NonFiniteError: a coordinate or the cell is not finite.
            CapacityError: the plan is too small; ``grow`` makes a larger one.
        """
        bits = int(self.bits)
        if bits & NOT_FINITE:
            raise NonFiniteError(
                "a coordinate or cell vector given to the neighbour list is NaN or infinite; look at the step before it"
            )
        reasons = [
            (BIN_FULL, f"bins need {np.asarray(self.bin_atoms).tolist()} atoms of each type"),
            (LIST_FULL, f"atoms need {np.asarray(self.nbrs).tolist()} neighbours of each type"),
            (CELL_SMALL, f"the cell shrank to heights of {np.asarray(self.heights).round(3).tolist()} angstrom"),
        ]
        if bits:
            text = "; ".join(reason for bit, reason in reasons if bits & bit)
            raise CapacityError(
                f"the neighbour list is incomplete: {text}. Make a larger plan (dpjax.neighbors.grow) and run again"
            )


class DeviceNeighbors(NamedTuple):
    """Neighbours in sections by type, as batches have them: section t holds ``plan.nbrs[t]`` slots, neighbours first."""

    index: jax.Array  # (n_atom, sum(nbrs)) int32; the centre itself in empty slots
    shift: jax.Array  # (n_atom, sum(nbrs), 3) int32 cell vectors added to the neighbour
    count: jax.Array  # (n_atom, n_section) int32
    flags: NeighborFlags


class Bins(NamedTuple):
    """Where the atoms of a structure lie."""

    inside: jax.Array  # (n_atom, 3) coordinates wrapped into the cell
    turns: jax.Array  # (n_atom, 3) int32 cell vectors that were subtracted
    place: jax.Array  # (n_atom, 3) int32 bin of each atom
    order: jax.Array  # (n_atom,) atoms sorted by (section, bin)
    start: jax.Array  # (n_section * n_bin + 1,) first place of each bin in ``order``
    heights: jax.Array  # (3,)
    finite: jax.Array  # () bool


def update(plan: CellListPlan, coord: jax.Array, atype: jax.Array, cell: jax.Array | None = None) -> DeviceNeighbors:
    """All neighbours with distance < ``plan.rlist``; pure, jitted, compiled once for each plan and array size.

    Args:
        plan: sizes, from :func:`dpjax.neighbors.allocate`.
        coord: (n_atom, 3) angstrom; may lie outside the cell.
        atype: (n_atom,) section of each atom, below ``len(plan.nbrs)``; -1 has no neighbours and is none.
        cell: (3, 3) angstrom; None exactly if the plan is open in all directions.

    Returns:
        The list; incomplete if ``flags.bits`` is not zero.  Slots have no particular order within a section.
    """
    if cell is None:
        if any(plan.pbc):
            raise ValueError("the plan is periodic and needs a cell")
        cell = jnp.eye(3, dtype=coord.dtype)
    return _update(plan, jnp.asarray(coord), jnp.asarray(atype, jnp.int32), jnp.asarray(cell, coord.dtype))


def is_stale(plan: CellListPlan, listed: jax.Array, coord: jax.Array) -> jax.Array:
    """() bool: an atom moved more than half the skin since the list was made from ``listed``, in an unchanged cell."""
    moved = jnp.max(jnp.sum((coord - listed) ** 2, axis=-1))
    return ~(moved <= (0.5 * plan.skin) ** 2)  # NaN is stale


@partial(jax.jit, static_argnums=0)
def _update(plan: CellListPlan, coord: jax.Array, atype: jax.Array, cell: jax.Array) -> DeviceNeighbors:
    return search_centres(plan, coord, atype, cell, coord.shape[0])


def search_centres(
    plan: CellListPlan, coord: jax.Array, atype: jax.Array, cell: jax.Array, n_centre: int
) -> DeviceNeighbors:
    """:func:`update` for the first ``n_centre`` atoms only; the others are neighbours and have no rows of their own.

    The cell is always given; an open plan takes any with volume.
    """
    sizes = plan.sizes
    bins = sort_into_bins(sizes, coord, atype, cell)
    block = min(plan.block, n_centre)
    n_block = -(-n_centre // block)
    centres = (jnp.arange(n_block * block, dtype=jnp.int32) % n_centre).reshape(n_block, block)
    found = jax.lax.map(partial(search_block, sizes, bins, atype, cell), centres)
    index, shift, need = (jnp.reshape(a, (n_block * block, *a.shape[2:]))[:n_centre] for a in found)
    limits = jnp.asarray(plan.nbrs, jnp.int32)
    flags = flags_of(sizes, bins, jnp.max(need, axis=0))
    return DeviceNeighbors(index, shift, jnp.minimum(need, limits[None, :]), flags)


def sort_into_bins(sizes: SearchSizes, coord: jax.Array, atype: jax.Array, cell: jax.Array) -> Bins:
    """Bin of every atom and the atoms in the order of sections and bins; arguments as for :func:`update`."""
    n_key = len(sizes.nbrs) * sizes.n_bin
    real = atype >= 0
    finite = jnp.all(jnp.isfinite(coord) | ~real[:, None]) & jnp.all(jnp.isfinite(cell))
    coord = jnp.where(real[:, None] & jnp.isfinite(coord), coord, 0.0)
    turns, place = bin_places(sizes, coord, real, cell)
    key = jnp.where(real, atype * sizes.n_bin + flat_bin(sizes, place), n_key).astype(jnp.int32)
    order = jnp.argsort(key).astype(jnp.int32)
    held = jax.ops.segment_sum(jnp.ones_like(key), key, n_key)  # placeholders are beyond the last bin
    start = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(held, dtype=jnp.int32)])
    return Bins(coord - turns @ cell, turns.astype(jnp.int32), place, order, start, heights(cell), finite)


def bin_places(sizes: SearchSizes, coord: Array, real: Array, cell: Array) -> tuple[Array, Array]:
    """Where atoms lie among the bins, for NumPy or jax arrays.

    Bins of open directions span the atoms and are at least ``sizes.width`` wide, so they follow atoms that drift or spread.

    Args:
        sizes: of these grid, width and pbc are used.
        coord: (n_atom, 3) angstrom, finite.
        real: (n_atom,) bool, False for placeholders.
        cell: (3, 3) angstrom.

    Returns:
        (n_atom, 3) whole cell vectors to subtract, as floats, and (n_atom, 3) int32 bins.
    """
    xp = coord.__array_namespace__()
    pbc, grid = sizes.pbc[None, :], sizes.grid[None, :]
    frac = coord @ inverse3(cell)
    turns = xp.where(pbc, xp.floor(frac), 0.0)
    along = frac * heights(cell)[None, :]
    low = xp.min(xp.where(real[:, None], along, xp.inf), axis=0, keepdims=True)
    high = xp.max(xp.where(real[:, None], along, -xp.inf), axis=0, keepdims=True)
    width = xp.maximum(sizes.width.astype(coord.dtype)[None, :], (high - low) / grid.astype(coord.dtype))
    step = xp.where(pbc, (frac - turns) * grid.astype(coord.dtype), (along - low) / width)
    return turns, xp.clip(xp.nan_to_num(step), 0, grid - 1).astype(np.int32)


def flat_bin(sizes: SearchSizes, place: Array) -> Array:
    """Number of the bin at (..., 3)."""
    return (place[..., 0] * sizes.grid[1] + place[..., 1]) * sizes.grid[2] + place[..., 2]


def flags_of(sizes: SearchSizes, bins: Bins, nbrs: jax.Array) -> NeighborFlags:
    """What a search found wrong.

    Args:
        sizes: of the search.
        bins: the atoms.
        nbrs: (n_section,) most neighbours that an atom has, slots or not.
    """
    bin_atoms = jnp.max(jnp.diff(bins.start).reshape(len(sizes.nbrs), sizes.n_bin), axis=1)
    reach = sizes.offsets.max(axis=0)
    covered = bins.heights * (reach / sizes.grid).astype(bins.heights.dtype)
    bits = (
        BIN_FULL * jnp.any(bin_atoms > _row(sizes.bin_atoms))
        + LIST_FULL * jnp.any(nbrs > _row(sizes.nbrs))
        + CELL_SMALL * jnp.any(sizes.pbc & ~(covered >= sizes.rlist))
        + NOT_FINITE * ~bins.finite
        + GRID_LARGE * (sizes.grid.prod() > _row((sizes.n_bin,))[0])
    )
    return NeighborFlags(bits.astype(jnp.int32), bin_atoms, nbrs, bins.heights)


class _Stencil(NamedTuple):
    """The bins that some centres look through."""

    image: (
        jax.Array
    )  # (n, n_stencil, 3) int32 cell vectors between a bin and the one inside the cell that stands for it
    flat: jax.Array  # (n, n_stencil) number of that bin
    valid: jax.Array  # (n, n_stencil) bool; False beyond an open boundary and for placeholders


def _row(numbers: Sequence[Any]) -> Array:
    """(n,) int32 of numbers or symbols."""
    known = all(isinstance(number, int) for number in numbers)
    return np.asarray(numbers, np.int32) if known else jnp.array(tuple(numbers)).astype(jnp.int32)


def search_block(
    sizes: SearchSizes, bins: Bins, atype: jax.Array, cell: jax.Array, centre: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Index, shift and untruncated count of the neighbours of some atoms; (n, sum(nbrs)), (n, sum(nbrs), 3), (n, n_section).

    Candidates of all sections stand one after the other; running counts of those that are near tell where the k-th
    neighbour of each section is.
    """
    stencil = _stencil(sizes, bins.place[centre], atype[centre] >= 0)
    origin = stencil.image.astype(cell.dtype) @ cell - bins.inside[centre][:, None, :]
    parts = [_candidates(sizes, bins, stencil, origin, centre, section) for section in range(len(sizes.nbrs))]
    atom, near = (jnp.concatenate(a, axis=1) for a in zip(*parts, strict=True))
    from_bin = _joined([jnp.arange(sizes.n_stencil * room, dtype=jnp.int32) // room for room in sizes.bin_atoms])
    none = jnp.zeros((centre.shape[0], 1), jnp.int32)
    seen = jnp.concatenate([none, jnp.cumsum(near, axis=1, dtype=jnp.int32)], axis=1)
    bounds = [sum(sizes.bin_atoms[:t]) * sizes.n_stencil for t in range(len(sizes.nbrs) + 1)]
    edges = seen[:, _row(bounds)]  # (n, n_section + 1) near ones before each section
    need = jnp.diff(edges, axis=1)
    section = _joined([jnp.full(width, t, jnp.int32) for t, width in enumerate(sizes.nbrs)])
    rank = _joined([jnp.arange(width, dtype=jnp.int32) for width in sizes.nbrs])[None, :]
    used = rank < need[:, section]
    wanted = edges[:, section] + rank + 1
    pick = jnp.where(used, _first_at_least(seen, wanted) - 1, 0)
    index = jnp.where(used, jnp.take_along_axis(atom, pick, axis=1), centre[:, None])
    shift = jnp.take_along_axis(stencil.image, from_bin[pick][..., None], axis=1)
    shift = shift + bins.turns[centre][:, None, :] - bins.turns[index]
    return index, jnp.where(used[..., None], shift, 0), need


def _joined(rows: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate(rows) if rows else jnp.zeros(0, jnp.int32)


def _first_at_least(ascending: jax.Array, wanted: jax.Array) -> jax.Array:
    """(n, k) places of the first entries of (n, m) rows that are not below ``wanted`` (n, k); m where there is none.

    ``jnp.searchsorted`` has to know m to count its halvings.
    """
    length = _row((ascending.shape[1],))[0]

    def halve(state):
        step, low = state
        there = jnp.minimum(low + step, length)  # at the end, rows that are below throughout
        below = jnp.take_along_axis(ascending, there - 1, axis=1) < wanted
        return step // 2, jnp.where(below, there, low)

    step = jnp.int32(1) << (31 - jax.lax.clz(jnp.int32(length)))  # the largest power of 2 that is not more
    return jax.lax.while_loop(lambda state: state[0] > 0, halve, (step, jnp.zeros_like(wanted)))[1]


def _stencil(sizes: SearchSizes, place: jax.Array, real: jax.Array) -> _Stencil:
    """Bins around the bins ``place`` (n, 3)."""
    grid, pbc = sizes.grid[None, None], sizes.pbc[None, None]
    around = place[:, None, :] + sizes.offsets[None]
    image = jnp.where(pbc, around // grid, 0)
    inside = around - image * grid
    valid = jnp.all((inside >= 0) & (inside < grid), axis=-1) & real[:, None]
    return _Stencil(image, flat_bin(sizes, jnp.clip(inside, 0, grid - 1)), valid)


def _candidates(
    sizes: SearchSizes, bins: Bins, stencil: _Stencil, origin: jax.Array, centre: jax.Array, section: int
) -> tuple[jax.Array, jax.Array]:
    """Atoms of one section in the bins of a stencil, and which are near: two arrays (n, n_stencil * room).

    ``origin`` (n, n_stencil, 3): what to add to a candidate's coordinates to get its displacement from the centre.
    """
    room = sizes.bin_atoms[section]
    first = bins.start[section * sizes.n_bin + stencil.flat]
    held = jnp.where(stencil.valid, bins.start[section * sizes.n_bin + stencil.flat + 1] - first, 0)
    rank = jnp.arange(room, dtype=jnp.int32)[None, None, :]
    atom = bins.order[jnp.minimum(first[:, :, None] + rank, bins.order.shape[0] - 1)]
    disp = bins.inside[atom] + origin[:, :, None, :]
    itself = (atom == centre[:, None, None]) & jnp.all(stencil.image == 0, axis=-1)[:, :, None]
    near = (rank < held[:, :, None]) & (jnp.sum(disp * disp, axis=-1) < sizes.rlist**2) & ~itself
    flat = centre.shape[0], sizes.n_stencil * room
    return atom.reshape(flat), near.reshape(flat)
