"""Unordered pairs of slots: half of a symmetric matrix, for any number of slots, also a symbol of ``jax.export``."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def band(square: jax.Array) -> jax.Array:
    """Each unordered pair of a symmetric matrix once: column d of row j is entry (j, j + d modulo n).

    By slices and reshapes alone, as their derivatives are, too; gathering the upper triangle costs a scatter in each of them.

    Args:
        square: (n_atom, n, n); n may be a symbol of ``jax.export``.

    Returns:
        (n_atom, n, n // 2 + 1); for even n the last column has each of its pairs twice.
    """
    n_atom, n, _ = square.shape
    flat = jnp.concatenate([square, square], axis=2).reshape(n_atom, 2 * n * n)
    skew = jnp.pad(flat, ((0, 0), (0, n))).reshape(n_atom, n, 2 * n + 1)  # row j begins at its diagonal
    return jax.lax.slice_in_dim(skew, 0, n // 2 + 1, axis=2)


def band_number(n: int) -> jax.Array:
    """(1, 1, n // 2 + 1) ordered pairs that an entry of :func:`band` stands for."""
    column = jnp.arange(n // 2 + 1)
    return jnp.where((column == 0) | (2 * column == n), 1.0, 2.0)[None, None]
