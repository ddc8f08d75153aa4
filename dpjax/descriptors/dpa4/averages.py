"""Weighted means of what was computed before, in place of sums: attention over depth (Kimi Team, arXiv:2603.15031)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.nn.dense import with_bias
from dpjax.nn.equivariant.norms import rms
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted


def weighted_mean(
    weights: Weights,
    scalars: Sequence[jax.Array],
    current: jax.Array,
    sources: Sequence[jax.Array],
    eps: float,
) -> jax.Array:
    """The mean of ``sources`` by a soft-max of how well degree 0 of each answers a query.

    Args:
        weights: of the norm of keys, and of the query: a vector, or a map of ``current``.
        scalars: (..., n) degree 0 of each source.
        current: (..., n) degree 0 of the state that asks.
        sources: arrays of one shape whose axes begin, or with streams go on, as those of ``scalars`` without the last.
        eps: of the norm.
    """
    if len(sources) == 1:
        return sources[0]
    norm = weights["key_norm"]["adam_scale"][0]
    if "query_proj" in weights:
        query = product(current, weights["query_proj"]["weight"])
        query = with_bias(query, weights["query_proj"]["bias"]) if "bias" in weights["query_proj"] else query
    else:
        query = lifted(weights["adamw_pseudo_query"], current.ndim)
    levels = jnp.stack([jnp.sum(query * rms(key, norm, eps), axis=-1) for key in scalars])
    shares = jax.nn.softmax(levels, axis=0)
    lead = sources[0].ndim - shares.ndim - 1  # axes of streams before
    return sum(
        share.reshape((1,) * lead + share.shape + (1, 1)) * source
        for share, source in zip(shares, sources, strict=True)
    )
