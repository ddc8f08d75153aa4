"""Activation functions under the names of the input language.

Each is a function of one array that keeps its dtype.  ``gelu`` is the tanh form, as in the reference.  ``silut[:t]`` (alias
``custom_silu``) is silu below the threshold t (default 3) and continues with the same slope as a bounded tanh above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dpjax.errors import ConfigError

Activation = Callable[[jax.Array], jax.Array]


def _identity(x: jax.Array) -> jax.Array:
    return x


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0.0, 6.0)


_TABLE: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "gelu": _gelu,
    "gelu_tf": _gelu,
    "relu": jax.nn.relu,
    "relu6": _relu6,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "linear": _identity,
    "none": _identity,
}

_KINKED = ("relu", "relu6")


def is_analytic(name: str) -> bool:
    """Whether the function called ``name`` has all derivatives everywhere, as series need it."""
    return name.lower() in _TABLE and name.lower() not in _KINKED


def silut(threshold: float) -> Activation:
    """Silu below ``threshold``, ``tanh(slope (x - threshold)) + silu(threshold)`` above it; once differentiable."""
    there = 1.0 / (1.0 + math.exp(-threshold))
    slope = there + threshold * there * (1.0 - there)
    height = threshold * there

    def fn(x: jax.Array) -> jax.Array:
        below = x < threshold
        gate = jax.nn.sigmoid(jnp.where(below, x, 2.0 * slope * (x - threshold)))  # tanh(y) = 2 sigmoid(2 y) - 1
        return jnp.where(below, x * gate, 2.0 * gate - 1.0 + height)

    return fn


def activation(name: str) -> Activation:
    """The function called ``name`` (case does not matter).

    Raises:
        ConfigError: for a name that is not in the input language.
    """
    key = name.lower()
    if key in _TABLE:
        return _TABLE[key]
    head, _, value = key.partition(":")
    if head in ("silut", "custom_silu"):
        try:
            return silut(float(value) if value else 3.0)
        except ValueError:
            raise ConfigError(
                f"activation_function {name!r}: the part after ':' must be a number, as in 'silut:3.0'"
            ) from None
    known = ", ".join([*_TABLE, "silut[:threshold]"])
    raise ConfigError(f"activation_function {name!r} is unknown. Choose one of: {known}.")
