"""Products of rows with a matrix: values and derivatives of any order are those of ``@``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from dpjax.nn.products import product, repeated_rows, small_products

RNG = np.random.default_rng(0)
ROWS, MATRIX = jnp.asarray(RNG.normal(size=(2, 3, 4))), jnp.asarray(RNG.normal(size=(4, 5)))


def plain(rows, matrix):
    return jnp.sum(jnp.sin(rows @ matrix) ** 2)


def ours(rows, matrix):
    return jnp.sum(jnp.sin(product(rows, matrix)) ** 2)


def twice(fn):
    return jax.grad(lambda *args: sum(jnp.sum(jnp.cos(d)) for d in jax.grad(fn, (0, 1))(*args)), (0, 1))


@pytest.mark.parametrize(
    "derivative",
    [lambda f: jax.grad(f, (0, 1)), twice, lambda f: twice(lambda *args: twice(f)(*args)[0].sum()), jax.hessian,
     lambda f: jax.jacfwd(jax.jacfwd(f, 1), 0), lambda f: jax.jacrev(jax.jacrev(f, 1), 0)],
    ids=["first", "second", "third", "hessian", "forward", "reverse"],
)  # fmt: skip
def test_derivatives_are_those_of_the_operator(derivative):
    assert_equal_trees(jax.jit(derivative(ours))(ROWS, MATRIX), derivative(plain)(ROWS, MATRIX))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, 0), (2, 1)])
def test_both_factors_may_be_mapped_over(axes):
    factors = [x if axis is None else jnp.stack([x, 2 * x], axis) for x, axis in zip((ROWS, MATRIX), axes, strict=True)]
    got, want = (jax.vmap(jax.grad(fn, (0, 1)), axes)(*factors) for fn in (ours, plain))
    assert_equal_trees(got, want)


def test_each_of_a_batch_has_its_own_matrix():
    matrices = jnp.stack([MATRIX, MATRIX - 1.0])
    np.testing.assert_allclose(product(ROWS, matrices), ROWS @ matrices, rtol=1e-13)
    got, want = (jax.jit(twice(fn))(ROWS, matrices) for fn in (ours, plain))
    assert_equal_trees(got, want)
    many = jnp.stack([ROWS, -ROWS])
    got, want = (jax.vmap(jax.grad(fn, (0, 1)), (0, None))(many, matrices) for fn in (ours, plain))
    assert_equal_trees(got, want)


def test_a_repeated_row_sums_on_the_way_back():
    row = jnp.arange(1.0, 5.0)
    np.testing.assert_array_equal(repeated_rows(row, ROWS), jnp.broadcast_to(row, ROWS.shape))
    got = jax.jit(jax.grad(lambda r: jnp.sum(repeated_rows(r, ROWS) * ROWS)))(row)
    np.testing.assert_allclose(got, ROWS.sum((0, 1)), rtol=1e-13)


def test_the_cotangent_is_not_transposed():
    """What the derivative by the matrix writes anew are the rows, not what comes back through activations."""
    text = jax.jit(jax.grad(ours, 1)).lower(ROWS, MATRIX).as_text()
    sums = [line for line in text.splitlines() if "dot_general" in line and "contracting_dims = [0] x [0]" in line]
    assert len(sums) == 1
    assert "(tensor<6x4xf64>, tensor<6x5xf64>)" in sums[0]


def test_a_program_of_any_number_of_rows_is_exported():
    shape = export.symbolic_shape("a, b")
    rows = jax.ShapeDtypeStruct((*shape, 4), jnp.float64)
    whole = export.export(jax.jit(jax.grad(ours)), platforms=("cpu", "cuda"))(
        rows, jax.ShapeDtypeStruct((4, 5), jnp.float64)
    )
    assert_equal_trees(whole.call(ROWS, MATRIX), jax.grad(plain)(ROWS, MATRIX))


def test_the_precision_that_a_program_sets_holds():
    with jax.default_matmul_precision("highest"):
        traced = jax.jit(product).trace(ROWS, MATRIX)
    assert "HIGHEST" in traced.lower().as_text()


def assert_equal_trees(got, want):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_small_products_are_those_of_matrices():
    """For each entry a product of its own, with derivatives to the second order."""
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        a, x = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 5, 4, 3), (2, 5, 3, 6)))
        weight = jnp.asarray(rng.normal(size=(2, 5, 4, 6)))

        def values(product):
            def fn(a, x):
                return jnp.sum(weight * jnp.sin(product(a, x)))

            def slope(a, x):
                return sum(jnp.sum(jnp.cos(g)) for g in jax.grad(fn, (0, 1))(a, x))

            return fn(a, x), *jax.grad(fn, (0, 1))(a, x), *jax.grad(slope, (0, 1))(a, x)

        for got, want in zip(values(small_products), values(jnp.matmul), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-12)
