"""Normalisations that commute with rotations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.equivariant.packed import degrees, kept
from dpjax.nn.ranks import lifted

FLOOR = 1e-5  # added to mean squares of states


def rms(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Vectors (..., n) divided by the root of their mean square, times ``scale`` of the last axes."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * lifted(scale, x.ndim)


def degree_rms(x: jax.Array, rows: np.ndarray, weight: np.ndarray, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """A state divided by the root of the mean square of its degrees, degree 0 without its mean over channels.

    Args:
        x: (..., n_row, n); row 0 is degree 0.
        rows: (n_row,) degree of each row.
        weight: (n_row,) of a row in the mean over rows.
        scale: (..., L + 1, n) by which degrees are multiplied afterwards.
        bias: (..., n) added to degree 0.
    """
    first = x[..., :1, :] - jnp.mean(x[..., :1, :], axis=-1, keepdims=True)
    x = jnp.concatenate([first, x[..., 1:, :]], axis=-2)
    mean = jnp.mean(jnp.einsum("...rc,r->...c", x * x, jnp.asarray(weight, x.dtype)), axis=-1)
    x = x * jax.lax.rsqrt(mean + FLOOR)[..., None, None] * scale[..., rows, :]
    return jnp.concatenate([x[..., :1, :] + bias[..., None, :], x[..., 1:, :]], axis=-2)


def state_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """:func:`degree_rms` of a state (n_atom, (L + 1)^2, n); ``scale`` (L + 1, n), ``bias`` (n,)."""
    lmax = scale.shape[0] - 1
    rows = degrees(lmax)
    lead = (1,) * (x.ndim - 2)
    return degree_rms(
        x, rows, 1.0 / ((2 * rows + 1) * (lmax + 1)), scale.reshape(*lead, *scale.shape), bias.reshape(*lead, -1)
    )


def kept_norm(x: jax.Array, mmax: int, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """:func:`degree_rms` of (stream, ..., n_kept, n) in the frame of edges; ``scale`` (stream, L + 1, n), ``bias`` (stream, n)."""
    lmax = scale.shape[1] - 1
    rows = kept(lmax, mmax)[:, 0]
    weight = 1.0 / ((2 * np.minimum(rows, mmax) + 1) * (lmax + 1))
    lead = (scale.shape[0], *(1,) * (x.ndim - 3))
    return degree_rms(x, rows, weight, scale.reshape(*lead, *scale.shape[1:]), bias.reshape(*lead, -1))
