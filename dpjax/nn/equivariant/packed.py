"""Where the components of an equivariant state lie.

A state of degree L has ``(L + 1)^2`` rows: component (l, m) is row ``l^2 + l + m``, m from -l to l.  In the frame of an edge only
orders ``|m| <= M`` are kept, sorted by order: those of m = 0 by degree, then for each m > 0 those of -m and those of +m by degree.
There an array for each order (:func:`by_orders`) suits maps that act on each by itself.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

Orders = tuple[jax.Array, ...]
"""A state in the frame of an edge: (..., L + 1, n) of order 0, and for each other one (..., 2, L - m + 1, n), of -m and of +m."""


@cache
def degrees(lmax: int) -> np.ndarray:
    """((L + 1)^2,) degree of each row of a state."""
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


@cache
def kept(lmax: int, mmax: int) -> np.ndarray:
    """(n_kept, 2) degree and order of what is kept in the frame of an edge."""
    rows = [(ell, 0) for ell in range(lmax + 1)]
    for m in range(1, mmax + 1):
        rows += [(ell, sign * m) for sign in (-1, 1) for ell in range(m, lmax + 1)]
    return np.array(rows)


@cache
def kept_rows(lmax: int, mmax: int) -> np.ndarray:
    """(n_kept,) rows of a state that are kept."""
    ell, m = kept(lmax, mmax).T
    return ell * ell + ell + m


@cache
def order_slices(lmax: int, mmax: int) -> tuple[slice, ...]:
    """For each order 0..M where its rows lie among those kept: of m = 0, or of -m and +m, equally many each."""
    starts = np.cumsum([0, lmax + 1, *(2 * (lmax - m + 1) for m in range(1, mmax + 1))])
    return tuple(slice(int(a), int(b)) for a, b in zip(starts[:-1], starts[1:], strict=True))


@cache
def leaving(lmax: int, mmax: int) -> np.ndarray:
    """(L + 1,) by which degrees are multiplied on the way back, for the orders that were left out."""
    ell = np.arange(lmax + 1)
    return np.sqrt((2 * ell + 1) / (2 * np.minimum(ell, mmax) + 1))


def by_orders(x: jax.Array, lmax: int, mmax: int) -> Orders:
    """An array for each order, of all kept rows (..., n_kept, n)."""
    lead, n = x.shape[:-2], x.shape[-1]
    first, *others = jnp.split(x, [rows.stop for rows in order_slices(lmax, mmax)[:-1]], axis=-2)
    return first, *(part.reshape(*lead, 2, -1, n) for part in others)


def in_a_row(parts: Orders) -> jax.Array:
    """The way back from :func:`by_orders`."""
    lead, n = parts[0].shape[:-2], parts[0].shape[-1]
    return jnp.concatenate([part.reshape(*lead, -1, n) for part in parts], axis=-2)
