"""Smooth functions of one variable as piecewise Chebyshev series.

An embedding network is a smooth function of one number.  On an interval cut into panels it equals, to rounding, a Chebyshev series
per panel, whose coefficients come from its values at a few hundred nodes (Trefethen, Approximation Theory and Approximation
Practice, SIAM 2013, chapters 3 and 8).  Sums over thousands of neighbours then need the basis functions, which hold no parameters,
instead of the network.  A series tells its own error: the coefficients of an analytic function fall geometrically, so the last ones
bound what is left out, and whoever uses it can fall back on the function itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero

# Name of what is worth keeping for a backward pass; the basis itself is larger and quickly made again.
BASIS_SUMS = "basis_sums"


@dataclass(frozen=True)
class Grid:
    """How finely an interval is resolved: ``panels`` of equal width, a polynomial of degree ``order - 1`` in each."""

    panels: int
    stride: int  # order = stride * strides, which is how the polynomials are computed
    strides: int

    @property
    def order(self) -> int:
        """Coefficients of one panel."""
        return self.stride * self.strides

    @property
    def size(self) -> int:
        """Nodes, and coefficients, of the whole interval."""
        return self.panels * self.order


class Interval(NamedTuple):
    """Where a series holds; both ends (), or (n, 1) for rows with intervals of their own."""

    lower: jax.Array
    upper: jax.Array


class Series(NamedTuple):
    """Coefficients (grid.size, n_out), panel by panel, of a function and of its derivative.

    The derivative has a series of its own, because that of a truncated series magnifies rounding by the square of its order.
    """

    value: jax.Array
    slope: jax.Array


def series(fn: Callable[[jax.Array], jax.Array], interval: Interval, grid: Grid) -> tuple[Series, jax.Array]:
    """The series of ``fn`` on an interval, and their error.

    Args:
        fn: (n,) -> (n, n_out), smooth.
        interval: ends (); not differentiated, as the sum does not depend on them.
        grid: resolution.

    Returns:
        The coefficients, and () the largest of the last two of any panel relative to the largest of all.
    """
    lower, upper = jax.lax.stop_gradient(interval)
    degree = np.arange(grid.order)
    angle = (degree + 0.5) * np.pi / grid.order
    place = (np.arange(grid.panels)[:, None] + (np.cos(angle) + 1.0) / 2.0).reshape(-1) / grid.panels  # in (0, 1)
    nodes = lower + (upper - lower) * jnp.asarray(place / (2.0 - place))
    transform = 2.0 / grid.order * np.cos(np.outer(degree, angle))
    transform[0] /= 2.0
    coefficients, errors = [], []
    for values in jax.jvp(fn, (nodes,), (jnp.ones_like(nodes),)):
        panels = values.reshape(grid.panels, grid.order, -1)
        panels = jnp.einsum("kj,pjm->pkm", jnp.asarray(transform, values.dtype), panels)
        magnitude = jnp.abs(jax.lax.stop_gradient(panels))
        errors.append(jnp.max(magnitude[:, -2:]) / jnp.max(magnitude))
        coefficients.append(panels.reshape(grid.size, -1))
    return Series(*coefficients), jnp.maximum(*errors)


@partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def weighted_sums(
    weights: jax.Array, x: jax.Array, interval: Interval, functions: Series, grid: Grid, widths: Sequence[int]
) -> jax.Array:
    """Sum over the last axis of ``weights`` times functions of ``x``, a different one for each section of that axis.

    Args:
        weights: (n, d, k).
        x: (n, k) inside the interval.
        interval: where the series hold; not differentiated.
        functions: series of the sections, one after the other along the first axis.
        grid: their resolution.
        widths: lengths of the sections, k in all.

    Returns:
        (n, d, n_out).
    """
    sums = _basis_sums(weights, *_basis(x, interval, grid), widths)
    return _times(checkpoint_name(sums, BASIS_SUMS), functions.value)


def _weighted_sums_jvp(grid, widths, primals, tangents):
    """One basis serves all terms; absent ones are left out, which saves a product with zeros."""
    weights, x, interval, functions = primals
    dweights, dx, _, dfunctions = tangents
    basis = _basis(x, interval, grid)
    sums = checkpoint_name(_basis_sums(weights, *basis, widths), BASIS_SUMS)
    terms = []
    if _given(dweights):
        terms.append(_times(_basis_sums(dweights, *basis, widths), functions.value))
    if _given(dx):
        terms.append(_times(_basis_sums(weights * dx[:, None], *basis, widths), functions.slope))
    if _given(dfunctions.value):
        terms.append(_times(sums, dfunctions.value))
    out = _times(sums, functions.value)
    return out, sum(terms[1:], terms[0]) if terms else jnp.zeros_like(out)


weighted_sums.defjvp(_weighted_sums_jvp, symbolic_zeros=True)


def _given(tangent: jax.Array) -> bool:
    return not isinstance(tangent, SymbolicZero)


def _times(sums: jax.Array, coefficients: jax.Array) -> jax.Array:
    """(n, d, size) times (size, n_out) as one matrix product."""
    n, d, size = sums.shape
    return (sums.reshape(n * d, size) @ coefficients).reshape(n, d, -1)


def _basis(x: jax.Array, interval: Interval, grid: Grid) -> tuple[jax.Array, jax.Array]:
    """Which panel each x lies in, (n, panels, k) bool, and the polynomials of its place there, (n, order, k)."""
    place = grid.panels * _place(x, interval)
    panel = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, grid.panels - 1)
    inside = panel[:, None, :] == jnp.arange(grid.panels, dtype=x.dtype)[None, :, None]
    return inside, polynomials(2.0 * (place - panel) - 1.0, grid)


def _place(x: jax.Array, interval: Interval) -> jax.Array:
    """Where ``x`` lies in its interval, from 0 to 1, on a scale that is stretched near the lower end.

    An embedding's input falls with the distance like 1/r: most neighbours are there, and so is the finest structure of its network.
    """
    t = (x - interval.lower) / (interval.upper - interval.lower)
    return 2.0 * t / (1.0 + t)


def polynomials(x: jax.Array, grid: Grid) -> jax.Array:
    """Chebyshev polynomials of degree 0 to ``grid.order - 1`` at ``x`` (n, k), as (n, order, k).

    By ``T_(i+j) = T_i U_j - T_(i-1) U_(j-1)`` they are an outer product of a few of each kind, with i a multiple of ``stride``: one
    wide operation in place of a chain of many.
    """
    first, second = [jnp.ones_like(x), x], [jnp.zeros_like(x), jnp.ones_like(x)]  # T_0, T_1 and U_-1, U_0
    while len(first) <= grid.stride:
        first.append(2.0 * x * first[-1] - first[-2])
        second.append(2.0 * x * second[-1] - second[-2])
    step = first[grid.stride]
    at, before = [first[0], step], [x, first[grid.stride - 1]]  # T_i and T_(i-1)
    while len(at) < grid.strides:
        at.append(2.0 * step * at[-1] - at[-2])
        before.append(2.0 * step * before[-1] - before[-2])
    outer = (
        jnp.stack(at[: grid.strides], 1)[:, :, None] * jnp.stack(second[1:], 1)[:, None]
        - jnp.stack(before[: grid.strides], 1)[:, :, None] * jnp.stack(second[:-1], 1)[:, None]
    )
    return outer.reshape(x.shape[0], grid.order, x.shape[1])


def _basis_sums(weights: jax.Array, inside: jax.Array, polynomials: jax.Array, widths: Sequence[int]) -> jax.Array:
    """Sums of ``weights`` (n, d, k) times every basis function over each section, (n, d, len(widths) * grid.size)."""
    n, d, _ = weights.shape
    panels, order = inside.shape[1], polynomials.shape[1]
    sums, start = [], 0
    for width in widths:
        part = slice(start, start + width)
        spread = jnp.where(inside[:, None, :, part], weights[:, :, None, part], 0.0)  # (n, d, panels, width)
        one = jnp.einsum("nwk,nmk->nwm", spread.reshape(n, d * panels, width), polynomials[:, :, part])
        sums.append(one.reshape(n, d, panels * order))
        start += width
    return jnp.concatenate(sums, axis=2)
