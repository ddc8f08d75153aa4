"""How a message-passing layer joins what it has computed to what it was given: the ``update_style`` of ``dpa2`` and ``dpa3``.

``res_avg`` is the mean of old and new, times the root of their number; ``res_incr`` adds the new, divided by the root of their
number; ``res_residual`` adds each times a trained vector of its own.  Zhang et al., arXiv:2312.15492.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.nn.dense import normal_init
from dpjax.nn.products import repeated_rows


def joined(style: str, old: jax.Array, new: Sequence[jax.Array], weights: Sequence[jax.Array] = ()) -> jax.Array:
    """``old`` and what a layer adds to it, all (..., n).

    Args:
        style: one of the three.
        weights: (n,) of each of ``new``, for ``res_residual``.
    """
    if not new:
        return old
    if style == "res_avg":
        return sum(new, old) / math.sqrt(len(new) + 1)
    if style == "res_incr":
        return old + sum(new[1:], new[0]) / math.sqrt(len(new))
    for weight, part in zip(weights, new, strict=True):
        old = old + repeated_rows(weight, part) * part
    return old


def residual_weights(
    module: nn.Module, config: object, name: str, number: int, width: int, dtype: jnp.dtype
) -> list[jax.Array]:
    """Parameters ``name_0``, ``name_1`` ... (width,) of a layer; none unless ``update_style`` is ``res_residual``.

    Args:
        config: hyper-parameters with ``update_style``, ``update_residual`` and ``update_residual_init``.
    """
    if config.update_style != "res_residual":
        return []
    constant = config.update_residual_init == "const"
    init = nn.initializers.constant(config.update_residual) if constant else normal_init(config.update_residual)
    return [module.param(f"{name}_{i}", init, (width,), dtype) for i in range(number)]
