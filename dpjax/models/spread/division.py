"""One large structure cut into slabs, one for each device: which device owns which atoms, and the sizes of everything.

Slabs follow each other along one cell vector, the one with the largest height, and have equally many atoms, so that no device
waits for another and empty space costs nothing.  A device also works with copies of atoms that other slabs own, those within the
list cut-off of its own (:mod:`dpjax.models.spread.halo` sends them).  Slabs may be thinner than the cut-off: then atoms come from
several slabs on each side, in a small periodic cell also from a slab's own images.

Here everything is NumPy on the host.  It happens once, and again when atoms have moved so far that the sizes do not do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dpjax.batching.ladder import ATOM_BLOCK, round_up
from dpjax.batching.packing import neighbor_capacity
from dpjax.errors import DataError
from dpjax.neighbors.device import CellListPlan
from dpjax.neighbors.host import checked_atoms, checked_cell, search, wrapped
from dpjax.neighbors.lattice import heights
from dpjax.neighbors.plan import choose_bins

MARGIN = 1.1  # places for received atoms, and atoms in bins, over what a structure needs
SPARE = 1.05  # slots for neighbours over what a list with a skin needs: the next lists have other numbers of them
COUNTED = 20_000  # atoms, own and received, whose neighbours are counted before the devices do it


@dataclass(frozen=True)
class SlabPlan:
    """Static sizes, the same for all slabs; hashable, so that they select a compiled program.

    A hop is the number of slabs that atoms are sent along the axis, positive upwards.  Beyond the last slab the first image of
    the first one follows.
    """

    cells: CellListPlan  # for the own and received atoms of a slab; open along the axis
    axis: int  # cell vector along which slabs follow each other
    periodic: bool
    n_slab: int
    atoms: tuple[int, ...]  # places for own atoms of each section
    sent: tuple[tuple[int, int], ...]  # (hop, places for atoms sent so far)
    near: tuple[int, ...]  # slots of each section for neighbours within the cut-off; those of the list without a skin

    @property
    def n_own(self) -> int:
        """Places for own atoms of a slab."""
        return sum(self.atoms)

    @property
    def n_received(self) -> int:
        """Places for copies of others."""
        return sum(room for _, room in self.sent)

    @property
    def hops(self) -> int:
        """How many slabs on each side atoms are received from."""
        return max((hop for hop, _ in self.sent), default=0)


class Division(NamedTuple):
    """Who owns which atoms of a structure."""

    plan: SlabPlan
    place: np.ndarray  # (n_atom,) int32 place on the axis of the own atoms of all slabs in a row; -1 for placeholders
    frac: np.ndarray  # (n_atom, 3) fractions of the cell vectors, within the cell where it repeats


@dataclass(frozen=True)
class _Sorted:
    """The real atoms of a structure in the order of the axis, cut into slabs of equally many."""

    order: np.ndarray  # (n,) atoms
    along: np.ndarray  # (n,) distance from the origin across the slabs, angstrom
    bounds: np.ndarray  # (n_slab + 1,) first atom of each slab
    period: float  # height of the cell, angstrom; infinite where it does not repeat

    @property
    def n_slab(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_slab,) where slabs begin and end; those without atoms begin at infinity and end at minus infinity."""
        filled = np.diff(self.bounds) > 0
        low, high = np.full(self.n_slab, np.inf), np.full(self.n_slab, -np.inf)
        low[filled], high[filled] = self.along[self.bounds[:-1][filled]], self.along[self.bounds[1:][filled] - 1]
        return low, high

    def target(self, slab: int, hop: int) -> tuple[int, int]:
        """The slab that lies ``hop`` further, and in which image of the cell."""
        return (slab + hop) % self.n_slab, (slab + hop) // self.n_slab

    def gap(self, slab: int, hop: int) -> float:
        """Empty space between a slab and the one ``hop`` > 0 further, angstrom; may be negative."""
        other, image = self.target(slab, hop)
        low, high = self.edges
        return low[other] + (image * self.period if image else 0.0) - high[slab]

    def needed(self, slab: int, hop: int, reach: float) -> slice:
        """Positions in ``order`` of the atoms of a slab that the one ``hop`` further has within ``reach``."""
        other, image = self.target(slab, hop)
        first, last = self.bounds[slab], self.bounds[slab + 1]
        moved = image * self.period if image else 0.0
        low, high = self.edges[0][other] + moved - reach, self.edges[1][other] + moved + reach
        if not np.isfinite([low, high]).all():
            return slice(first, first)
        begin, end = np.searchsorted(self.along[first:last], [low, np.nextafter(high, np.inf)])
        return slice(first + begin, first + end)


