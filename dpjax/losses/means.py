"""Means over real entries only.  Padding may hold anything, NaN included, and reaches neither value nor gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def error_of(prediction: jax.Array, label: jax.Array, weight: jax.Array) -> jax.Array:
    """``prediction - label`` in the widest float, exactly 0 where ``weight`` (same rank) is 0."""
    return real_values(prediction, weight) - real_values(label, weight)


def real_values(values: jax.Array, weight: jax.Array) -> jax.Array:
    """``values`` in the widest float, exactly 0 where ``weight`` (same rank) is 0."""
    return jnp.where(weight > 0.0, values, 0.0).astype(float)


def root(square: jax.Array) -> jax.Array:
    """Square root whose slope at 0 is 0, so that a loss without any error has a gradient."""
    zero = square == 0.0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean over all entries of ``values``, ().

    Args:
        values: (..., n); whatever an entry of weight 0 holds does not count.
        weight: (..., 1) or (..., n), not negative; with nothing but zeros the mean is 0.
    """
    total = jnp.sum(jnp.broadcast_to(weight, values.shape).astype(values.dtype))
    return weighted_sum(values, weight) / jnp.where(total > 0.0, total, 1.0)


def weighted_sum(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum over all entries of ``values``, each times its weight, (); arguments as of :func:`weighted_mean`."""
    return jnp.sum(jnp.where(weight > 0.0, values, 0.0) * weight.astype(values.dtype))
