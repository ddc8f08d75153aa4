"""Clipping by the norm of all gradients together, and finding the gradients that are not finite."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dpjax.optimizers.freezing import parameter_names

MARGIN = 1e-6  # keeps the ratio finite for a zero gradient; a norm just above the limit ends this much below it


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformationExtraArgs:
    """Multiplies all gradients by ``min(1, max_norm / (norm + 1e-6))``; a ``max_norm`` of zero or less changes nothing."""
    if max_norm <= 0.0:
        return optax.with_extra_args_support(optax.identity())

    def update_fn(updates: Any, state: optax.EmptyState, params: Any = None) -> tuple[Any, optax.EmptyState]:
        del params
        factor = jnp.minimum(1.0, max_norm / (global_norm(updates) + MARGIN))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates), state

    return optax.with_extra_args_support(optax.GradientTransformation(lambda _: optax.EmptyState(), update_fn))


def global_norm(tree: Any) -> jax.Array:
    """Root of the sum of squares over all leaves, (); finite whenever it can be, as squares that overflow are scaled first."""
    leaves = [leaf.astype(float) for leaf in jax.tree.leaves(tree) if leaf.size]
    if not leaves:
        return jnp.zeros(())
    plain = jnp.sqrt(_sum_of_squares(leaves))
    largest = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]).max()
    scale = jnp.where(largest > 0.0, largest, 1.0)
    scaled = scale * jnp.sqrt(_sum_of_squares([leaf / scale for leaf in leaves]))
    return jnp.where(jnp.isfinite(plain), plain, scaled)


def nonfinite_names(tree: Any) -> list[str]:
    """Dotted names of the leaves that hold NaN or infinity; runs on the host."""
    return [name for name, leaf in parameter_names(tree).items() if not bool(jnp.all(jnp.isfinite(leaf)))]


def _sum_of_squares(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.vdot(leaf, leaf) for leaf in leaves]).sum()
