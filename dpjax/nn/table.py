"""Smooth functions of one variable as tables: piecewise polynomials of degree 5 through values and two derivatives at nodes.

Nodes are ``step`` apart where data lie and ten times as far outside.  Between two nodes the polynomial has the value, slope and
curvature of the function at both (quintic Hermite interpolation), so the error falls with the sixth power of the step, and the
table has two continuous derivatives.  Beyond the last nodes it goes on as a straight line.  This is the rule by which DeePMD-kit
compresses embedding networks (Lu et al., J. Chem. Theory Comput. 18, 5559 (2022), arXiv:2107.02103).

Looking up a table at thousands of neighbours moves much memory: six rows of it for each.  Where a sum over neighbours is wanted and
the table equals piecewise Chebyshev series to rounding, :func:`table_sums` takes these instead (:mod:`dpjax.nn.chebyshev`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dpjax.nn.chebyshev import Grid, Interval, Series, weighted_sums

COLLECTION = "tables"
PLACES = ("origin", "pieces")  # arrays of a table that say where its nodes are
COARSE = 10  # steps between the nodes outside of where data lie
SERIES_STRIDE = 4  # of the grids that stored series belong to


class Table(NamedTuple):
    """A function of one number with ``n_out`` values.

    Attributes:
        nodes: (n_node, 3, n_out) value, first and second derivative.
        origin: (2,) where the fine part begins, and its step.
        pieces: (2,) int32 coarse pieces before the fine part, and fine ones.
        value, slope: (panels, order, n_out) series of the function and its derivative over the fine part; None: there are none.
    """

    nodes: jax.Array
    origin: jax.Array
    pieces: jax.Array
    value: jax.Array | None = None
    slope: jax.Array | None = None

    @property
    def interval(self) -> Interval:
        """The fine part."""
        dtype = self.nodes.dtype
        return Interval(self.origin[0].astype(dtype), (self.origin[0] + self.pieces[1] * self.origin[1]).astype(dtype))

    @property
    def series(self) -> tuple[Series, Grid]:
        """Series over the fine part, and their grid."""
        panels, order, n_out = self.value.shape
        flat = (array.reshape(panels * order, n_out) for array in (self.value, self.slope))
        return Series(*flat), Grid(panels, SERIES_STRIDE, order // SERIES_STRIDE)


def tabulate(
    fn: Callable[[jax.Array], jax.Array], lower: float, upper: float, step: float, ends: tuple[float, float]
) -> Table:
    """The table of a function.

    Args:
        fn: (n,) -> (n, n_out), twice differentiable; a ``Partial`` where only parameters differ.
        lower, upper: where data lie: pieces of ``step``.
        step: distance of the nodes there.
        ends: the table reaches at least from the first to the second, in pieces ten times as long.
    """
    n_fine = _pieces(upper - lower, step)
    n_before = _pieces(lower - ends[0], COARSE * step)
    n_after = _pieces(ends[1] - (lower + n_fine * step), COARSE * step)
    place = np.concatenate(
        [COARSE * np.arange(-n_before, 0), np.arange(n_fine), n_fine + COARSE * np.arange(n_after + 1)]
    )
    nodes = jnp.asarray(lower + step * place)

    fn = fn if isinstance(fn, Partial) else Partial(fn)
    return Table(_with_derivatives(fn, nodes), np.asarray([lower, step]), np.asarray([n_before, n_fine], np.int32))


@jax.jit
def _with_derivatives(fn: Partial, x: jax.Array) -> jax.Array:
    """(n, 3, n_out) value, first and second derivative; one program for all networks of one shape."""

    def slope(x: jax.Array) -> jax.Array:
        return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]

    return jnp.stack([fn(x), *jax.jvp(slope, (x,), (jnp.ones_like(x),))], axis=1)


def _pieces(length: float, step: float) -> int:
    """Pieces that cover a length; a length that is a multiple of the step but for rounding needs no more."""
    return max(0, int(np.ceil(length / step - 1e-9)))


def reach(table: Table) -> tuple[float, float]:
    """First and last node."""
    (lower, step), (before, fine) = (np.asarray(part) for part in (table.origin, table.pieces))
    after = table.nodes.shape[0] - 1 - before - fine
    return float(lower - COARSE * step * before), float(lower + step * fine + COARSE * step * after)


def lookup(table: Table, x: jax.Array, order: int = 0) -> jax.Array:
    """The function, or its first or second derivative, at ``x`` (...), as (..., n_out).

    Derivatives by ``x`` of any order are those of the polynomials; the table itself is not differentiated.
    """
    return _lookup(table.nodes, table.origin, table.pieces, x, order)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _lookup(nodes: jax.Array, origin: jax.Array, pieces: jax.Array, x: jax.Array, order: int) -> jax.Array:
    left, weights = _weights(origin, pieces, nodes.shape[0], x, order)
    here, there = nodes.at[left].get(mode="promise_in_bounds"), nodes.at[left + 1].get(mode="promise_in_bounds")
    numbers = [side[..., j, :] for side in (here, there) for j in range(3)]
    terms = [w[..., None] * part for w, part in zip(weights, numbers, strict=True)]
    return sum(terms[1:], terms[0])


def _lookup_jvp(order, primals, tangents):
    nodes, origin, pieces, x = primals
    out = _lookup(nodes, origin, pieces, x, order)
    return out, _lookup(nodes, origin, pieces, x, order + 1) * tangents[3][..., None]


_lookup.defjvp(_lookup_jvp)


def _weights(
    origin: jax.Array, pieces: jax.Array, n_node: int, x: jax.Array, order: int
) -> tuple[jax.Array, list[jax.Array]]:
    """Which node lies to the left of ``x``, and the weights of the three numbers of this node and of the next."""
    step, (before, fine) = origin[1].astype(x.dtype), pieces.astype(x.dtype)
    place = (x - origin[0].astype(x.dtype)) / step
    beyond = (place - fine) / COARSE
    node = before + jnp.where(place < 0, place / COARSE, jnp.where(beyond > 0, fine + beyond, place))
    inside = jnp.clip(node, 0.0, n_node - 1.0)
    left = jnp.clip(jnp.floor(inside), 0.0, n_node - 2.0)
    width = jnp.where((left < before) | (left >= before + fine), COARSE * step, step)
    t = inside - left
    weights = [w * width ** (j - order) for j, w in enumerate(hermite(t, order))]
    weights += [(-1) ** (j + order) * w * width ** (j - order) for j, w in enumerate(hermite(1.0 - t, order))]
    if order == 0:  # straight on beyond the ends
        outside = (node - inside) * COARSE * step
        weights[1], weights[4] = weights[1] + jnp.minimum(outside, 0.0), weights[4] + jnp.maximum(outside, 0.0)
    if order > 1:
        weights = [jnp.where(node == inside, w, 0.0) for w in weights]
    return left.astype(jnp.int32), weights


def hermite(t: jax.Array, order: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Polynomials of degree 5 that are 1 in value, slope or curvature at 0 and otherwise 0 there and at 1; or their derivatives.

    In factors, as sums of powers lose digits near 1.  Those that belong to the other end are mirror images.
    """
    s = 1.0 - t
    if order == 0:
        cube = s * s * s
        return cube * (1.0 + t * (3.0 + 6.0 * t)), t * cube * (1.0 + 3.0 * t), 0.5 * t * t * cube
    if order == 1:
        square = s * s
        return -30.0 * t * t * square, square * (1.0 - 3.0 * t) * (1.0 + 5.0 * t), 0.5 * t * square * (2.0 - 5.0 * t)
    if order == 2:
        return -60.0 * t * s * (1.0 - 2.0 * t), -12.0 * t * s * (3.0 - 5.0 * t), s * (1.0 + t * (10.0 * t - 8.0))
    powers = np.array([[1, 0, 0, -10, 15, -6], [0, 1, 0, -6, 8, -3], [0, 0, 0.5, -1.5, 1.5, -0.5]])
    rows = (np.polynomial.polynomial.polyder(row, order)[::-1] for row in powers)
    return tuple(jnp.polyval(jnp.asarray(row, t.dtype), t) for row in rows)


