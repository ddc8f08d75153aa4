"""Neighbours of many structures at once: small open ones are searched together, far apart from each other.

A search of one molecule is over before its few dozen array operations have begun to pay; together they cost what their pairs cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import vesin

from dpjax.errors import DataError
from dpjax.neighbors.host import COINCIDENT, search, sort_key, within_extent
from dpjax.neighbors.table import NeighborTable

MOST_ATOMS = 1_000  # of a structure that shares a search
EXTENT = 8.0  # cut-offs that it may extend: the farther structures are spread, the fewer digits are left of each
APART = 1.1  # cut-offs between structures that are searched together
DENSITY = 0.1  # atoms of condensed matter in a cubic angstrom
SMALLEST = 1.0  # cubic angstrom of an atom; a cell that is smaller is refused later
MARGIN = 1.0 + 1e-6  # of the cut-off there; distances are taken from the coordinates as they were given


def search_many(
    coords: Sequence[np.ndarray],
    atypes: Sequence[np.ndarray],
    n_type: int,
    rcut: float,
    cells: Sequence[np.ndarray | None],
    names: Sequence[str] | None = None,
    *,
    partners: bool = False,
) -> list[NeighborTable]:
    """What :func:`dpjax.neighbors.search` gives for each structure.

    Args:
        coords, atypes, cells: of each structure, as ``search`` takes them; all directions of a cell repeat.
        n_type, rcut: as there.
        names: what errors call the structures.
        partners: as there.

    Raises:
        DataError: as ``search``, with the name of the structure.
    """
    small = [i for i, cell in enumerate(cells) if cell is None and _joinable(coords[i], atypes[i], n_type, rcut)]
    together = _search_together([coords[i] for i in small], [atypes[i] for i in small], n_type, rcut)
    found: dict[int, NeighborTable] = dict(zip(small, together, strict=True)) if together else {}
    for i in set(range(len(coords))) - found.keys():
        try:
            found[i] = search(coords[i], atypes[i], n_type, rcut, cells[i], partners=partners)
        except DataError as error:
            raise DataError(f"{names[i]}: {error}" if names else str(error)) from None
    return [found[i] for i in range(len(coords))]


def expected_neighbors(n_atom: np.ndarray, rcut: float, cells: Sequence[np.ndarray | None]) -> np.ndarray:
    """(n_frame,) neighbours that an atom has, roughly and without a search: as many as its sphere holds at the density of the cell.

    Args:
        n_atom: (n_frame,) atoms of each structure.
        rcut: cut-off, angstrom.
        cells: (3, 3) or None of each; open structures are taken to be as dense as condensed matter, and have no images.
    """
    sphere = 4.0 / 3.0 * np.pi * rcut**3
    periodic = np.array([cell is not None for cell in cells], bool)
    found = np.minimum(np.maximum(n_atom - 1, 0), DENSITY * sphere)
    if periodic.any():
        volume = np.abs(np.linalg.det(np.stack([cell for cell in cells if cell is not None])))
        found[periodic] = n_atom[periodic] * sphere / np.maximum(volume, SMALLEST * n_atom[periodic])
    return found


def _joinable(coord: np.ndarray, atype: np.ndarray, n_type: int, rcut: float) -> bool:
    """Whether a structure may share a search; what is wrong with another one, ``search`` says."""
    if not 0 < len(coord) <= MOST_ATOMS or atype.min() < 0 or atype.max() >= n_type:
        return False
    return bool(np.ptp(coord, axis=0).max() <= EXTENT * rcut)  # False for NaN


def _search_together(
    coords: Sequence[np.ndarray], atypes: Sequence[np.ndarray], n_type: int, rcut: float
) -> list[NeighborTable] | None:
    """Tables of open structures; None where a search of each does better or finds a mistake."""
    if len(coords) < 2:
        return None
    sizes = np.array([len(coord) for coord in coords])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    coord, atype = np.concatenate(coords), np.concatenate(atypes).astype(np.int64)
    rcut = within_extent(rcut, np.max([np.ptp(own, axis=0) for own in coords], axis=0))
    spread = coord + np.repeat(_offsets(coord, starts, rcut), sizes, axis=0)
    finder = vesin.NeighborList(cutoff=MARGIN * float(rcut), full_list=True, n_threads=1)
    i, j = finder.compute(spread, np.zeros((3, 3)), [False] * 3, "ij", copy=False)
    disp = coord[j] - coord[i]
    dist = np.sqrt(np.einsum("ed,ed->e", disp, disp))
    if len(dist) and dist.min() < COINCIDENT:
        return None
    key, near = sort_key(i, atype[j], dist, n_type, rcut)
    order = np.argsort(key)[: np.count_nonzero(near)]
    i, j = i[order].astype(np.int64), j[order].astype(np.int64)
    index = (j - np.repeat(starts[:-1], sizes)[j]).astype(np.int32)
    count = np.bincount(i * n_type + atype[j], minlength=len(coord) * n_type).astype(np.int32).reshape(-1, n_type)
    ends = np.concatenate([[0], np.cumsum(count.sum(axis=1))])[starts]
    shift = np.zeros((int(np.diff(ends).max()), 3), np.int8)
    return [
        NeighborTable(count[a:b], index[first:last], shift[: last - first])
        for a, b, first, last in zip(starts[:-1], starts[1:], ends[:-1], ends[1:], strict=True)
    ]


def _offsets(coord: np.ndarray, starts: np.ndarray, rcut: float) -> np.ndarray:
    """(n, 3) what moves structures to places of a grid where none has neighbours in another one."""
    low, high = (np.array(of.reduceat(coord, starts[:-1], axis=0)) for of in (np.minimum, np.maximum))
    side = int(np.ceil(np.cbrt(len(low))))
    place = np.arange(len(low))[:, None] // np.array([1, side, side**2]) % side
    return place * ((high - low).max(axis=0) + APART * rcut) - low
