"""Piecewise Chebyshev series: basis, coefficients, derivatives and the error they report."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

from dpjax.nn.chebyshev import Grid, Interval, basis_sums, polynomials, series

GRID = Grid(panels=3, stride=4, strides=6)
INTERVAL = Interval(jnp.asarray(-1.0), jnp.asarray(2.0))
WIDTHS = (4, 2)


def smooth(x):
    return jnp.stack([jnp.tanh(x), jnp.sin(2 * x), jnp.exp(-x)], axis=1)


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 2, (5, 6))
    x[0, :4] = [-1.0, 2.0, np.nextafter(2.0, 0.0), -1.0 + 1e-14]  # both ends and beside them
    return jnp.asarray(rng.normal(size=(5, 4, 6))), jnp.asarray(x)


def by_series(weights, x):
    coefficients, _ = series(smooth, INTERVAL, GRID)
    sums = basis_sums(weights, x, INTERVAL, GRID, WIDTHS)
    return jnp.stack([part @ coefficients for part in jnp.split(sums, len(WIDTHS), axis=2)])


def directly(weights, x):
    values = smooth(x.reshape(-1)).reshape(*x.shape, -1)
    parts = zip(jnp.split(weights, [4], axis=2), jnp.split(values, [4], axis=1), strict=True)
    return jnp.stack([jnp.einsum("ndk,nkm->ndm", w, v) for w, v in parts])


@pytest.mark.parametrize("stride, strides", [(1, 5), (4, 8), (5, 3), (2, 1), (3, 2)])
def test_polynomials_are_those_of_numpy(stride, strides):
    x = np.linspace(-1, 1, 14).reshape(2, 7)
    got = polynomials(jnp.asarray(x), Grid(1, stride, strides))
    want = np.moveaxis(chebyshev.chebvander(x, stride * strides - 1), 2, 1)
    np.testing.assert_allclose(got, want, atol=1e-13)


def test_sums_are_those_of_the_function(points):
    np.testing.assert_allclose(jax.jit(by_series)(*points), jax.jit(directly)(*points), atol=1e-13)


def test_derivatives_are_those_of_the_function(points):
    """First and second, with respect to weights and places, forward and reverse."""
    for differentiate, tolerance in ((jax.jacfwd, 1e-11), (jax.jacrev, 1e-11), (jax.hessian, 1e-8)):
        ours, theirs = (
            jax.jit(differentiate(lambda w, x, f=f: jnp.sum(f(w, x) ** 2), (0, 1)))(*points)
            for f in (by_series, directly)
        )
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, np.abs(b).max()))


def test_rows_may_have_intervals_of_their_own(points):
    weights, x = points
    interval = Interval(jnp.full((5, 1), -1.0), jnp.full((5, 1), 2.0))
    np.testing.assert_allclose(
        basis_sums(weights, x, interval, GRID, WIDTHS), basis_sums(weights, x, INTERVAL, GRID, WIDTHS), atol=1e-14
    )


@pytest.mark.parametrize("sharpness", [1.0, 10.0, 30.0, 100.0])
def test_the_reported_error_bounds_the_true_one(sharpness):
    def fn(x):
        return jnp.tanh(sharpness * (x - 0.3))[:, None]

    coefficients, error = series(fn, INTERVAL, GRID)
    x = jnp.linspace(-1, 2, 301)[:, None]
    got = basis_sums(jnp.ones((301, 1, 1)), x, INTERVAL, GRID, (1,)) @ coefficients
    true = np.abs(got[:, 0] - fn(x[:, 0])).max()
    assert true <= 30 * float(error) + 1e-14
    assert (float(error) < 1e-13) == (sharpness == 1.0)
