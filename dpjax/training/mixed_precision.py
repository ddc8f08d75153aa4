"""Networks computed in a shorter precision than their parameters have, and losses scaled so that gradients do not underflow.

The parameters that are trained stay in ``output_prec``.  Their rounded copies are what a step computes with; layers compute in the
precision of their copies and return to that of the parameters (``nn.dense``).  Geometry, sums over atoms and the loss are
as in any other training.  In float16, gradients of small losses vanish, so the loss is multiplied by a scale before it is
differentiated: halved where a gradient is not finite, and that step makes no update; doubled after many good ones (Micikevicius et
al., arXiv:1710.03740).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

FIRST_SCALE = 2.0**15
LARGEST_SCALE = 2.0**24
PATIENCE = 2000  # good steps before the scale is doubled


@flax.struct.dataclass
class LossScale:
    """What the loss is multiplied by, and how many steps in a row have been good."""

    factor: jax.Array  # () float32
    good: jax.Array  # () int32

    @classmethod
    def first(cls) -> LossScale:
        return cls(jnp.float32(FIRST_SCALE), jnp.int32(0))

    def after(self, finite: jax.Array) -> LossScale:
        """The scale for the next step."""
        doubled = jnp.minimum(2.0 * self.factor, LARGEST_SCALE)
        enough = self.good + 1 >= PATIENCE
        grown = LossScale(jnp.where(enough, doubled, self.factor), jnp.where(enough, 0, self.good + 1))
        halved = LossScale(jnp.maximum(0.5 * self.factor, 1.0), jnp.zeros_like(self.good))
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), grown, halved)


def rounded(params: Any, dtype: Any) -> Any:
    """Copies of the parameters in a shorter precision; their derivative is that of the parameters."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def in_precision(loss_fn: Callable, dtype: Any) -> Callable:
    """``loss_fn(params, ...)`` on rounded parameters; None leaves it alone."""
    if dtype is None:
        return loss_fn
    return lambda params, *rest: loss_fn(rounded(params, dtype), *rest)


def all_finite(tree: Any) -> jax.Array:
    """Whether every number of a tree is finite, ()."""
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()
