"""Derivatives of sums over atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def summed_gradient(fn: Callable[[jax.Array], tuple[jax.Array, Any]], disp: jax.Array) -> tuple[Any, jax.Array]:
    """Second result of ``fn`` and the derivative of its first by ``disp`` (n_atom, ...).

    The first is () or (n,); the derivative is like ``disp``, or has an axis n after that of the atoms.
    """
    total, pull, own = jax.vjp(fn, disp, has_aux=True)
    if not total.ndim:
        return own, pull(jnp.ones_like(total))[0]
    (gradient,) = jax.vmap(pull)(jnp.eye(total.size, dtype=total.dtype))
    return own, jnp.moveaxis(gradient, 0, 1)
