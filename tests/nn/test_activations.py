"""Activations against their formulas, and finite slopes everywhere."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.errors import ConfigError
from dpjax.nn.activations import activation, silut

X = np.array([-700.0, -30.0, -3.0, -1.0, -1e-3, 0.5, 1.0, 2.9, 3.1, 5.9, 6.1, 30.0, 700.0])


def sigmoid(x):
    return np.where(x > 0, 1.0 / (1.0 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1.0 + np.exp(-np.abs(x))))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


FORMULAS = {
    "tanh": np.tanh,
    "gelu": gelu,
    "gelu_tf": gelu,
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0.0), 6.0),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "linear": lambda x: x,
    "none": lambda x: x,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_the_formula(name):
    np.testing.assert_allclose(activation(name)(X), FORMULAS[name](X), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(activation(name.upper())(X), activation(name)(X))


@pytest.mark.parametrize("name", [*FORMULAS, "silut", "silut:2.5", "custom_silu:1.0"])
def test_dtype_is_kept_and_slopes_are_finite(name):
    fn = activation(name)

    @jax.jit
    def value_slope_curvature(x):
        slope = jax.grad(lambda v: jnp.sum(fn(v)))
        return fn(x), slope(x), jax.grad(lambda v: jnp.sum(slope(v)))(x)

    for dtype in (jnp.float32, jnp.float64):
        for values in value_slope_curvature(jnp.asarray(X, dtype)):
            assert values.dtype == dtype
            assert np.isfinite(values).all()
    assert jax.eval_shape(fn, jnp.zeros(3, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("threshold", [3.0, 2.5, 10.0])
def test_silut_has_two_branches_that_meet_with_one_slope(threshold):
    fn = silut(threshold)
    below, above = X[threshold > X], X[threshold <= X]
    np.testing.assert_allclose(fn(below), below * sigmoid(below), rtol=1e-12, atol=1e-300)
    gate = sigmoid(np.float64(threshold))
    slope = gate * (1.0 + threshold * (1.0 - gate))
    np.testing.assert_allclose(fn(above), np.tanh(slope * (above - threshold)) + threshold * gate, rtol=1e-12)
    edge = np.array([threshold - 1e-9, threshold + 1e-9])
    np.testing.assert_allclose(*fn(edge), atol=1e-8)
    np.testing.assert_allclose(*jax.vmap(jax.grad(fn))(edge), atol=1e-7)
    assert fn(jnp.float64(1e6)) <= 1.0 + threshold


def test_silut_spellings():
    x = jnp.linspace(-2.0, 6.0, 9)
    for name in ("silut:3", "custom_silu", "custom_silu:3.0", "SILUT"):
        np.testing.assert_array_equal(activation(name)(x), activation("silut")(x))
    assert not np.array_equal(activation("silut:2.5")(x), activation("silut")(x))


@pytest.mark.parametrize(("name", "message"), [("tanhh", "Choose one of: tanh"), ("silut:x", "must be a number")])
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        activation(name)
