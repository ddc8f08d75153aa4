"""Arrays that stand for all entries of leading axes: ranks are made equal on purpose, never by accident."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def lifted(x: jax.Array, ndim: int) -> jax.Array:
    """``x`` with leading axes of length 1, so that it has ``ndim`` axes."""
    x = jnp.asarray(x)
    return x.reshape((1,) * (ndim - x.ndim) + x.shape)
