"""AdaMuon: the orthogonalised sign of the gradient with momentum, divided by its running root mean square.

After arXiv:2507.11005.  Parameters of two or more axes are taken as one matrix (first axis, all others); the rest is left to Adam.
Names play no part.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dpjax.config.optimizers import AdaMuonConfig
from dpjax.optimizers.adam import scale_by_working_adam
from dpjax.optimizers.orthogonal import FAST, newton_schulz
from dpjax.optimizers.precision import rounding, working_dtype
from dpjax.optimizers.rate import scale_by_rate
from dpjax.optimizers.routing import ADAM, MUON
from dpjax.optimizers.stacks import adam_share, in_batches, nesterov, shape_factor

EPSILON = 1e-8
STEPS = (FAST,) * 5
UPDATE_RMS = 0.2  # root mean square of a direction before its shape factor, about that of Adam's


class ScaleByAdaMuonState(NamedTuple):
    """Running means, each like the parameters."""

    momentum: Any  # of the gradient, in its dtype
    squares: Any  # of the squared entries of the orthogonal matrices, in the working dtype; starts at zero and is not corrected


def adamuon(cfg: AdaMuonConfig, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Gradient -> update.

    Args:
        cfg: the options; its ``precision`` ``"reference"`` rounds as DeePMD-kit does, ``"full"`` not below the precision of the
            parameters.
        schedule: step -> learning rate.
    """
    own_adam = scale_by_working_adam(cfg.adam_beta1, cfg.adam_beta2, EPSILON, cfg.precision)
    rules = {
        MUON: optax.chain(scale_by_adamuon(cfg), optax.add_decayed_weights(cfg.weight_decay)),
        ADAM: optax.chain(own_adam, optax.scale(adam_share(cfg.lr_adjust))),
    }
    return optax.chain(optax.partition(rules, _rules), scale_by_rate(schedule))


def scale_by_adamuon(cfg: AdaMuonConfig) -> optax.GradientTransformation:
    """Gradient -> direction, for parameters of two or more axes, none of them empty."""
    rounded = rounding("bfloat16", cfg.precision)

    def as_matrix(x: jax.Array) -> jax.Array:
        return x.reshape(1, x.shape[0], -1)

    def orthogonal(x: jax.Array) -> jax.Array:
        return newton_schulz(x, STEPS, rounded, EPSILON)

    def init_fn(params: Any) -> ScaleByAdaMuonState:
        squares = jax.tree.map(lambda p: jnp.zeros(p.shape, working_dtype(p.dtype, cfg.precision)), params)
        return ScaleByAdaMuonState(jax.tree.map(jnp.zeros_like, params), squares)

    def direction(matrix: jax.Array, squares: jax.Array) -> jax.Array:
        _, rows, columns = as_matrix(matrix).shape
        whitened = matrix / (jnp.sqrt(squares) + EPSILON)
        length = jnp.sqrt(jnp.sum(whitened * whitened)) + EPSILON
        factor = shape_factor(rows, columns, cfg.lr_adjust, cfg.lr_adjust_coeff)
        return whitened / length * (UPDATE_RMS * matrix.size**0.5 * factor)

    def update_fn(updates: Any, state: ScaleByAdaMuonState, params: Any = None) -> tuple[Any, ScaleByAdaMuonState]:
        del params
        ahead, momentum = nesterov(updates, state.momentum, cfg.momentum)
        signs, tree = jax.tree.flatten(jax.tree.map(lambda u, v: jnp.sign(u).astype(v.dtype), ahead, state.squares))
        results = in_batches(orthogonal, [as_matrix(sign) for sign in signs])
        matrices = tree.unflatten([o.reshape(sign.shape) for o, sign in zip(results, signs, strict=True)])
        beta = cfg.momentum
        squares = jax.tree.map(lambda v, o: beta * v + (1.0 - beta) * o * o, state.squares, matrices)
        directions = jax.tree.map(lambda o, v, g: direction(o, v).astype(g.dtype), matrices, squares, updates)
        return directions, ScaleByAdaMuonState(momentum, squares)

    return optax.GradientTransformation(init_fn, update_fn)


def _rules(params: Any) -> Any:
    return jax.tree.map(lambda p: MUON if p.ndim >= 2 and p.size else ADAM, params)
