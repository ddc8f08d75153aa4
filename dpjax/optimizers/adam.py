"""Adam with an L2 term.

Kingma and Ba, arXiv:1412.6980, with the small constant outside the root of the bias-corrected second moment.  The L2 term joins the
gradient before the moments see it (unlike AdamW) and acts on every parameter, biases included.
"""

from __future__ import annotations

import optax

from dpjax.config import AdamConfig

EPSILON = 1e-8


def adam(cfg: AdamConfig, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Gradient -> update; state has the dtype of the parameters.

    Args:
        cfg: betas and strength of the L2 term.
        schedule: step -> learning rate.
    """
    parts = [
        optax.scale_by_adam(b1=cfg.adam_beta1, b2=cfg.adam_beta2, eps=EPSILON),
        optax.scale_by_learning_rate(schedule),
    ]
    if cfg.weight_decay:
        parts.insert(0, optax.add_decayed_weights(cfg.weight_decay))
    return optax.with_extra_args_support(optax.chain(*parts))
