"""Fixed-point numbers, and the activation function that is a polynomial."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

FINE, COARSE = 23, 19  # binary places
EXACT = -1  # in the place of a number of places: no rounding


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def quantized(x: jax.Array, places: tuple[int, int, int], nearest: bool) -> jax.Array:
    """Numbers with so many binary places.

    Args:
        x: float64 numbers of any shape.
        places: of the numbers, of the derivative that passes, and of the derivative of that one; :data:`EXACT` rounds nothing.
        nearest: round to nearest, halves away from zero; else down.
    """
    if places[0] < 0:
        return x
    units = x * 2.0 ** places[0]
    return (_rounded(units) if nearest else jnp.floor(units)) * 2.0 ** -places[0]


def _push(x, places, nearest):
    return quantized(x, places, nearest), None


def _pull(places, nearest, _, g):
    return (quantized(g, (*places[1:], places[0]), nearest),)


quantized.defvjp(_push, _pull)


def _rounded(x: jax.Array) -> jax.Array:
    """To the nearest integer, halves away from zero."""
    whole = jnp.trunc(x)
    return whole + jnp.sign(x) * (jnp.abs(x - whole) >= 0.5)


def tanh4(x: jax.Array) -> jax.Array:
    """``sign(x) (a^4/16 - a^3/4 + a)`` with ``a = min(|x|, 2)``: close to tanh, and reached with its slope where it ends."""
    x = jnp.clip(x, -2.0, 2.0)
    return x * (
        1.0 + x * x * (jnp.abs(x) / 16.0 - 0.25)
    )  # so the slope is 1 at zero, where that of the sign is not defined


def _down(x: jax.Array, places: int) -> jax.Array:
    """Rounded down, with the derivative of the numbers themselves."""
    return x + jax.lax.stop_gradient(jnp.floor(x * 2.0**places) * 2.0**-places - x)


@jax.custom_vjp
def tanh4_fixed(x: jax.Array) -> jax.Array:
    """:func:`tanh4` in fixed point, with 23 binary places."""
    size = jnp.abs(x)
    fine, coarse = (jnp.floor(size * 2.0**places) * 2.0**-places for places in (FINE, COARSE))
    square = jnp.floor(fine * coarse * 2.0**FINE) * 2.0**-FINE
    y = jnp.where(size < 2.0, square * (square * 0.0625 - fine * 0.25) + fine, 1.0)
    y = jnp.floor(y * 2.0**FINE) * 2.0**-FINE
    return jnp.where(x < 0.0, -y, y)


def _pull_tanh4(x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    size = jnp.minimum(jnp.abs(x), 2.0)
    fine, coarse = _down(size, FINE), _down(size, COARSE)
    slope = _down(fine * coarse, COARSE) * (fine / 4.0 - 0.75) + 1.0
    return (_down(_down(slope, COARSE) * _down(g, FINE), FINE),)


tanh4_fixed.defvjp(lambda x: (tanh4_fixed(x), x), _pull_tanh4)
