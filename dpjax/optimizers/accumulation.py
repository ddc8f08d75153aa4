"""Gradient accumulation: one update from the gradients of several batches."""

from __future__ import annotations

import optax


def accumulate(tx: optax.GradientTransformation, every: int) -> optax.GradientTransformationExtraArgs:
    """``tx`` on the sum (not the mean) of ``every`` gradients; the calls between return zero and keep that sum in the state.

    Clipping belongs into ``tx``, so that it sees the sum; its schedule advances once for each update.
    """
    if every == 1:
        return optax.with_extra_args_support(tx)
    return optax.MultiSteps(tx, every, use_grad_mean=False).gradient_transformation()
