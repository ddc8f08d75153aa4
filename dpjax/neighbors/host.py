"""Neighbour search on the host with the library vesin (linear in the number of atoms, any cell)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import vesin

from dpjax.errors import DataError
from dpjax.neighbors.table import NeighborTable, smallest_int

COINCIDENT = 1e-6  # angstrom; two atoms nearer than this are one point
FLATTEST = 1e-9  # volume over the product of the edge lengths; below this a cell is singular
MOST_EDGES = 2**31 - 1
_DISTANCE_BITS = 40  # of the sort key: distances are told apart down to rcut / 2**40


def search(
    coord: np.ndarray,
    atype: np.ndarray,
    n_type: int,
    rcut: float,
    cell: np.ndarray | None = None,
    *,
    pbc: Sequence[bool] = (True, True, True),
    partners: bool = False,
) -> NeighborTable:
    """All neighbours of every atom with distance < ``rcut``.

    Args:
        coord: (n_atom, 3) angstrom; may lie outside the cell.
        atype: (n_atom,) types 0 ... n_type - 1, or -1 for placeholders.
        n_type: number of types.
        rcut: cut-off, angstrom.
        cell: (3, 3) or (9,), rows are the cell vectors, angstrom; None for open boundaries.
        pbc: directions in which the cell repeats; vectors of the others may be zero.
        partners: atoms of the second half are virtual ones of the first, in its order; such two may be on one point.

    Raises:
        DataError: wrong shapes or types, NaN or infinite numbers, a singular cell, two atoms on one point.
    """
    coord, atype = checked_atoms(coord, atype, n_type)
    if not (np.isfinite(rcut) and rcut > 0):
        raise DataError(f"the cut-off is {rcut}; expected a positive number of angstrom")
    real = np.flatnonzero(atype >= 0)
    periodic = np.asarray(pbc, bool) & (cell is not None)
    box = np.zeros((3, 3)) if cell is None else checked_cell(cell, periodic)
    if len(real) == 0:
        return _empty(len(coord), n_type)
    inside, wrap = wrapped(coord[real], box, periodic)
    _check_size(inside, box, periodic, rcut)
    rcut = rcut if periodic.any() else within_extent(rcut, np.ptp(inside, axis=0))
    finder = vesin.NeighborList(cutoff=float(rcut), full_list=True, n_threads=1)  # one thread: a reproducible order
    i, j, shift, dist = finder.compute(inside, box, periodic, "ijSd", copy=False)
    _check_apart(real, i, j, dist, len(coord) // 2 if partners else 0)
    key, near = sort_key(i, atype[real][j], dist, n_type, rcut)
    order = np.argsort(key)[: np.count_nonzero(near)]
    i, j, shift = i[order].astype(np.int32), j[order].astype(np.int32), shift[order]
    if wrap.any():
        shift = shift + wrap[i] - wrap[j]
    index = real.astype(np.int32)[j]
    group = real[i] * n_type + atype[index]
    count = np.bincount(group, minlength=len(coord) * n_type).astype(np.int32).reshape(len(coord), n_type)
    return NeighborTable(count, index, shift.astype(smallest_int(shift)))


def within_extent(rcut: float, extent: np.ndarray) -> float:
    """A cut-off that reaches no farther than an open structure of this extent (3,): vesin looks through all that it reaches."""
    return float(min(rcut, np.linalg.norm(extent) + 1.0))


def checked_cell(cell: np.ndarray, periodic: np.ndarray | Sequence[bool] = (True, True, True)) -> np.ndarray:
    """(3, 3) float64 cell; vectors of open directions that are zero are replaced by a unit normal to the others.

    Raises:
        DataError: wrong shape, not finite, or no volume.
    """
    box = np.array(cell, dtype=np.float64)
    if box.size != 9 or box.shape not in ((3, 3), (9,)):
        raise DataError(f"the cell has shape {box.shape}; expected (3, 3) or (9,), rows are the cell vectors")
    box = box.reshape(3, 3)
    if not np.isfinite(box).all():
        raise DataError(f"the cell holds a number that is not finite: {box.tolist()}")
    for a in np.flatnonzero(~np.asarray(periodic, bool)):
        if not box[a].any():
            box[a] = np.linalg.svd(np.delete(box, a, axis=0))[2][-1]
    lengths = np.linalg.norm(box, axis=1)
    if abs(np.linalg.det(box)) <= FLATTEST * np.prod(lengths):
        raise DataError(
            f"the cell {box.tolist()} has no volume; give three independent vectors in angstrom, "
            "or no cell (an empty file `nopbc` in the data folder) for open boundaries"
        )
    return box


def checked_atoms(coord: np.ndarray, atype: np.ndarray, n_type: int) -> tuple[np.ndarray, np.ndarray]:
    """(n_atom, 3) float64 coordinates and (n_atom,) int64 types, or a DataError that says what is wrong with them."""
    coord, atype = np.asarray(coord, dtype=np.float64), np.asarray(atype)
    if coord.ndim != 2 or coord.shape[1] != 3:
        raise DataError(f"coordinates have shape {coord.shape}; expected (n_atom, 3)")
    if atype.shape != coord.shape[:1]:
        raise DataError(f"atom types have shape {atype.shape}; expected {coord.shape[:1]}, one for each atom")
    if len(atype) and not (atype.min() >= -1 and atype.max() < n_type):
        raise DataError(
            f"atom types run from {atype.min()} to {atype.max()}; expected 0 to {n_type - 1}, or -1 for placeholders"
        )
    bad = np.flatnonzero(~np.isfinite(coord).all(axis=1) & (atype >= 0))
    if len(bad):
        raise DataError(
            f"the coordinates of atom {bad[0]} are {coord[bad[0]].tolist()} ({len(bad)} such atoms); "
            "expected finite numbers"
        )
    return coord, atype.astype(np.int64)


def _empty(n_atom: int, n_type: int) -> NeighborTable:
    return NeighborTable(np.zeros((n_atom, n_type), np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int8))


def wrapped(coord: np.ndarray, box: np.ndarray, periodic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates moved into the cell and the integer cell vectors (n, 3) int32 that were subtracted."""
    if not periodic.any():
        return coord, np.zeros((len(coord), 3), np.int32)
    wrap = np.where(periodic, np.floor(np.linalg.solve(box.T, coord.T).T), 0.0)
    if np.abs(wrap).max() > 2**30:
        atom = int(np.abs(wrap).max(axis=1).argmax())
        raise DataError(
            f"a coordinate {coord[atom].tolist()} lies {np.abs(wrap).max():.3g} cells outside of its cell "
            f"{box.tolist()}; check the units (angstrom)"
        )
    return coord - wrap @ box, wrap.astype(np.int32)