def table_sums(table: Table, weights: jax.Array, x: jax.Array) -> jax.Array:
    """Sum over the last axis of ``weights`` times the function of ``x``: (n, d, k), (n, k) -> (n, d, n_out).

    By series where there are some and all of ``x`` lies in the fine part; else by looking up.
    """

    def by_lookup(weights: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.einsum("ndk,nkm->ndm", weights, lookup(table, x))

    if table.value is None:
        return by_lookup(weights, x)
    functions, grid = table.series
    interval = table.interval

    def by_series(weights: jax.Array, x: jax.Array) -> jax.Array:
        return weighted_sums(weights, x, interval, functions, grid, (x.shape[1],))

    # what a branch keeps for a backward pass is kept, as zeros, by the other one too: so nothing but the arguments
    branches = (jax.checkpoint(branch, prevent_cse=False) for branch in (by_series, by_lookup))
    fine = jnp.all((x >= interval.lower) & (x <= interval.upper))
    return jax.lax.cond(fine, *branches, weights, x)


class Tabulated(nn.Module):
    """A table in the place of a network; its arrays are in the collection ``tables``, which is never trained."""

    dtype: jnp.dtype = jnp.float64

    @property
    def table(self) -> Table:
        """The arrays, in their own precision."""
        arrays = {
            name: self.get_variable(COLLECTION, name) for name in Table._fields if self.has_variable(COLLECTION, name)
        }
        return Table(**{name: jnp.asarray(array) for name, array in arrays.items()})

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., 1) -> (..., n_out), as the network has it."""
        return lookup(self.table, x[..., 0].astype(self.dtype))

    def sums(self, weights: jax.Array, x: jax.Array) -> jax.Array:
        """:func:`table_sums` of weights (n, d, k) and inputs (n, k)."""
        return table_sums(self.table, weights, x)
