"""Tables: how near they are to the function, their derivatives, what they do beyond their ends, and sums by either form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.compress.series import with_series
from dpjax.nn.table import Table, lookup, reach, table_sums, tabulate

LOWER, UPPER, ENDS = -1.0, 2.0, (-3.0, 9.0)


def curve(x: jax.Array) -> jax.Array:
    return jnp.stack([jnp.tanh(x), jnp.sin(2.0 * x) + x], axis=-1)


def derivative(fn):
    return lambda x: jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]


def table(step: float = 0.05) -> Table:
    return jax.tree.map(jnp.asarray, tabulate(curve, LOWER, UPPER, step, ENDS))


def error(step: float, order: int) -> float:
    x, exact = jnp.linspace(LOWER, UPPER, 701), curve
    for _ in range(order):
        exact = derivative(exact)
    return float(jnp.abs(lookup(table(step), x, order) - exact(x)).max())


@pytest.mark.parametrize("order, power", [(0, 6), (1, 5), (2, 4)])
def test_errors_fall_with_the_power_of_the_step(order, power):
    assert np.log2(error(0.1, order) / error(0.05, order)) == pytest.approx(power, abs=0.3)


def test_derivatives_are_those_of_the_polynomials():
    own = table()
    x = jnp.array([-9.0, -2.71, -0.513, 0.517, 1.9993, 4.23, 8.9, 20.0])

    def values(x):
        return lookup(own, x)

    np.testing.assert_allclose(derivative(values)(x), (values(x + 1e-6) - values(x - 1e-6)) / 2e-6, atol=2e-8)
    np.testing.assert_array_equal(derivative(derivative(values))(x), lookup(own, x, 2))
    step = 1e-5
    slope = (lookup(own, x + step, 1) - lookup(own, x - step, 1)) / (2.0 * step)
    np.testing.assert_allclose(lookup(own, x, 2), slope, atol=1e-6)
    third = derivative(lambda x: lookup(own, x, 2))(x)
    np.testing.assert_allclose(third, (lookup(own, x + 1e-5, 2) - lookup(own, x - 1e-5, 2)) / 2e-5, atol=1e-4)


@pytest.mark.parametrize("ends", [ENDS, (LOWER, UPPER)], ids=["coarse parts", "none"])
def test_ends_are_reached_and_straight_beyond(ends):
    own = jax.tree.map(jnp.asarray, tabulate(curve, LOWER, UPPER, 0.04, ends))
    first, last = reach(own)
    assert first <= ends[0] and last >= ends[1] - 1e-12
    for end, beyond in ((first, -7.0), (last, 30.0)):
        line = lookup(own, jnp.array([end])) + (beyond - end) * lookup(own, jnp.array([end]), 1)
        np.testing.assert_allclose(lookup(own, jnp.array([beyond])), line, rtol=1e-12)
        assert not lookup(own, jnp.array([beyond]), 2).any()


def test_sums_by_series_equal_sums_by_lookup():
    plain = table(0.01)
    [fast] = with_series([plain], jnp.dtype(jnp.float64))
    assert fast.value is not None
    rng = np.random.default_rng(0)
    weights, x = jnp.asarray(rng.normal(size=(3, 4, 20))), jnp.asarray(rng.uniform(LOWER, UPPER, (3, 20)))

    def both(table, x):
        def total(weights, x):
            return jnp.sum(jnp.sin(table_sums(table, weights, x)))

        return jax.jit(jax.value_and_grad(total, (0, 1)))(weights, x)

    for inputs in (x, x.at[0, 0].set(5.0)):  # in the second there is one that series do not know
        for one, two in zip(jax.tree.leaves(both(fast, inputs)), jax.tree.leaves(both(plain, inputs)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)


@pytest.mark.slow  # programs for three resolutions
def test_rough_tables_have_no_series():
    assert with_series([table(0.2)], jnp.dtype(jnp.float64))[0].value is None
