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


def mean_shares(weights: Weights, scalars: Sequence[jax.Array], current: jax.Array, eps: float) -> jax.Array:
    """(source, ...) shares of sources in a mean, by a soft-max of how well degree 0 of each answers a query.

    Args:
        weights: of the norm of keys, and of the query: a vector, or a map of ``current``.
        scalars: (..., n) degree 0 of each source.
        current: (..., n) degree 0 of the state that asks.
        eps: of the norm.
    """
    norm = weights["key_norm"]["adam_scale"][0]
    if "query_proj" in weights:
        query = product(current, weights["query_proj"]["weight"])
        query = with_bias(query, weights["query_proj"]["bias"]) if "bias" in weights["query_proj"] else query
    else:
        query = lifted(weights["adamw_pseudo_query"], current.ndim)
    levels = jnp.stack([jnp.sum(query * rms(key, norm, eps), axis=-1) for key in scalars])
    return jax.nn.softmax(levels, axis=0)


def weighted_mean(weights: Weights, current: jax.Array, sources: Sequence[jax.Array], eps: float) -> jax.Array:
    """The mean of states (n, (L + 1)^2, channels) that answer a query of the state ``current``; see :func:`mean_shares`."""
    if len(sources) == 1:
        return sources[0]
    shares = mean_shares(weights, [source[:, 0] for source in sources], current[:, 0], eps)
    return sum(share[:, None, None] * source for share, source in zip(shares, sources, strict=True))