def _check_size(coord: np.ndarray, box: np.ndarray, periodic: np.ndarray, rcut: float) -> None:
    """Refuse a cell so small that the list of images cannot be held, before the memory is asked for."""
    if not periodic.all():
        return
    expected = len(coord) ** 2 * (4.2 * rcut**3) / abs(np.linalg.det(box))
    if expected > MOST_EDGES:
        raise DataError(
            f"about {expected:.2g} neighbour pairs of {len(coord)} atoms lie within {rcut} angstrom in the cell "
            f"{box.tolist()}; check the units (angstrom) and the cut-off"
        )


def _check_apart(real: np.ndarray, i: np.ndarray, j: np.ndarray, dist: np.ndarray, partner: int = 0) -> None:
    """Refuse two atoms on one point (an atom on its own image has a flat cell and is refused with it).

    With ``partner`` an atom and the one that is so many places behind it may be.
    """
    if partner:
        close = np.flatnonzero(dist < COINCIDENT)
        close = close[np.abs(real[i[close]] - real[j[close]]) != partner]
        i, j, dist = i[close], j[close], dist[close]
    if len(dist) == 0:
        return
    edge = int(np.argmin(dist))
    if dist[edge] < COINCIDENT:
        first, second = sorted((int(real[i[edge]]), int(real[j[edge]])))
        raise DataError(
            f"atoms {first} and {second} are on one point (distance {dist[edge]:.2g} angstrom); "
            "remove the frame or one of the atoms"
        )


def sort_key(
    centre: np.ndarray, nbr_type: np.ndarray, dist: np.ndarray, n_type: int, rcut: float
) -> tuple[np.ndarray, np.ndarray]:
    """One integer per edge that sorts by (centre, type, distance), far edges last; and the mask of near edges.

    One integer key is several times faster to sort than three arrays.
    """
    near = dist < rcut
    group = centre.astype(np.uint64) * np.uint64(n_type) + nbr_type.astype(np.uint64)
    step = (dist * (2.0**_DISTANCE_BITS / rcut)).astype(np.uint64)
    key = (group << np.uint64(_DISTANCE_BITS)) | np.minimum(step, np.uint64(2**_DISTANCE_BITS - 1))
    return np.where(near, key, np.uint64(2**64 - 1)), near