def divide(
    coord: np.ndarray,
    atype: np.ndarray,
    cell: np.ndarray | None,
    n_slab: int,
    *,
    n_type: int,
    n_section: int,
    rcut: float,
    sel: Sequence[int | None] | None = None,
    skin: float = 0.0,
    axis: int | None = None,
    like: SlabPlan | None = None,
) -> Division:
    """Cut a structure into slabs.

    Args:
        coord: (n_atom, 3) angstrom.
        atype: (n_atom,) types; -1 for placeholders.
        cell: (3, 3) rows are the cell vectors, angstrom; None for open boundaries.
        n_slab: number of slabs.
        n_type: number of types.
        n_section: number of sections, ``n_type`` where there are networks per type, else 1.
        rcut: cut-off, angstrom.
        sel: of the model; slots are no more than these as long as no atom has more neighbours.
        skin: listed beyond the cut-off, angstrom.
        axis: cell vector across which to cut; None: the one with the largest height, in open boundaries the longest extent.
        like: a plan whose sizes do not get smaller, if it is one for the same axis and boundaries.

    Returns:
        The division.  Its list has slots for the neighbours of the first :data:`COUNTED` atoms, at least, which may not be enough.

    Raises:
        DataError: as :func:`dpjax.neighbors.search`.
    """
    coord, atype = checked_atoms(coord, atype, n_type)
    periodic = cell is not None
    box = checked_cell(cell) if periodic else np.eye(3)
    real = np.flatnonzero(atype >= 0)
    if axis is None:
        span = heights(box) if periodic else np.ptp(coord[real], axis=0) if len(real) else np.zeros(3)
        axis = int(np.argmax(np.round(span, 6)))  # of equal ones the first, whatever their last digits
    inside = coord.copy()
    inside[real] = wrapped(coord[real], box, np.full(3, periodic))[0]
    frac = np.where((atype >= 0)[:, None], inside, 0.0) @ np.linalg.inv(box)
    cut = _cut(frac[:, axis] * heights(box)[axis], real, n_slab, heights(box)[axis] if periodic else np.inf)
    section = atype if n_section > 1 else np.minimum(atype, 0)
    reach = rcut + skin
    hops = _hops(cut, reach + skin)  # slabs spread a little while their atoms move
    sent = tuple((hop, _room(cut, hop, reach)) for far in range(1, hops + 1) for hop in (far, -far))
    repeats = tuple(periodic and a != axis for a in range(3))
    groups = list(_groups(cut, [hop for hop, _ in sent], reach, inside, section, box[axis]))
    bins = choose_bins(groups, n_section, rcut, box, repeats, skin=skin, margin=MARGIN)
    most, most_near = _most(groups, n_section, (reach, rcut), box if any(repeats) else None, repeats)
    near = slots(most_near, sel, skin)
    nbrs = slots(most, None, skin) if skin else near
    plan = SlabPlan(replace(bins, nbrs=nbrs), axis, periodic, n_slab, (0,) * n_section, sent, near)
    owner = np.repeat(np.arange(n_slab), np.diff(cut.bounds))
    plan = _merged(replace(plan, atoms=_own_places(owner, section[cut.order], n_slab, n_section)), like)
    place = np.full(len(coord), -1, np.int32)
    place[cut.order] = _places(owner, section[cut.order], plan)
    return Division(plan, place, frac)


def _cut(along: np.ndarray, real: np.ndarray, n_slab: int, period: float) -> _Sorted:
    order = real[np.argsort(along[real], kind="stable")]
    bounds = np.arange(n_slab + 1) * len(order) // n_slab
    return _Sorted(order, along[order], bounds, period)


def _hops(cut: _Sorted, reach: float) -> int:
    """How many slabs further the farthest one lies that some slab has within reach."""
    hops, hop = 0, 1
    while hop <= hops + cut.n_slab:  # a slab without atoms is no reason to stop
        inside = range(cut.n_slab) if np.isfinite(cut.period) else range(max(cut.n_slab - hop, 0))
        if any(cut.gap(slab, hop) < reach for slab in inside):
            hops = hop
        hop += 1
    return hops


def _room(cut: _Sorted, hop: int, reach: float) -> int:
    """Places for atoms sent ``hop`` slabs further."""
    slices = [cut.needed(slab, hop, reach) for slab in range(cut.n_slab) if _exists(cut, slab, hop)]
    most = max((own.stop - own.start for own in slices), default=0)
    return max(1, round_up(int(np.ceil(most * MARGIN)), multiple=ATOM_BLOCK))


def _exists(cut: _Sorted, slab: int, hop: int) -> bool:
    return bool(np.isfinite(cut.period)) or cut.target(slab, hop)[1] == 0


