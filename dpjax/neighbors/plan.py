"""Sizes of a device cell list: chosen on the host from one structure, enlarged when a later one needs more."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dpjax.errors import CapacityError, DataError
from dpjax.neighbors.device import (
    BIN_FULL,
    CELL_SMALL,
    LIST_FULL,
    NOT_FINITE,
    CellListPlan,
    DeviceNeighbors,
    NeighborFlags,
    bin_places,
    flat_bin,
    update,
)
from dpjax.neighbors.host import checked_cell, search
from dpjax.neighbors.lattice import heights

log = logging.getLogger(__name__)

SHRINK = 0.97  # a cell may lose 3 % of each height before its bins must be chosen anew
CANDIDATES = 1 << 20  # pairs that are looked at together; bounds the memory of a search
ROUNDING = 1.0 + 1e-5  # bins are a little wider than needed, so that single precision loses no pair


def allocate(
    coord: np.ndarray,
    atype: np.ndarray,
    n_type: int,
    rcut: float,
    cell: np.ndarray | None = None,
    *,
    pbc: Sequence[bool] = (True, True, True),
    skin: float = 0.0,
    margin: float = 1.25,
    most: Sequence[int] | None = None,
) -> CellListPlan:
    """Sizes that hold the neighbours of one structure, with room for others like it.

    Args:
        coord: (n_atom, 3) angstrom.
        atype: (n_atom,) types 0 ... n_type - 1, -1 for placeholders.  For models without sections by type give
            ``numpy.minimum(atype, 0)`` and ``n_type`` 1.
        n_type: number of types, each a section of the list.
        rcut: cut-off, angstrom.
        cell: (3, 3) rows are the cell vectors, angstrom; None for open boundaries.
        pbc: directions in which the cell repeats; vectors of open directions must still span a volume with the others.
        skin: listed beyond the cut-off, angstrom, so that a list serves while no atom moves more than half of it.
        margin: capacities over what this structure needs.
        most: neighbours of each type within ``rcut + skin`` that an atom has at most, where a search has told; None: search.

    Raises:
        DataError: as :func:`dpjax.neighbors.search`.
    """
    coord, atype = np.asarray(coord, np.float64), np.asarray(atype)
    if len(coord) == 0:
        raise DataError("a device neighbour list needs at least one atom, or a placeholder of type -1; found none")
    box = np.eye(3) if cell is None else checked_cell(cell)
    periodic = (False, False, False) if cell is None else tuple(bool(p) for p in pbc)
    if most is None:
        most = search(coord, atype, n_type, rcut + skin, cell, pbc=periodic).count.max(axis=0, initial=0)
    plan = choose_bins([(coord, atype)], n_type, rcut, box, periodic, skin=skin, margin=margin)
    return _with_block(replace(plan, nbrs=tuple(_room(int(m), margin, 4) for m in most)))


def choose_bins(
    groups: Sequence[tuple[np.ndarray, np.ndarray]],
    n_type: int,
    rcut: float,
    box: np.ndarray,
    periodic: tuple[bool, bool, bool],
    *,
    skin: float = 0.0,
    margin: float = 1.25,
) -> CellListPlan:
    """Bins that hold each of several sets of atoms in one cell; there are no slots for neighbours yet.

    Args:
        groups: coordinates (n_atom, 3) and sections (n_atom,) of each set.
        box: (3, 3) with volume, also where all directions are open.
        n_type, rcut, periodic, skin, margin: as for :func:`allocate`.
    """
    height, fractions = heights(box), np.linalg.inv(box)
    along = [coord[atype >= 0] @ fractions * height for coord, atype in groups]
    extent = np.max([np.ptp(a, axis=0) if len(a) else np.zeros(3) for a in along], axis=0)
    n_atom = max(len(coord) for coord, _ in groups)
    plans = [_with_grid(_empty_plan(rcut, skin, periodic, sub), height, extent, n_atom, n_type) for sub in (1, 2)]
    plans = [
        _with_bins(plan, np.max([_occupancy(plan, *group, box) for group in groups], axis=0), margin) for plan in plans
    ]
    return _with_block(min(plans, key=lambda plan: plan.n_stencil * sum(plan.bin_atoms)))


def grow(plan: CellListPlan, flags: NeighborFlags, margin: float = 1.25) -> CellListPlan:
    """A plan that holds what ``flags`` found missing; capacities never shrink.

    While bins were full or the cell was too small, neighbours were not all counted: the next list may ask for more.
    """
    bits = int(flags.bits)
    if bits & NOT_FINITE:
        flags.raise_if_set()
    if bits & LIST_FULL:
        plan = replace(plan, nbrs=_larger(plan.nbrs, flags.nbrs, margin, 4))
    if bits & BIN_FULL:
        plan = replace(plan, bin_atoms=_larger(plan.bin_atoms, flags.bin_atoms, margin, 1))
    if bits & CELL_SMALL:
        plan = _periodic_grid(plan, np.asarray(flags.heights, np.float64), plan.n_bin)
    return _with_block(plan)


def search_with_retry(
    plan: CellListPlan, coord, atype, cell=None, *, attempts: int = 8
) -> tuple[DeviceNeighbors, CellListPlan]:
    """Updates a list and, as long as it is incomplete, enlarges the plan and runs again.

    Returns:
        The complete list and the plan that made it, to be used from now on.

    Raises:
        NonFiniteError: a coordinate is NaN or infinite.
        CapacityError: still incomplete after ``attempts`` runs.
    """
    for _ in range(attempts):
        neighbors = update(plan, coord, atype, cell)
        if int(neighbors.flags.bits) == 0:
            return neighbors, plan
        larger = grow(plan, neighbors.flags)
        log.info("the neighbour list was too small and is made again: %s -> %s", plan, larger)
        plan = larger
    raise CapacityError(
        f"the neighbour list is still incomplete after {attempts} enlargements; the last plan was {plan}"
    )


def _empty_plan(rcut: float, skin: float, pbc: tuple, subdivision: int) -> CellListPlan:
    return CellListPlan(float(rcut), float(skin), pbc, (1, 1, 1), (1.0, 1.0, 1.0), (0, 0, 0), (), (), subdivision)


def _with_grid(plan: CellListPlan, height: np.ndarray, extent: np.ndarray, n_atom: int, n_type: int) -> CellListPlan:
    """Bins for a cell of these heights, and in open directions for atoms that extend this far."""
    most = max(64, 4 * n_atom)
    width = plan.rlist / plan.subdivision * ROUNDING
    wide = np.where(plan.pbc, 1.0, np.maximum(width, extent / 2**20))
    grid = np.where(plan.pbc, 1, np.ceil(extent / wide)).astype(int).clip(1)
    while np.prod(grid) > most:  # mostly empty space: fewer, wider bins
        a = int(np.argmax(grid))
        grid[a], wide[a] = -(-grid[a] // 2), wide[a] * 2
    reach = np.minimum(np.ceil(plan.rlist / wide), grid - 1)
    plan = replace(plan, grid=_ints(grid), width=tuple(map(float, wide)), reach=_ints(reach))
    plan = replace(plan, bin_atoms=(0,) * n_type, nbrs=(0,) * n_type)
    return _periodic_grid(plan, height, most)


def _periodic_grid(plan: CellListPlan, height: np.ndarray, most: int) -> CellListPlan:
    """Bins and reach along the periodic directions; thin cells get one bin and a reach of several images."""
    height = height * SHRINK
    grid, reach = np.array(plan.grid), np.array(plan.reach)
    pbc = np.array(plan.pbc)
    grid[pbc] = np.floor(plan.subdivision * height[pbc] / (plan.rlist * ROUNDING)).astype(int).clip(1)
    while np.prod(grid) > most and (grid[pbc] > 1).any():
        a = int(np.argmax(np.where(pbc, grid, 0)))
        grid[a] = -(-grid[a] // 2)
    reach[pbc] = np.ceil(plan.rlist * ROUNDING * grid[pbc] / height[pbc]).astype(int)
    return replace(plan, grid=_ints(grid), reach=_ints(reach))


def _occupancy(plan: CellListPlan, coord: np.ndarray, atype: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(n_section,) most atoms of each section in one bin."""
    real = atype >= 0
    bins = flat_bin(plan.sizes, bin_places(plan.sizes, np.where(real[:, None], coord, 0.0), real, box)[1])
    held = np.bincount((atype * plan.n_bin + bins)[real], minlength=len(plan.nbrs) * plan.n_bin)
    return held.reshape(len(plan.nbrs), plan.n_bin).max(axis=1)


def _with_bins(plan: CellListPlan, most: np.ndarray, margin: float) -> CellListPlan:
    return replace(plan, bin_atoms=tuple(_room(int(m), margin, 1) for m in most))


def _with_block(plan: CellListPlan) -> CellListPlan:
    candidates = max(1, plan.n_stencil * max(plan.bin_atoms, default=1))
    return replace(plan, block=max(1, min(1 << 16, CANDIDATES // candidates)))


def _room(most: int, margin: float, multiple: int) -> int:
    return multiple * math.ceil(most * margin / multiple)


def _larger(old: tuple[int, ...], needed, margin: float, multiple: int) -> tuple[int, ...]:
    """Room for what is needed, with margin only where the old room does not do."""
    need = np.asarray(needed).tolist()
    return tuple(have if n <= have else _room(n, margin, multiple) for have, n in zip(old, need, strict=True))


def _ints(values) -> tuple:
    return tuple(int(v) for v in values)
