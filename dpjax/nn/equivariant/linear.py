"""Linear maps that commute with rotations.

Streams (focus streams of ``dpa4``) have maps of their own; their arrays have an axis for them before all others.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.nn.dense import with_bias
from dpjax.nn.equivariant.packed import order_slices
from dpjax.nn.products import product
from dpjax.nn.ranks import of_streams


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


def by_order(
    x: jax.Array, zero: jax.Array, others: list[jax.Array], lmax: int, bias: jax.Array | None = None
) -> jax.Array:
    """A matrix for each order of a state in the frame of an edge, which mixes degrees: commutes with turns about the edge.

    Orders -m and m are real and imaginary part of a number that is multiplied by ``U + i V``.

    Args:
        x: (stream, ..., n_kept, n).
        zero: (stream, (L + 1) n, (L + 1) m) of order 0, degrees before channels.
        others: for each order from 1 (stream, (L - order + 1) n, 2 (L - order + 1) m), U beside V.
        lmax: L.
        bias: (stream, m) of degree 0.

    Returns:
        (stream, ..., n_kept, m).
    """
    lead, width = x.shape[:-2], zero.shape[-1] // (lmax + 1)
    slices = order_slices(lmax, len(others))
    rows = product(x[..., slices[0], :].reshape(*lead, -1), zero).reshape(*lead, lmax + 1, width)
    parts = [rows]
    if bias is not None:
        first = rows[..., :1, :] + of_streams(bias, x.ndim)
        parts = [first, rows[..., 1:, :]]
    for order, matrix in enumerate(others, 1):
        n = lmax - order + 1
        both = product(x[..., slices[order], :].reshape(*lead, 2, -1), matrix).reshape(*lead, 2, 2, n, width)
        minus = both[..., 0, 0, :, :] - both[..., 1, 1, :, :]
        plus = both[..., 0, 1, :, :] + both[..., 1, 0, :, :]
        parts += [minus, plus]
    return jnp.concatenate(parts, axis=-2)