def _groups(
    cut: _Sorted, hops: list[int], reach: float, inside: np.ndarray, section: np.ndarray, vector: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each slab coordinates and sections of its own atoms and of those it receives."""
    for slab in range(cut.n_slab):
        own = cut.order[cut.bounds[slab] : cut.bounds[slab + 1]]
        parts = [(inside[own], section[own])]
        for hop in hops:
            sender, image = cut.target(slab, -hop)
            if _exists(cut, slab, -hop):
                atoms = cut.order[cut.needed(sender, hop, reach)]
                parts.append((inside[atoms] + image * vector, section[atoms]))
        coord, sections = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        yield (coord, sections) if len(coord) else (np.zeros((1, 3)), np.full(1, -1))


def _most(
    groups: Sequence[tuple], n_section: int, radii: tuple[float, float], box: np.ndarray | None, repeats: tuple
) -> np.ndarray:
    """(2, n_section) most neighbours, within the larger radius and the smaller, that one of the first :data:`COUNTED` atoms has."""
    most, seen = np.zeros((2, n_section), int), 0
    for coord, section in groups:
        if seen > 0 and seen + len(coord) > COUNTED:
            break
        coord, section = coord[:COUNTED], section[:COUNTED]
        try:
            table = search(coord, section, n_section, radii[0], box, pbc=repeats)
        except DataError:
            raise DataError("two atoms are on one point; remove one of them") from None
        near = table.count if radii[0] == radii[1] else table.count_within(radii[1], coord, box)
        most = np.maximum(most, [count.max(axis=0, initial=0) for count in (table.count, near)])
        seen += len(coord)
    return most


def slots(most: Sequence[int], sel: Sequence[int | None] | None, skin: float) -> tuple[int, ...]:
    """Slots of each section for so many neighbours; ``sel`` and ``skin`` as for :func:`divide`."""
    sizes = []
    for n, keep in zip(most, sel or [None] * len(most), strict=True):
        size = math.ceil(int(n) * (SPARE if skin else 1.0))
        size = min(size, keep) if keep is not None and n <= keep else size
        sizes.append(neighbor_capacity(size, keep))
    return tuple(sizes)


def _own_places(owner: np.ndarray, section: np.ndarray, n_slab: int, n_section: int) -> tuple[int, ...]:
    held = np.bincount(owner * n_section + section, minlength=n_slab * n_section).reshape(n_slab, n_section)
    places = [round_up(int(n), multiple=ATOM_BLOCK) for n in held.max(axis=0)]
    if not any(places):
        places[0] = 1  # a structure without atoms: a program has at least one place to work on
    return tuple(places)


def _places(owner: np.ndarray, section: np.ndarray, plan: SlabPlan) -> np.ndarray:
    """Places of atoms given by slab and section, in their order."""
    n_section = len(plan.atoms)
    group = owner * n_section + section
    order = np.argsort(group, kind="stable")
    held = np.bincount(group, minlength=plan.n_slab * n_section)
    rank = np.empty(len(group), int)
    rank[order] = np.arange(len(group)) - np.repeat(np.cumsum(held) - held, held)
    start = np.concatenate([[0], np.cumsum(plan.atoms)])
    return owner * plan.n_own + start[section] + rank


def _merged(plan: SlabPlan, like: SlabPlan | None) -> SlabPlan:
    """``plan`` with the sizes of ``like`` where these are enough, so that few programs are compiled."""
    if like is None or (like.axis, like.periodic, like.n_slab) != (plan.axis, plan.periodic, plan.n_slab):
        return plan
    rooms = dict(like.sent)
    sent = tuple((hop, max(room, rooms.get(hop, 0))) for hop, room in plan.sent)
    sent += tuple((hop, room) for hop, room in like.sent if hop not in dict(plan.sent))
    atoms = tuple(map(max, plan.atoms, like.atoms))
    nbrs = tuple(map(max, plan.cells.nbrs, like.cells.nbrs))
    cells = replace(plan.cells, nbrs=nbrs)
    same_bins = (cells.rcut, cells.skin, cells.grid, cells.reach, cells.subdivision) == (
        like.cells.rcut, like.cells.skin, like.cells.grid, like.cells.reach, like.cells.subdivision,
    )  # fmt: skip
    if same_bins:  # bins grow wider by themselves along the axis
        rooms_of_bins = tuple(map(max, cells.bin_atoms, like.cells.bin_atoms))
        cells = replace(like.cells, bin_atoms=rooms_of_bins, nbrs=nbrs)
    return replace(plan, cells=cells, atoms=atoms, sent=sent, near=tuple(map(max, plan.near, like.near)))
