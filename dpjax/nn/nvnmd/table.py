"""Functions of one number as tables of cubic polynomials, and how the hardware looks them up."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.nn.nvnmd.floats import add, dot, masked, mul

REMAINDER_CUT = 52 - 16  # of the digits of where a number lies between two nodes, 16 stay


class FunctionTable(NamedTuple):
    """A function of one number with n values.

    Attributes:
        values: (rows, n, 4) coefficients a, b, c, d of ``a z^3 + b z^2 + c z + d``.
        slopes: (rows, n, 4) those of its derivative, which takes the place of the derivative of ``values``.
        intervals: (k, 5) start, end, width of a row, first row and row after the last of intervals, from fine to coarse.
    """

    values: jax.Array
    slopes: jax.Array
    intervals: jax.Array


@jax.custom_vjp
def lookup(x: jax.Array, table: FunctionTable) -> jax.Array:
    """(m, n) values of a function at numbers (m,): from the first interval that holds the number, else from the last one's end."""
    row, z = _place(x, table.intervals)
    a, b, c, d = jnp.moveaxis(table.values[row], -1, 0)
    z = jnp.broadcast_to(z[:, None], a.shape)
    y = add(b, mul(a, z))
    y = add(c, mul(y, z))
    return add(d, mul(y, z))


def _place(x: jax.Array, intervals: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row of the table and place in that row, cut to the digits that the hardware keeps, of numbers (m,)."""
    inside = (x[:, None] >= intervals[None, :, 0]) & (x[:, None] <= intervals[None, :, 1])
    inside = inside.at[:, -1].set(True)
    start, _, width, first, after = jnp.moveaxis(intervals[jnp.argmax(inside, axis=1)], -1, 0)
    z = x - start
    number = jnp.floor(z / width)
    last = after - first - 1.0
    z = jnp.where(number < 0.0, 0.0, jnp.where(number > last, width, z - number * width))
    row = first + jnp.clip(number, 0.0, last)
    return row.astype(jnp.int32), masked(z, REMAINDER_CUT)


def _pull(own: tuple[jax.Array, FunctionTable], g: jax.Array) -> tuple[jax.Array, FunctionTable]:
    x, table = own
    nothing = jax.tree.map(jnp.zeros_like, table)
    slope = lookup(x, FunctionTable(table.slopes, nothing.slopes, table.intervals))
    return dot(slope, g)[:, 0], nothing


lookup.defvjp(lambda x, table: (lookup(x, table), (x, table)), _pull)
