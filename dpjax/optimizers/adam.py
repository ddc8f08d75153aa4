"""Adam with an L2 term, AdamW, and the Adam that AdaMuon and HybridMuon use for what is no matrix.

Kingma and Ba, arXiv:1412.6980, with the small constant outside the root of the bias-corrected second moment.  The L2 term of Adam
joins the gradient before the moments see it; the weight decay of AdamW (Loshchilov and Hutter, arXiv:1711.05101) joins their
ratio.  Both act on every parameter, biases included.
"""

from __future__ import annotations

from typing import Any

import jax
import optax

from dpjax.config import AdamConfig
from dpjax.config.optimizers import AdamWConfig
from dpjax.optimizers.precision import working_dtype
from dpjax.optimizers.rate import scale_by_rate

EPSILON = 1e-8


def adam(cfg: AdamConfig, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Gradient -> update; state has the dtype of the parameters.

    Args:
        cfg: betas and strength of the L2 term.
        schedule: step -> learning rate.
    """
    parts = [optax.scale_by_adam(b1=cfg.adam_beta1, b2=cfg.adam_beta2, eps=EPSILON), scale_by_rate(schedule)]
    if cfg.weight_decay:
        parts.insert(0, optax.add_decayed_weights(cfg.weight_decay))
    return optax.chain(*parts)


def adamw(cfg: AdamWConfig, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Gradient -> update; a parameter p also moves by ``-rate * weight_decay * p``. Otherwise like :func:`adam`."""
    return optax.chain(
        optax.scale_by_adam(b1=cfg.adam_beta1, b2=cfg.adam_beta2, eps=EPSILON),
        optax.add_decayed_weights(cfg.weight_decay),
        scale_by_rate(schedule),
    )


def scale_by_working_adam(b1: float, b2: float, eps: float, precision: str) -> optax.GradientTransformation:
    """``optax.scale_by_adam`` that keeps and computes everything in the working dtype; the result has the dtype of the gradient."""
    inner = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def working(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(working_dtype(x.dtype, precision)), tree)

    def update_fn(updates: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        del params
        direction, state = inner.update(working(updates), state)
        return jax.tree.map(lambda d, g: d.astype(g.dtype), direction, updates), state

    return optax.GradientTransformation(lambda params: inner.init(working(params)), update_fn)
