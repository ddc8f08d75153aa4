"""The number formats in which Muon computes, and rounding to them.

DeePMD-kit orthogonalises in bfloat16 or float16 and keeps some state in float32, whatever the precision of the parameters.  With
``"reference"`` dpjax does the same on every platform: arrays hold float32 numbers that the short format has, products are summed in
float32, and the result is rounded to the short format once.  With ``"full"`` nothing is rounded below the precision of the
parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dpjax.config.optimizers import MUON_PRECISIONS
from dpjax.errors import ConfigError

REFERENCE, FULL = MUON_PRECISIONS
Rounding = Callable[[jax.Array], jax.Array]

_SMALLEST_NORMAL, _SPACING_BELOW = 2.0**-14, 2.0**-24  # of float16


def rounds(precision: str) -> bool:
    """Whether numbers are rounded as in DeePMD-kit.

    Raises:
        ConfigError: ``precision`` is neither of the two words.
    """
    if precision not in MUON_PRECISIONS:
        raise ConfigError(f"muon_precision: found {precision!r}; choose {REFERENCE!r} or {FULL!r}.")
    return precision == REFERENCE


def working_dtype(dtype: jnp.dtype, precision: str) -> jnp.dtype:
    """What is computed in for a parameter of this dtype: float32, or with ``"full"`` its own dtype where that is longer."""
    return jnp.dtype(jnp.float32) if rounds(precision) else jnp.promote_types(dtype, jnp.float32)


def rounding(short_format: str, precision: str) -> Rounding:
    """Rounding to ``"bfloat16"`` or ``"float16"``, or with ``"full"`` none."""
    return {"bfloat16": to_bfloat16, "float16": to_float16}[short_format] if rounds(precision) else lambda x: x


# A pair of casts would not do: XLA may leave both out, as it counts the digits that come back as a gain.
def to_bfloat16(x: jax.Array) -> jax.Array:
    """The nearest bfloat16 numbers, as float32."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def to_float16(x: jax.Array) -> jax.Array:
    """The nearest float16 numbers, as float32; unlike ``reduce_precision`` it keeps those that are not normal."""
    normal = jax.lax.reduce_precision(x, exponent_bits=5, mantissa_bits=10)
    small = jnp.round(x / _SPACING_BELOW) * _SPACING_BELOW
    return jnp.where(jnp.abs(x) < _SMALLEST_NORMAL, small, normal)
