"""Piecewise Chebyshev series: basis, coefficients, derivatives and the error they report."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

from dpjax.nn.chebyshev import Grid, Interval, polynomials, series, weighted_sums

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


def other(x):
    return jnp.stack([jnp.cos(x), x**3, jnp.tanh(1 - x)], axis=1)


def by_series(weights, x, interval=INTERVAL):
    functions = [series(fn, INTERVAL, GRID)[0] for fn in (smooth, other)]
    joined = jax.tree.map(lambda *c: jnp.concatenate(c), *functions)
    return weighted_sums(weights, x, interval, joined, GRID, WIDTHS)


def directly(weights, x):
    values = [
        fn(part.reshape(-1)).reshape(*part.shape, -1) for fn, part in zip((smooth, other), jnp.split(x, [4], axis=1))
    ]
    parts = zip(jnp.split(weights, [4], axis=2), values, strict=True)
    return sum(jnp.einsum("ndk,nkm->ndm", w, v) for w, v in parts)


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
    for differentiate, tolerance in ((jax.jacfwd, 1e-13), (jax.jacrev, 1e-13), (jax.hessian, 1e-10)):
        ours, theirs = (
            jax.jit(differentiate(lambda w, x, f=f: jnp.sum(f(w, x) ** 2), (0, 1)))(*points)
            for f in (by_series, directly)
        )
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, np.abs(b).max()))


def test_rows_may_have_intervals_of_their_own(points):
    interval = Interval(jnp.full((5, 1), -1.0), jnp.full((5, 1), 2.0))
    np.testing.assert_allclose(by_series(*points, interval), by_series(*points), atol=1e-14)


@pytest.mark.parametrize("sharpness", [1.0, 10.0, 30.0, 100.0])
def test_the_reported_error_bounds_the_true_one(sharpness):
    def fn(x):
        return jnp.tanh(sharpness * (x - 0.3))[:, None]

    functions, error = series(fn, INTERVAL, GRID)
    x = jnp.linspace(-1, 2, 301)[:, None]
    sums = partial(weighted_sums, jnp.ones((301, 1, 1)), interval=INTERVAL, functions=functions, grid=GRID, widths=(1,))
    ours, theirs = (jax.jvp(f, (x,), (jnp.ones_like(x),)) for f in (lambda x: sums(x=x)[:, 0], lambda x: fn(x[:, 0])))
    for got, want in zip(ours, theirs, strict=True):
        assert np.abs(got - want).max() <= 30 * float(error) * np.abs(want).max() + 1e-14
    assert (float(error) < 1e-12) == (sharpness == 1.0)
