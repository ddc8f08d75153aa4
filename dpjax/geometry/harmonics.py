"""Real solid harmonics: homogeneous polynomials of a vector, ``2 l + 1`` for each degree l, that turn among themselves with it.

They are scaled after Racah: the products of the components of degree l of two vectors a and b add up to ``|a|^l |b|^l P_l(cos)``,
with the Legendre polynomial P_l of the angle between the two (addition theorem).  Degree 1 is the vector itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp


def solid_harmonics(vector: jax.Array, degrees: Iterable[int]) -> jax.Array:
    """Components of some degrees, one after the other.

    A component is ``N_lm Pi_lm(z, r^2)`` times the real or imaginary part of ``(x + i y)^m``, with ``N_l0 = 1`` and otherwise
    ``N_lm^2 = 2 (l - m)! / (l + m)!``.  Pi is the m-th derivative of P_l, made homogeneous.  All are polynomials: no vector is
    divided by its length, and every derivative is finite everywhere.

    Args:
        vector: (..., 3, n).
        degrees: each 1 or more.

    Returns:
        (..., sum of 2 l + 1, n): of each degree m = 0, then the cosine and sine of m = 1 to l, without the sign ``(-1)^m``.
    """
    x, y, z = (vector[..., i, :] for i in range(3))
    square = x * x + y * y + z * z
    components = []
    for degree in degrees:
        components.append(_polar(degree, 0, z, square))
        real, imaginary = x, y
        for m in range(1, degree + 1):
            scale = math.sqrt(2.0 * math.factorial(degree - m) / math.factorial(degree + m))
            polar = scale * _polar(degree, m, z, square)
            components += [polar * real, polar * imaginary]
            real, imaginary = x * real - y * imaginary, y * real + x * imaginary
    return jnp.stack(components, axis=-2)


def _polar(degree: int, order: int, z: jax.Array, square: jax.Array) -> jax.Array | float:
    """Pi_lm by ``(l - m) Pi_l = (2 l - 1) z Pi_(l-1) - (l + m - 1) r^2 Pi_(l-2)``, from ``Pi_mm = 1 * 3 * ... (2 m - 1)``."""
    before, last = 0.0, float(math.prod(range(1, 2 * order, 2)))
    for l in range(order + 1, degree + 1):  # noqa: E741
        before, last = last, ((2 * l - 1) * z * last - (l + order - 1) * square * before) / (l - order)
    return last
