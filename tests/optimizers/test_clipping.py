"""Clipping by the global norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import optimizers

GRADIENT = {"a": jnp.array([3.0, 0.0]), "b": {"c": jnp.array([[4.0]])}, "none": jnp.zeros((0,))}  # norm 5


def clipped(gradient, max_norm):
    tx = optimizers.clip_by_global_norm(max_norm)
    return tx.update(gradient, tx.init(gradient))[0]


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 4.9999999, 5.0])
def test_formula_above_the_limit(max_norm):
    factor = min(1.0, max_norm / (5.0 + 1e-6))
    np.testing.assert_allclose(clipped(GRADIENT, max_norm)["a"], factor * GRADIENT["a"], rtol=1e-15)
    np.testing.assert_allclose(clipped(GRADIENT, max_norm)["b"]["c"], factor * GRADIENT["b"]["c"], rtol=1e-15)


@pytest.mark.parametrize("max_norm", [5.1, 1e9, 0.0, -1.0])
def test_nothing_changes_below_the_limit_or_without_one(max_norm):
    np.testing.assert_array_equal(clipped(GRADIENT, max_norm)["a"], GRADIENT["a"])


def test_zero_gradients_stay_zero():
    zero = jax.tree.map(jnp.zeros_like, GRADIENT)
    assert not np.any(clipped(zero, 1.0)["a"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_squares_that_overflow_do_not(dtype):
    size = 1e30 if dtype == jnp.float32 else 1e200
    gradient = {"a": jnp.array([3.0, 4.0], dtype) * size}
    np.testing.assert_allclose(optimizers.global_norm(gradient), 5.0 * size, rtol=1e-6)
    got = clipped(gradient, 1.0)["a"]
    assert got.dtype == dtype
    np.testing.assert_allclose(got, [0.6, 0.8], rtol=1e-6)
    with jax.enable_x64(False):
        np.testing.assert_allclose(optimizers.global_norm({"a": jnp.array([3e30, 4e30])}), 5e30, rtol=1e-6)


def test_what_is_not_finite_is_named():
    bad = {"net": {"bias": jnp.array([1.0, np.nan]), "matrix": jnp.ones(2)}, "w": jnp.array(np.inf)}
    assert optimizers.nonfinite_names(bad) == ["net.bias", "w"]
    assert optimizers.nonfinite_names(GRADIENT) == []
    assert not np.isfinite(optimizers.global_norm(bad))
