"""Where the components of an equivariant state lie.

A state of degree L has ``(L + 1)^2`` rows: component (l, m) is row ``l^2 + l + m``, m from -l to l.  In the frame of an edge only
orders ``|m| <= M`` are kept, sorted by order: those of m = 0 by degree, then for each m > 0 those of -m and those of +m by degree.
"""

from __future__ import annotations

from functools import cache

import numpy as np


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
