"""Reciprocal part of the Ewald sum, the electrostatics of smeared charges in a periodic cell, as a direct sum.

    E = k / (2 pi V) sum_g exp(-pi^2 g^2 / beta^2) / g^2 |S(g)|^2,      S(g) = sum_i q_i exp(2 pi i g.x_i)

over g = n . inverse(cell)^T with integers ``|n_d| <= limit_d``, all but 0.  There is no self energy, no sum in real space and no
term for the charge of the cell: what a network with a cut-off learns holds the rest.  Darden, York, Pedersen, J. Chem. Phys. 98,
10089 (1993); the choice of vectors is that of DeePMD-kit's ``dipole_charge``.

A phase is a product of one number for each direction, so structure factors are matrix products over the atoms, for one ``n_1``
after another: memory is that of a few arrays (n_atom, n_2).  Since S(-g) is the conjugate of S(g), only ``n_1 >= 0`` is summed.
Lengths in angstrom, charges in elementary charges, energies in eV.  Derivatives are JAX's, of any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.geometry.cells import inverse3, volume

COULOMB = 14.39964535475696995031  # eV angstrom / e^2, 1 / (4 pi epsilon_0) with DeePMD-kit's digits
_SLACK = 1e-9  # of a limit: device and host may round a length differently

Half = tuple[int, int, int]
Integers = tuple[Any, Any, Any]
Phases = tuple[jax.Array, jax.Array]


def half_widths(cell: np.ndarray, spacing: float) -> Half:
    """The largest ``n_d`` that the sum has for one cell or several, room for rounding included; on the host.

    Args:
        cell: (..., 3, 3) angstrom, rows are cell vectors.
        spacing: of the grid in real space that as many vectors would make, angstrom.
    """
    lengths = np.linalg.norm(np.asarray(cell, np.float64).reshape(-1, 3, 3), axis=-1).max(axis=0)
    return tuple(math.ceil(math.ceil(length / spacing * (1.0 + _SLACK)) / 2) for length in lengths.tolist())


def limits(cell: jax.Array, spacing: float) -> jax.Array:
    """(3,) largest ``n_d`` of the sum: half of the number of grid points, which is raised to an even one; not differentiated."""
    lengths = jnp.sqrt(jnp.sum(jax.lax.stop_gradient(cell) ** 2, axis=-1))
    return jnp.ceil(jnp.ceil(lengths / spacing) / 2.0)


def reciprocal_energy(
    coord: jax.Array, charge: jax.Array, cell: jax.Array, *, beta: float, spacing: float, half: Half
) -> jax.Array:
    """Energy of the charges of one cell.

    Args:
        coord: (n, 3) angstrom, any image.
        charge: (n,) elementary charges; 0 for what is padding.
        cell: (3, 3) angstrom, rows are cell vectors.
        beta: inverse width of the smeared charges, 1/angstrom.
        spacing: decides which vectors are summed, angstrom.
        half: static; no smaller than :func:`half_widths` of the cell.

    Returns:
        () eV.
    """
    return energy_over(coord, charge, cell, integers(half), beta=beta, spacing=spacing)


def integers(half: Half) -> Integers:
    """(half_1 + 1,), (2 half_2 + 1,) and (half_3 + 1,) integers that name one vector of each pair g, -g; those of ``n_3`` with both
    signs."""
    return np.arange(half[0] + 1), np.arange(-half[1], half[1] + 1), np.arange(half[2] + 1)


def energy_over(
    coord: jax.Array, charge: jax.Array, cell: jax.Array, integers: Integers, *, beta: float, spacing: float
) -> jax.Array:
    """:func:`reciprocal_energy` over the vectors of three arrays of integers, whose lengths may be symbols.

    Args:
        coord, charge, cell, beta, spacing: as there.
        integers: as :func:`integers` makes them, in any order; what is beyond the limits of the cell is left out.

    Returns:
        () eV.
    """
    inverse = inverse3(cell)
    fractional = coord @ inverse
    # an image has the same phases, with fewer digits lost
    fractional = fractional - jax.lax.stop_gradient(jnp.floor(fractional))
    n_1, n_2, n_3 = (jnp.asarray(own, coord.dtype) for own in integers)
    first, second, third = (_phases(own, fractional[:, d]) for d, own in enumerate((n_1, n_2, n_3)))
    limit = limits(cell, spacing)

    def plane(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        square = _squared_factors((charge * row[1], charge * row[2]), second, third)
        return jnp.sum(square * _plane_weights(row[0], n_2, n_3, inverse, limit, beta))

    each = jax.lax.map(jax.checkpoint(plane), (n_1, *first))
    return COULOMB / (2.0 * jnp.pi * volume(cell)) * jnp.sum(each)


def vector_weights(n: Sequence[jax.Array], inverse: jax.Array, limit: jax.Array, beta: float) -> jax.Array:
    """(...) exp(-pi^2 g^2 / beta^2) / g^2 of reciprocal vectors; 0 for that of length 0 and for those beyond the limits.

    Args:
        n: the three integers of each vector, arrays of one rank that broadcast against each other.
        inverse: (3, 3) of the cell.
        limit: (3,) largest of each integer.
        beta: inverse width of the smeared charges, 1/angstrom.
    """
    square = sum((n[0] * row[0] + n[1] * row[1] + n[2] * row[2]) ** 2 for row in inverse)
    inside = [jnp.abs(own) <= limit[d] for d, own in enumerate(n)]
    summed = inside[0] & inside[1] & inside[2] & (square > 0.0)
    safe = jnp.where(summed, square, 1.0)
    return jnp.where(summed, jnp.exp(-((jnp.pi / beta) ** 2) * safe) / safe, 0.0)


def _phases(n: jax.Array, fractional: jax.Array) -> Phases:
    """Cosines and sines (len(n), n_atom) of ``2 pi n s``."""
    angle = 2.0 * jnp.pi * n[:, None] * fractional[None]
    return jnp.cos(angle), jnp.sin(angle)


def _squared_factors(first: Phases, second: Phases, third: Phases) -> jax.Array:
    """(len(n_2), 2, len(n_3)) |S|^2 of one plane; the middle axis is the sign of ``n_3``.

    Args:
        first: (n_atom,) charges times the phases of ``n_1``.
        second, third: of ``n_2`` and ``n_3``.
    """
    (cos_1, sin_1), (cos_2, sin_2), (cos_3, sin_3) = (tuple(own[None] for own in first), second, third)
    real, imaginary = cos_1 * cos_2 - sin_1 * sin_2, sin_1 * cos_2 + cos_1 * sin_2
    rows = jnp.concatenate([real, imaginary]) @ jnp.concatenate([cos_3, sin_3]).T  # one product of matrices
    n_2, n_3 = cos_2.shape[0], cos_3.shape[0]
    (rc, rs), (ic, is_) = ((part[:, :n_3], part[:, n_3:]) for part in (rows[:n_2], rows[n_2:]))
    return jnp.stack([(rc - is_) ** 2 + (ic + rs) ** 2, (rc + is_) ** 2 + (ic - rs) ** 2], axis=1)


def _plane_weights(
    n_1: jax.Array, n_2: jax.Array, n_3: jax.Array, inverse: jax.Array, limit: jax.Array, beta: float
) -> jax.Array:
    """(len(n_2), 2, len(n_3)) what :func:`_squared_factors` are multiplied by; 0 beyond the limits."""
    signed = jnp.stack([n_3, -n_3])[None]
    weight = vector_weights((n_1[None, None, None], n_2[:, None, None], signed), inverse, limit, beta)
    once = (jnp.arange(2) == 0)[None, :, None] | (signed != 0.0)  # n_3 = 0 has no other sign
    return jnp.where(once, weight, 0.0) * jnp.where(n_1 == 0, 1.0, 2.0)
