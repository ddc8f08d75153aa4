"""Linear maps that commute with rotations.

Streams (focus streams of ``dpa4``) have maps of their own; their arrays have an axis for them before all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpjax.nn.dense import with_bias
from dpjax.nn.equivariant.packed import Orders
from dpjax.nn.products import product


def by_degree(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A matrix for each degree of a state.

    Args:
        x: (..., (L + 1)^2, n).
        weight: (L + 1, n, m).
        bias: (m,) of degree 0.

    Returns:
        (..., (L + 1)^2, m).
    """
    parts = [product(x[..., ell * ell : (ell + 1) ** 2, :], weight[ell]) for ell in range(weight.shape[0])]
    if bias is not None:
        parts[0] = with_bias(parts[0], bias)
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-2)


def by_order(x: Orders, maps: Sequence[jax.Array], bias: jax.Array | None = None) -> Orders:
    """A matrix for each order of a state in the frame of an edge, which mixes degrees: commutes with turns about the edge.

    Args:
        x: (stream, ..., L + 1, n) and so on.
        maps: of order 0 (stream, (L + 1) n, (L + 1) m), degrees before channels; of others what :func:`turning` makes.
        bias: (stream, ..., m) of degree 0, with as many axes as ``x`` less one.

    Returns:
        (stream, ..., L + 1, m) and so on.
    """
    first = _dense(x[0], maps[0], 1)
    others = [_dense(part, own, 2) for part, own in zip(x[1:], maps[1:], strict=True)]
    if bias is not None:
        rest = [(0, 0)] * (first.ndim - 2) + [(0, first.shape[-2] - 1), (0, 0)]
        first = first + jnp.pad(bias[..., None, :], rest)  # in one loop, which parts put together would not be
    return first, *others


def turning(matrix: jax.Array) -> jax.Array:
    """(stream, 2 n, 2 m) for orders -m and m, real and imaginary part of numbers that are multiplied by ``U + i V``, from
    (stream, n, 2 m), U beside V."""
    u, v = jnp.split(matrix, 2, axis=-1)
    return jnp.concatenate([matrix, jnp.concatenate([-v, u], axis=-1)], axis=-2)


def _dense(x: jax.Array, matrix: jax.Array, axes: int) -> jax.Array:
    """The last axis of ``x`` and so many before it through a matrix, as one."""
    lead, rows = x.shape[: -1 - axes], x.shape[-1 - axes : -1]
    return product(x.reshape(*lead, -1), matrix).reshape(*lead, *rows, -1)
