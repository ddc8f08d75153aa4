"""Arrays that stand for all entries of leading axes: ranks are made equal on purpose, never by accident."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def lifted(x: jax.Array, ndim: int) -> jax.Array:
    """``x`` with leading axes of length 1, so that it has ``ndim`` axes."""
    x = jnp.asarray(x)
    return x.reshape((1,) * (ndim - x.ndim) + x.shape)


def of_streams(x: jax.Array, ndim: int) -> jax.Array:
    """``x`` (stream, n) with axes of length 1 between, so that it has ``ndim`` axes."""
    return x.reshape(x.shape[0], *(1,) * (ndim - 2), x.shape[1])
