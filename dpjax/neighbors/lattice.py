"""Small functions of a cell, the same for NumPy and jax arrays (and inside jit), for one cell or a stack of them.

Rows of ``cell`` are the cell vectors, angstrom.  Inverses go by cofactors: no LAPACK call, which exported programs
could not carry.
"""

from __future__ import annotations

from typing import Any

Array = Any  # NumPy or jax array


def _namespace(array: Array) -> Any:
    return array.__array_namespace__()


def _normals(cell: Array) -> Array:
    """(..., 3, 3) rows b x c, c x a, a x b."""
    xp = _namespace(cell)
    a, b, c = (cell[..., i, :] for i in range(3))
    pairs = ((b, c), (c, a), (a, b))
    return xp.stack([xp.linalg.cross(first, second) for first, second in pairs], axis=-2)


def volume(cell: Array) -> Array:
    """(...) signed volume, angstrom**3; negative for left-handed cells, zero for the zero cell of an open frame."""
    return _namespace(cell).sum(cell[..., 0, :] * _normals(cell)[..., 0, :], axis=-1)


def inverse3(cell: Array) -> Array:
    """(..., 3, 3) inverse matrix, 1/angstrom: fractions are ``coord @ inverse3(cell)``.

    A cell without volume (open boundaries) gives zeros, with zero derivatives, instead of infinities.
    """
    xp = _namespace(cell)
    det = volume(cell)[..., None, None]
    flat = det == 0
    inverse = xp.matrix_transpose(_normals(cell)) / xp.where(flat, xp.ones_like(det), det)
    return xp.where(flat, xp.zeros_like(inverse), inverse)


def heights(cell: Array) -> Array:
    """(..., 3) distances between opposite faces, angstrom: one cell holds a sphere whose diameter is the least of them.

    Zero where the cell has no volume.
    """
    xp = _namespace(cell)
    normals = _normals(cell)
    square = xp.sum(normals * normals, axis=-1)
    area = xp.sqrt(xp.where(square == 0, xp.ones_like(square), square))  # mask before the root: finite derivatives
    return xp.abs(volume(cell))[..., None] / area


def wrap(coord: Array, cell: Array, pbc: tuple[bool, bool, bool] = (True, True, True)) -> tuple[Array, Array]:
    """Coordinates moved into the cell.

    Args:
        coord: (..., n_atom, 3) angstrom.
        cell: (..., 3, 3); where it has no volume nothing moves.
        pbc: directions in which the cell repeats; the others stay as they are.

    Returns:
        (..., n_atom, 3) coordinates, and the whole numbers of cell vectors that were subtracted, as floats.
    """
    xp = _namespace(coord)
    turns = xp.floor(coord @ inverse3(cell)) * xp.asarray(pbc, dtype=coord.dtype)[(None,) * (coord.ndim - 1)]
    return coord - turns @ cell, turns
