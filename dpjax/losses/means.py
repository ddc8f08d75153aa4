"""Means over real entries only.  Padding may hold anything, NaN included, and reaches neither value nor gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def error_of(prediction: jax.Array, label: jax.Array, weight: jax.Array) -> jax.Array:
    """``prediction - label`` in the widest float, exactly 0 where ``weight`` (same rank) is 0."""
    real = weight > 0.0
    return jnp.where(real, prediction, 0.0).astype(float) - jnp.where(real, label, 0.0).astype(float)


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean over all entries of ``values``, ().

    Args:
        values: (..., n); whatever an entry of weight 0 holds does not count.
        weight: (..., 1) or (..., n), not negative; with nothing but zeros the mean is 0.
    """
    weight = jnp.broadcast_to(weight, values.shape).astype(values.dtype)
    total = jnp.sum(weight)
    return jnp.sum(jnp.where(weight > 0.0, values, 0.0) * weight) / jnp.where(total > 0.0, total, 1.0)
