"""Floating-point numbers with a sign, an exponent and 21 binary digits, the first of which is 1 and not stored.

They are float64 numbers whose last 32 bits are zero.  Zero has the exponent -1023, and its first digit counts as 1 like that of
others; what it adds is shifted out of the digits of anything larger.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

FRACTION = 20  # digits that are stored
CUT = 52 - FRACTION  # of those of a float64 number
SMALLEST_MAXIMUM = -100  # what the largest exponent of several numbers is at least taken for
MOST_SHIFTS = 63  # of an integer


def bits(x: jax.Array) -> jax.Array:
    """The 64 bits of float64 numbers as integers."""
    return jax.lax.bitcast_convert_type(x, jnp.int64)


def masked(x: jax.Array, cut: int) -> jax.Array:
    """Float64 numbers without their last ``cut`` digits: rounded towards zero."""
    return jax.lax.bitcast_convert_type(bits(x) & jnp.int64(-(1 << cut)), jnp.float64)


def exponents(x: jax.Array) -> jax.Array:
    """Exponents of float64 numbers, -1023 of zero; int64."""
    return ((bits(x) >> 52) & 0x7FF) - 1023


def digits(x: jax.Array) -> jax.Array:
    """The 21 digits of float64 numbers as integers between 2^20 and 2^21, without the sign; int64."""
    return ((bits(x) & ((1 << 52) - 1)) | (1 << 52)) >> CUT


def power_of_two(exponent: jax.Array) -> jax.Array:
    """2 to the power of integers; zero where that is below the normal numbers of float64, as of sums of zeros."""
    power = jax.lax.bitcast_convert_type((exponent + 1023) << 52, jnp.float64)
    return jnp.where(exponent < -1022, 0.0, power)


def aligned(x: jax.Array, exponent: jax.Array) -> jax.Array:
    """Digits of numbers, with sign, for a common exponent that none exceeds: what does not fit is cut off; float64."""
    shift = jnp.minimum(exponent - exponents(x), MOST_SHIFTS)
    return jnp.copysign((digits(x) >> shift).astype(jnp.float64), x)


def largest_exponent(x: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """The largest exponent along axes, which are kept with length 1; int64."""
    return jnp.maximum(jnp.max(exponents(x), axis=axis, keepdims=True), SMALLEST_MAXIMUM)


@jax.custom_vjp
def truncated(x: jax.Array) -> jax.Array:
    """Float64 numbers cut to the format, towards zero."""
    return masked(x, CUT)


truncated.defvjp(lambda x: (truncated(x), None), lambda _, g: (truncated(g),))


@jax.custom_vjp
def copied(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The numbers twice, so that what the two pull at them is added in the format."""
    own = truncated(x)
    return own, own


copied.defvjp(lambda x: (copied(x), None), lambda _, pulls: (add(*pulls),))


@jax.custom_vjp
def add(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sums of numbers of the format, of equal shapes: of the smaller of two the digits that lie beyond the larger's are cut off."""
    exponent = jnp.maximum(exponents(x), exponents(y))
    total = aligned(x, exponent) + aligned(y, exponent)
    return masked(total * power_of_two(exponent - FRACTION), CUT)


def _pull_sum(_: None, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    own = truncated(g)
    return own, own


add.defvjp(lambda x, y: (add(x, y), None), _pull_sum)


@jax.custom_vjp
def mul(x: jax.Array, y: jax.Array) -> jax.Array:
    """Products of numbers of the format, of equal shapes."""
    return masked(masked(x, CUT) * masked(y, CUT), CUT)


mul.defvjp(lambda x, y: (mul(x, y), (x, y)), lambda own, g: (mul(own[1], g), mul(own[0], g)))


@jax.custom_vjp
def scaled(x: jax.Array, y: jax.Array) -> jax.Array:
    """Products of one number (..., 1) and each of several (..., n)."""
    return masked(masked(x, CUT) * masked(y, CUT), CUT)


scaled.defvjp(lambda x, y: (scaled(x, y), (x, y)), lambda own, g: (dot(own[1], g), scaled(own[0], g)))


@jax.custom_vjp
def dot(x: jax.Array, y: jax.Array) -> jax.Array:
    """(..., 1) scalar products of vectors (..., n): digits are brought to the largest exponent of each vector first."""
    first, second = largest_exponent(x, -1), largest_exponent(y, -1)
    total = jnp.sum(aligned(x, first) * aligned(y, second), axis=-1, keepdims=True)
    return masked(total * power_of_two(first + second - 2 * FRACTION), CUT)


dot.defvjp(lambda x, y: (dot(x, y), (x, y)), lambda own, g: (scaled(g, own[1]), scaled(g, own[0])))
