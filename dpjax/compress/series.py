"""Series beside a table, where they equal it to rounding: they are faster to sum over neighbours (benchmarks/NOTES.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.chebyshev import Grid, Series, series, weighted_sums
from dpjax.nn.table import SERIES_STRIDE, Table, lookup

# from coarse to fine, and how far value and slope may differ from the table's, relative to the largest
GRIDS = {
    jnp.dtype(jnp.float64): (tuple(Grid(n, SERIES_STRIDE, 8) for n in (4, 10, 24)), 1e-12, 1e-10),
    jnp.dtype(jnp.float32): (tuple(Grid(n, SERIES_STRIDE, 4) for n in (4, 10, 24)), 1e-7, 1e-6),
}
PROBES = 3  # places in each piece where both are compared


def with_series(tables: Sequence[Table], dtype: jnp.dtype) -> list[Table]:
    """The tables with series over their fine parts, if there are any of one resolution that do not differ from them in ``dtype``.

    Args:
        tables: in float64.
        dtype: in which it will be evaluated.
    """
    grids, *tolerances = GRIDS.get(dtype, ((), 0.0, 0.0))
    for grid in grids:
        found = []
        for table in tables:
            functions = _series_of(table, grid, tolerances)
            if functions is None:
                break
            value, slope = (part.reshape(grid.panels, grid.order, -1) for part in functions)
            found.append(table._replace(value=value, slope=slope))
        else:
            return found
    return list(tables)


def _series_of(table: Table, grid: Grid, tolerances: Sequence[float]) -> Series | None:
    """Series of a table, unless value or slope differ from it by more than the tolerances."""
    arrays = jax.tree.map(jnp.asarray, table)
    found, *gaps = _expanded(arrays, grid, PROBES * int(table.pieces[1]))
    return found if all(gap <= most for gap, most in zip(gaps, tolerances, strict=True)) else None


@partial(jax.jit, static_argnums=(1, 2))
def _expanded(table: Table, grid: Grid, n_probe: int) -> tuple[Series, jax.Array, jax.Array]:
    """Series of a table, and how far their values and slopes are from the table's."""
    interval = table.interval
    place = (np.arange(n_probe) + 0.5) / n_probe
    probes = interval.lower + jnp.asarray(place) * (interval.upper - interval.lower)
    found, _ = series(lambda x: lookup(table, x), interval, grid)
    value, slope = _evaluated(found, table, grid, probes)
    return found, _gap(value, lookup(table, probes)), _gap(slope, lookup(table, probes, 1))


def _evaluated(functions: Series, table: Table, grid: Grid, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Values and slopes of series at ``x`` (n,), each (n, n_out)."""

    def at(x: jax.Array) -> jax.Array:
        weights = jnp.ones((x.shape[0], 1, 1))
        return weighted_sums(weights, x[:, None], table.interval, functions, grid, (1,))[:, 0]

    return jax.jvp(at, (x,), (jnp.ones_like(x),))


def _gap(got: jax.Array, want: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(got - want)) / jnp.maximum(jnp.max(jnp.abs(want)), 1e-30)
