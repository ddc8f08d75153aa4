"""Embedding networks of one input as series: how finely, when it pays, and whether the result is exact to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from dpjax.geometry.environment import switch_weight
from dpjax.nn.activations import is_analytic
from dpjax.nn.chebyshev import Grid, Interval, Series, series
from dpjax.nn.table import Table

SERIES_COST = 0.5  # time of an operation of series, where one of networks takes 1 (benchmarks/NOTES.md)
ACTIVATION_COST = 20  # operations of one activation function


class Precision(NamedTuple):
    """Grids from coarse to fine, and the relative error up to which a series counts as exact."""

    grids: tuple[Grid, ...]
    tolerance: float


PRECISIONS = {
    jnp.dtype(jnp.float64): Precision((Grid(4, 4, 8), Grid(10, 4, 8)), 1e-12),
    jnp.dtype(jnp.float32): Precision((Grid(4, 4, 4), Grid(10, 4, 4)), 1e-7),
}


@flax.struct.dataclass
class Expansion:
    """Series of all embedding networks of a descriptor.

    Attributes:
        intervals: of the inputs, by type of the centre; one for networks that serve all centres.
        functions: by position in ``intervals`` and neighbour type.
        resolved: () bool, whether all series are exact to rounding, or not a number like the networks themselves.
        grid: their resolution.
    """

    intervals: tuple[Interval, ...]
    functions: dict[tuple[int, int], Series]
    resolved: jax.Array
    grid: Grid = flax.struct.field(pytree_node=False)

    complete = True  # no embedding is left that is evaluated for every neighbour


def radial_intervals(
    config: Any, nearest: jax.Array, davg: jax.Array, dstd: jax.Array, dtype: jnp.dtype
) -> tuple[Interval, ...]:
    """Between which values the normalised radial column lies: by type of the centre, or one for networks that serve all centres.

    Args:
        config: hyper-parameters with ``rcut``, ``rcut_smth``, ``env_protection`` and ``type_one_side``.
        nearest: () smallest distance of two atoms, angstrom.
        davg, dstd: (n_type,) statistics of the radial column.
        dtype: of the networks' input.
    """
    nearest = jnp.minimum(nearest, config.rcut / 2.0)  # an interval has a length even where no atom has a neighbour
    most = switch_weight(nearest, config.rcut_smth, config.rcut) / (nearest + config.env_protection)
    lower, upper = -davg / dstd, (most.astype(dtype) - davg) / dstd
    if config.type_one_side:
        return (Interval(jnp.min(lower), jnp.max(upper)),)
    return tuple(Interval(lower[c], upper[c]) for c in range(lower.shape[0]))


def embedding_expansion(
    networks: Mapping[tuple[int, int], Callable[[jax.Array], jax.Array]],
    intervals: Sequence[Interval],
    dtype: jnp.dtype,
    grid: Grid,
) -> Expansion:
    """Expand networks, in float64, so that rounding of the coefficients adds nothing to that of the sums.

    Args:
        networks: of one input, computed in float64, by position in ``intervals`` and neighbour type.
        intervals: of the inputs.
        dtype: of the result.
        grid: resolution.
    """
    functions, errors = {}, []
    for (side, neighbor), network in networks.items():
        exact, error = series(lambda x, network=network: network(x[:, None]), intervals[side], grid)
        functions[side, neighbor] = jax.tree.map(lambda c: c.astype(dtype), exact)
        errors.append(error)
    unresolved = jnp.max(jnp.stack(errors)) > PRECISIONS[jnp.dtype(dtype)].tolerance
    return Expansion(tuple(intervals), functions, ~unresolved, grid)


def stored_grids(tables: Sequence[Table]) -> tuple[Grid, ...]:
    """The resolution of the series that stand beside tables; none where some table has none."""
    grids = {None if table.value is None else table.series[1] for table in tables}
    return tuple(grids) if len(grids) == 1 and None not in grids else ()


def stored_expansion(tables: Mapping[tuple[int, int], Table], intervals: Sequence[Interval], grid: Grid) -> Expansion:
    """The series beside tables, which hold where all inputs lie in the tables' fine parts.

    Args:
        tables: by position in ``intervals`` and neighbour type.
        intervals: of the inputs of this batch.
        grid: of :func:`stored_grids`.
    """
    fine, inside = [None] * len(intervals), []
    for (side, _), table in tables.items():
        fine[side] = table.interval
        inside.append((intervals[side].lower >= fine[side].lower) & (intervals[side].upper <= fine[side].upper))
    functions = {pair: table.series[0] for pair, table in tables.items()}
    return Expansion(tuple(fine), functions, jnp.stack(inside).all(), grid)


def paying_grids(
    config: Any, dtype: jnp.dtype, n_atom: int, nbrs: Sequence[int], n_network: int, n_column: int = 4
) -> tuple[Grid, ...]:
    """The grids, coarse to fine, on which series take less time than networks.

    Args:
        config: hyper-parameters with ``neuron`` and ``activation_function``.
        dtype: of the networks.
        n_atom: centres.
        nbrs: widths of the sections by neighbour type.
        n_network: networks to expand.
        n_column: columns of the environment matrix that are multiplied with the embedding.
    """
    if jnp.dtype(dtype) not in PRECISIONS or not is_analytic(config.activation_function):
        return ()
    widths = zip((1, *config.neuron), config.neuron, strict=False)
    network = sum((2 * n_in + ACTIVATION_COST) * n_out for n_in, n_out in widths)
    slots = n_atom * sum(nbrs)

    def cost(grid: Grid) -> float:
        sums = 2 * n_column * grid.size  # of one neighbour, or of one atom and column
        return slots * sums + n_atom * len(nbrs) * sums * config.neuron[-1] + n_network * grid.size * network

    return tuple(grid for grid in PRECISIONS[jnp.dtype(dtype)].grids if slots * network > SERIES_COST * cost(grid))
