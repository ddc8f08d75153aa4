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

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.geometry.cells import inverse3, volume

COULOMB = 14.39964535475696995031  # eV angstrom / e^2, 1 / (4 pi epsilon_0) with DeePMD-kit's digits
_SLACK = 1e-9  # of a limit: device and host may round a length differently

Half = tuple[int, int, int]


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
    inverse = inverse3(cell)
    phases = _phases(coord @ inverse, half)
    limit = limits(cell, spacing)

    def plane(n_1: jax.Array) -> jax.Array:
        square = _squared_factors(phases, charge, n_1)
        return jnp.sum(square * _plane_weights(n_1, inverse, limit, beta, half))

    each = jax.lax.map(jax.checkpoint(plane), jnp.arange(half[0] + 1, dtype=jnp.int32))
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


def _phases(fractional: jax.Array, half: Half) -> list[tuple[jax.Array, jax.Array]]:
    """Cosines and sines (half_d + 1, n) of ``2 pi n_d s_d`` for each direction."""
    fractional = fractional - jax.lax.stop_gradient(
        jnp.floor(fractional)
    )  # an image has the same phases, with fewer digits lost
    angles = [
        2.0 * jnp.pi * jnp.arange(h + 1, dtype=fractional.dtype)[:, None] * fractional[None, :, d]
        for d, h in enumerate(half)
    ]
    return [(jnp.cos(angle), jnp.sin(angle)) for angle in angles]


def _squared_factors(phases: Sequence[tuple[jax.Array, jax.Array]], charge: jax.Array, n_1: jax.Array) -> jax.Array:
    """(2 half_2 + 1, 2, half_3 + 1) |S|^2 of one plane; the middle axis is the sign of ``n_3``."""
    (cos_1, sin_1), (cos_2, sin_2), (cos_3, sin_3) = phases
    cos_1, sin_1 = (charge * cos_1[n_1])[None], (charge * sin_1[n_1])[None]
    cos_2 = jnp.concatenate([cos_2[:0:-1], cos_2])  # n_2 = -half_2 ... half_2
    sin_2 = jnp.concatenate([-sin_2[:0:-1], sin_2])
    real, imaginary = cos_1 * cos_2 - sin_1 * sin_2, sin_1 * cos_2 + cos_1 * sin_2
    rows = jnp.concatenate([real, imaginary]) @ jnp.concatenate([cos_3, sin_3]).T
    (rc, rs), (ic, is_) = (jnp.split(part, 2, axis=1) for part in jnp.split(rows, 2))
    return jnp.stack([(rc - is_) ** 2 + (ic + rs) ** 2, (rc + is_) ** 2 + (ic - rs) ** 2], axis=1)


def _plane_weights(n_1: jax.Array, inverse: jax.Array, limit: jax.Array, beta: float, half: Half) -> jax.Array:
    """(2 half_2 + 1, 2, half_3 + 1) what :func:`_squared_factors` are multiplied by; 0 beyond the limits."""
    n_2 = jnp.arange(-half[1], half[1] + 1, dtype=inverse.dtype)[:, None, None]
    n_3 = jnp.arange(half[2] + 1, dtype=inverse.dtype)
    n_3 = jnp.stack([n_3, -n_3])[None]
    weight = vector_weights((n_1.astype(inverse.dtype)[None, None, None], n_2, n_3), inverse, limit, beta)
    once = (jnp.arange(2) == 0)[None, :, None] | (n_3 != 0.0)  # n_3 = 0 has no other sign
    return jnp.where(once, weight, 0.0) * jnp.where(n_1 == 0, 1.0, 2.0)
