"""Products of rows with a matrix, with the order of factors that suits XLA on a CPU in derivatives of any order.

The derivative by the matrix is a sum of outer products over rows.  XLA transposes the first factor of that, entry by entry and with
what it was computed from inside the loop.  JAX would put the cotangent there, behind which are activations; here it is the rows,
which are at hand.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def product(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    """``rows @ matrix``: (..., n) and (n, m) to (..., m), or (b, ..., n) and (b, n, m) to (b, ..., m)."""
    dtype = jnp.result_type(rows, matrix)
    rows, matrix = rows.astype(dtype), matrix.astype(dtype)
    batch, (n, m) = matrix.shape[:-2], matrix.shape[-2:]
    flat = _product.bind(rows.reshape(*batch, -1, n), matrix, precision=_precision())
    return flat.reshape(*rows.shape[:-1], m)


def repeated_rows(vector: jax.Array, like: jax.Array) -> jax.Array:
    """``vector`` (m,) as every row of an array (..., m) shaped like ``like``; the way back, a sum over rows, is a product, too."""
    return product(jnp.ones((*like.shape[:-1], 1), vector.dtype), vector[None])


def _precision() -> str | None:
    return jax.config.jax_default_matmul_precision


def _product_plainly(rows: jax.Array, matrix: jax.Array, *, precision: str | None) -> jax.Array:
    last, batch = rows.ndim - 1, tuple(range(rows.ndim - 2))
    return jax.lax.dot_general(rows, matrix, (((last,), (last - 1,)), (batch, batch)), precision=precision)


def _outer_plainly(rows: jax.Array, values: jax.Array, *, precision: str | None) -> jax.Array:
    summed, batch = rows.ndim - 2, tuple(range(rows.ndim - 2))
    return jax.lax.dot_general(rows, values, (((summed,), (summed,)), (batch, batch)), precision=precision)


def _turned(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)


def _primitive(name: str, fn, shape) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(fn)
    primitive.def_abstract_eval(lambda a, b, *, precision: a.update(shape=shape(a, b), weak_type=False))
    mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))

    def batched(args, dims, **how):
        return jax.vmap(lambda a, b: fn(a, b, **how), in_axes=dims)(*args), 0

    batching.primitive_batchers[primitive] = batched
    return primitive


_product = _primitive("row_product", _product_plainly, lambda rows, matrix: (*rows.shape[:-1], matrix.shape[-1]))
_outer = _primitive(
    "outer_sum", _outer_plainly, lambda rows, values: (*rows.shape[:-2], rows.shape[-1], values.shape[-1])
)
ad.defbilinear(
    _product,
    lambda g, rows, matrix, **how: _product.bind(g, _turned(matrix), **how),
    lambda g, rows, matrix, **how: _outer.bind(rows, g, **how),
)
ad.defbilinear(
    _outer,
    lambda g, rows, values, **how: _product.bind(values, _turned(g), **how),
    lambda g, rows, values, **how: _product.bind(rows, g, **how),
)
