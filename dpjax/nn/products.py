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


def outer_sum(rows: jax.Array, values: jax.Array) -> jax.Array:
    """Sums over rows of what two arrays have there: (b, n, r) and (b, n, m) to (b, r, m)."""
    return _outer.bind(rows, values, precision=_precision())


def small_products(matrices: jax.Array, values: jax.Array) -> jax.Array:
    """A small matrix for each entry: (..., r, d) and (..., d, m) to (..., r, m).

    Sums of products entry by entry, which XLA makes one loop of on a CPU; its products of many small matrices take several times as
    long wherever one of them is turned.
    """
    dtype = jnp.result_type(matrices, values)
    lead = matrices.shape[:-2]
    flat = [x.astype(dtype).reshape(-1, *x.shape[-2:]) for x in (matrices, values)]
    out = _small.bind(*flat, turned=False, precision=_precision())
    return out.reshape(*lead, *out.shape[-2:])


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
    primitive.def_abstract_eval(lambda a, b, **how: a.update(shape=shape(a, b, **how), weak_type=False))
    mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))

    def batched(args, dims, **how):
        return jax.vmap(lambda a, b: fn(a, b, **how), in_axes=dims)(*args), 0

    batching.primitive_batchers[primitive] = batched
    return primitive


_product = _primitive("row_product", _product_plainly, lambda rows, matrix, **how: (*rows.shape[:-1], matrix.shape[-1]))
_outer = _primitive(
    "outer_sum", _outer_plainly, lambda rows, values, **how: (*rows.shape[:-2], rows.shape[-1], values.shape[-1])
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


def _small_plainly(matrices: jax.Array, values: jax.Array, *, turned: bool, precision: str | None) -> jax.Array:
    """``precision`` is that of products of matrices in derivatives."""
    if turned:
        return jnp.sum(matrices[:, :, :, None] * values[:, :, None], axis=1)
    return jnp.sum(matrices[:, :, :, None] * values[:, None], axis=2)


def _small_shape(matrices, values, *, turned: bool, precision: str | None) -> tuple[int, ...]:
    return (*matrices.shape[:-2], matrices.shape[-1 if turned else -2], values.shape[-1])


def _inner_plainly(a: jax.Array, b: jax.Array, *, precision: str | None) -> jax.Array:
    return jax.lax.dot_general(a, b, (((2,), (2,)), ((0,), (0,))), precision=precision)


_small = _primitive("small_products", _small_plainly, _small_shape)
_inner = _primitive("inner_products", _inner_plainly, lambda a, b, **how: (*a.shape[:-1], b.shape[-2]))
ad.defbilinear(
    _small,
    lambda g, a, b, *, turned, **how: _inner.bind(b, g, **how) if turned else _inner.bind(g, b, **how),
    lambda g, a, b, *, turned, **how: _small.bind(a, g, turned=not turned, **how),
)
ad.defbilinear(
    _inner,
    lambda g, a, b, **how: _small.bind(g, b, turned=False, **how),
    lambda g, a, b, **how: _small.bind(g, a, turned=True, **how),
)
