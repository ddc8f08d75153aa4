"""HybridMuon: orthogonalised gradients for matrices, Adam for biases, vectors and what is named for it.

Muon with momentum (Jordan et al., 2024), scaled so that one learning rate suits all shapes (arXiv:2502.16982), and damped where
gradient and momentum disagree, a deterministic form of arXiv:2602.15322.  ``routing`` says which parameter follows which rule.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dpjax.config.optimizers import HybridMuonConfig
from dpjax.optimizers.adam import scale_by_working_adam
from dpjax.optimizers.orthogonal import FAST, POLISH, gram_newton_schulz, newton_schulz
from dpjax.optimizers.precision import rounding, working_dtype
from dpjax.optimizers.rate import scale_by_rate
from dpjax.optimizers.routing import ADAM, ADAM_DECAY, MUON, matrix_stack, routes
from dpjax.optimizers.stacks import adam_share, in_batches, nesterov, shape_factor

ADAM_EPSILON = 1e-20  # so that steps are of the size of the rate whatever the size of the gradient
STEPS = (FAST,) * 8 + (POLISH,) * 2
SMALLEST_NORM = 1e-7

MEMORY = 0.9  # of the running mean of the agreement
LEAST_DAMPING = 0.1  # the factor of a matrix whose gradients contradict their running mean
_LOW, _HIGH = (1.0 / (1.0 + math.exp(-x)) for x in (-0.5, 0.5))


class ScaleByHybridMuonState(NamedTuple):
    """Running means."""

    momentum: Any  # of the gradient: like the parameters
    agreement: Any  # between gradient and momentum: (n_matrix,) for each parameter, in [0, 1]; None without damping


def hybrid_muon(cfg: HybridMuonConfig, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Gradient -> update.

    Args:
        cfg: the options; its ``precision`` ``"reference"`` rounds as DeePMD-kit does, ``"full"`` not below the precision of the
            parameters.
        schedule: step -> learning rate.
    """
    own_adam = scale_by_working_adam(cfg.adam_beta1, cfg.adam_beta2, ADAM_EPSILON, cfg.precision)
    decay, share = optax.add_decayed_weights(cfg.weight_decay), optax.scale(adam_share(cfg.lr_adjust))
    rules = {
        MUON: optax.chain(scale_by_hybrid_muon(cfg), decay),
        ADAM: optax.chain(own_adam, share),
        ADAM_DECAY: optax.chain(own_adam, decay, share),
    }
    return optax.chain(optax.partition(rules, partial(routes, mode=cfg.muon_mode.lower())), scale_by_rate(schedule))


def scale_by_hybrid_muon(cfg: HybridMuonConfig) -> optax.GradientTransformation:
    """Gradient -> direction, for parameters that ``cfg.muon_mode`` sees as matrices."""
    mode = cfg.muon_mode.lower()

    def as_stack(x: jax.Array) -> jax.Array:
        return x.reshape(matrix_stack(x.shape, mode))

    def working(x: jax.Array) -> jax.Array:
        return as_stack(x).astype(working_dtype(x.dtype, cfg.precision))

    def init_fn(params: Any) -> ScaleByHybridMuonState:
        def halfway(p: jax.Array) -> jax.Array:
            return jnp.full(matrix_stack(p.shape, mode)[:1], 0.5, working_dtype(p.dtype, cfg.precision))

        agreement = jax.tree.map(halfway, params) if cfg.magma_muon else None
        return ScaleByHybridMuonState(jax.tree.map(jnp.zeros_like, params), agreement)

    def update_fn(
        updates: Any, state: ScaleByHybridMuonState, params: Any = None
    ) -> tuple[Any, ScaleByHybridMuonState]:
        del params
        ahead, momentum = nesterov(updates, state.momentum, cfg.momentum)
        leaves, tree = jax.tree.flatten(ahead)
        matrices = tree.unflatten(in_batches(partial(_orthogonal, cfg), [working(x) for x in leaves]))
        scaled = partial(_scaled, cfg)
        if state.agreement is None:
            return jax.tree.map(scaled, updates, matrices), ScaleByHybridMuonState(momentum, None)

        def averaged(mean: jax.Array, m: jax.Array, g: jax.Array) -> jax.Array:
            return MEMORY * mean + (1.0 - MEMORY) * agreement_of(working(m), working(g))

        agreement = jax.tree.map(averaged, state.agreement, momentum, updates)
        damping = jax.tree.map(lambda q: LEAST_DAMPING + (1.0 - LEAST_DAMPING) * q, agreement)
        return jax.tree.map(scaled, updates, matrices, damping), ScaleByHybridMuonState(momentum, agreement)

    return optax.GradientTransformation(init_fn, update_fn)


def agreement_of(momentum: jax.Array, gradient: jax.Array) -> jax.Array:
    """From 0, opposite directions, to 1, the same one; (n_matrix,) from (n_matrix, rows, columns).

    The cosine of the angle through a sigmoid function; 0.5 where the gradient vanishes.
    """
    dot = jnp.sum(momentum * gradient, axis=(1, 2))
    squares = (jnp.sum(x * x, axis=(1, 2)) for x in (momentum, gradient))
    lengths = math.prod(jnp.sqrt(square) for square in squares)
    cosine = jnp.clip(dot / jnp.maximum(lengths, 1e-12), -1.0, 1.0)
    return jnp.clip((jax.nn.sigmoid(cosine / 2.0) - _LOW) / (_HIGH - _LOW), 0.0, 1.0)


def _takes_gram(cfg: HybridMuonConfig, stack: jax.Array) -> bool:
    return cfg.enable_gram and stack.shape[1] != stack.shape[2]


def _orthogonal(cfg: HybridMuonConfig, wide: jax.Array) -> jax.Array:
    """The matrices (n_matrix, rows, columns), rows <= columns, with singular values near 1."""
    if _takes_gram(cfg, wide):
        return gram_newton_schulz(wide, rounding("float16", cfg.precision))
    return newton_schulz(wide, STEPS, rounding("bfloat16", cfg.precision), SMALLEST_NORM)


def _scaled(
    cfg: HybridMuonConfig, gradient: jax.Array, matrices: jax.Array, damping: jax.Array | None = None
) -> jax.Array:
    """The direction, like the gradient: matrices (n_matrix, rows, columns) times the factor of their shape and their damping.

    What comes in bfloat16 is scaled in bfloat16, what comes in float16 in the dtype of the gradient, as in DeePMD-kit.
    """
    factor = shape_factor(*matrices.shape[1:], cfg.lr_adjust, cfg.lr_adjust_coeff)
    if _takes_gram(cfg, matrices):
        matrices, rounded = matrices.astype(gradient.dtype), lambda x: x
    else:
        rounded = rounding("bfloat16", cfg.precision)
    matrices = rounded(factor * matrices)
    if damping is not None:
        matrices = rounded(rounded(damping).astype(matrices.dtype)[:, None, None] * matrices)
    return matrices.astype(gradient.dtype).reshape(gradient.shape)
