"""Activations that commute with rotations: degrees times gates made of degree 0, and products on a grid.

Streams have an axis before all others, as in :mod:`dpjax.nn.equivariant.linear`; a map of one stream has length 1 there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.activations import Activation
from dpjax.nn.equivariant.packed import Orders
from dpjax.nn.products import product
from dpjax.nn.ranks import of_streams


def gated(
    x: jax.Array,
    source: jax.Array | None,
    weight: jax.Array | None,
    bias: jax.Array | None,
    act: Activation,
    rows: np.ndarray,
) -> jax.Array:
    """Degree 0 through ``act``, the others times a gate for each degree and channel.

    Args:
        x: (stream, ..., n_row, n); row 0 is degree 0.
        source: of the gates (stream, ..., n); degree 0 is then multiplied by ``act`` of it.  None: degree 0 of ``x``, which becomes
            ``act`` of itself.
        weight: (stream, n, L n), degrees before channels; None where there is only degree 0.
        bias: (stream, L n) or None.
        act: of degree 0.
        rows: (n_row,) degree of each row.
    """
    own = x[..., 0, :]
    first = act(own) if source is None else own * act(source)
    if weight is None:
        return first[..., None, :]
    gates = _gates(own if source is None else source, weight, bias).reshape(*own.shape[:-1], -1, x.shape[-1])
    return jnp.concatenate([first[..., None, :], x[..., 1:, :] * gates[..., rows[1:] - 1, :]], axis=-2)


def gated_orders(x: Orders, weight: jax.Array | None, bias: jax.Array | None, act: Activation) -> Orders:
    """:func:`gated` without a source, of a state in the frame of an edge, order by order."""
    first, *others = x
    if weight is None:
        return (act(first),)
    own = first[..., 0, :]
    gates = _gates(own, weight, bias).reshape(*own.shape[:-1], -1, own.shape[-1])
    zero = jnp.concatenate([act(own)[..., None, :], first[..., 1:, :] * gates], axis=-2)
    return zero, *(part * gates[..., None, m:, :] for m, part in enumerate(others))


def on_sphere(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    grid: tuple[np.ndarray, np.ndarray] | None,
) -> jax.Array:
    """Products of two functions on the sphere, gated by degree 0, to which the gated product of both degrees 0 is added.

    Args:
        x: (stream, ..., n_row, 2 n), one function beside the other.
        weight: (stream, 2 n, n) of the gate.
        bias: (stream, n) or None.
        grid: matrices to the points and back; None where there is only degree 0.
    """
    a, b = jnp.split(x, 2, axis=-1)
    first = jax.nn.silu(a[..., 0, :]) * b[..., 0, :]
    if grid is None:
        return first[..., None, :]
    gate = _gates(x[..., 0, :], weight, bias)
    to, back = (jnp.asarray(matrix, x.dtype) for matrix in grid)
    values = _rows(to, a) * _rows(to, b)
    out = _rows(back, values) * gate[..., None, :]
    return jnp.concatenate([out[..., :1, :] + first[..., None, :], out[..., 1:, :]], axis=-2)


def point_by_point(x: jax.Array, first: jax.Array, second: jax.Array, grid: tuple[np.ndarray, np.ndarray]) -> jax.Array:
    """A small network at each point of a grid: ``first`` (n, 2 n), silu of one half times the other, ``second`` (n, n).

    Only nearly equivariant, as no grid is exact for it.
    """
    to, back = (jnp.asarray(matrix, x.dtype) for matrix in grid)
    return _rows(back, product(swiglu(product(_rows(to, x), first)), second))


def swiglu(x: jax.Array) -> jax.Array:
    """Silu of the first half of (..., 2 n) times the second."""
    a, b = jnp.split(x, 2, axis=-1)
    return jax.nn.silu(a) * b


def _gates(source: jax.Array, weight: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Numbers between 0 and 1 (stream, ..., m) that a map (stream, n, m) makes of vectors (stream, ..., n)."""
    y = product(source, weight)
    return jax.nn.sigmoid(y if bias is None else y + of_streams(bias, y.ndim))


def _rows(matrix: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.einsum("gr,...rc->...gc", matrix, x)
