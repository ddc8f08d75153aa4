"""Products of matrices of the hardware: exact sums of integers, with the roundings before and after them.

Products of 21 digits have 42, so sums of up to 2^11 of them are exact in float64, in any order.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from dpjax.nn.nvnmd.floats import CUT, FRACTION, aligned, largest_exponent, masked, power_of_two

FIXED = 23  # binary places of fixed-point sums


def _exact(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.matmul(x, w, precision=jax.lax.Precision.HIGHEST)


def _turned(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, -1, -2)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def product(x: jax.Array, w: jax.Array, whole: bool = False, fixed_pulls: bool = False) -> jax.Array:
    """Products of matrices (..., n, m) and (..., m, k) of numbers of the format, in the format: (..., n, k).

    Args:
        x, w: the matrices.
        whole: digits are brought to the largest exponent of the whole matrix; else of each row of ``x`` and column of ``w``.
        fixed_pulls: derivatives are sums of fixed-point numbers.
    """
    rows, columns = ((-2, -1), (-2, -1)) if whole else (-1, -2)
    first, second = largest_exponent(x, rows), largest_exponent(w, columns)
    total = _exact(aligned(x, first), aligned(w, second))
    return masked(total * power_of_two(first + second - 2 * FRACTION), CUT)


def _push(x, w, whole, fixed_pulls):
    return product(x, w, whole, fixed_pulls), (x, w)


def _pull(whole, fixed_pulls, own, g):
    x, w = own
    if fixed_pulls:
        return fixed_product(g, _turned(w)), fixed_product(_turned(x), g)
    return product(g, _turned(w), whole), product(_turned(x), g)


product.defvjp(_push, _pull)


def fixed_product(x: jax.Array, w: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Products of matrices (..., n, m) and (..., m, k) of numbers of the format: (..., n, k), in the format.

    Each product of two numbers is cut to 23 binary places, towards zero, before it is added.

    Args:
        x, w: the matrices.
        weight: (..., m) whole numbers, how often each column of ``x`` and row of ``w`` counts; None: once.
    """
    return _weighted(x, w, jnp.ones((*x.shape[:-2], x.shape[-1]), x.dtype) if weight is None else weight)


@jax.custom_vjp
def _weighted(x: jax.Array, w: jax.Array, weight: jax.Array) -> jax.Array:
    x, w = masked(x, CUT), masked(w, CUT)
    each = jnp.trunc(x[..., :, :, None] * w[..., None, :, :] * 2.0**FIXED) * weight[..., None, :, None]
    return masked(jnp.sum(each, axis=-2) * 2.0**-FIXED, CUT)


def _push_weighted(x, w, weight):
    return _weighted(x, w, weight), (x, w, weight)


def _pull_weighted(own, g):
    x, w, weight = own
    return product(g, _turned(w)), product(_turned(x), g), jnp.zeros_like(weight)


_weighted.defvjp(_push_weighted, _pull_weighted)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fitting_product(x: jax.Array, w: jax.Array, whole: bool = False) -> jax.Array:
    """Products (n, k) of rows (n, m) and weights (m, k) as the fitting net has them: in fixed point, rounded down.

    Rows have 23 binary places; weights 19, after division by a power of two near the largest of each column.

    Args:
        x: (n, m) rows.
        w: (m, k) weights.
        whole: one power of two for all columns, of the largest weight of all.
    """
    exponent = largest_exponent(w, (0, 1) if whole else 0)
    power = power_of_two(exponent)
    weights = jnp.floor(w * power_of_two(-exponent) * 2.0**19) * 2.0**-19
    rows = jnp.floor(x * 2.0**FIXED) * 2.0**-FIXED
    return jnp.floor(_exact(rows, weights) * power * 2.0**FIXED) * 2.0**-FIXED


def _push_fitting(x, w, whole):
    return fitting_product(x, w, whole), (x, w)


def _pull_fitting(whole, own, g):
    return fitting_product(g, own[1].T, whole), _exact(own[0].T, g)


fitting_product.defvjp(_push_fitting, _pull_fitting)
