"""Numbers that rotations leave alone, from sums of directions times vectors."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def invariants(moments: jax.Array, axis: int) -> jax.Array:
    """(..., axis * m) products of moments (..., 3, m) with their first ``axis`` columns, divided by 3."""
    products = jnp.einsum("...xa,...xm->...am", moments[..., :axis], moments) / 3.0
    return products.reshape(*products.shape[:-2], -1)
