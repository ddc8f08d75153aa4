"""Residual dense layers: the skip rules, time steps, initial values, shared parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.nn.dense import Dense, DenseStack, dense

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_out", [4, 8, 5, 2])
def test_a_skip_connection_follows_the_widths(n_out):
    x, w, b, idt = RNG.normal(size=(7, 4)), RNG.normal(size=(4, n_out)), RNG.normal(size=n_out), RNG.normal(size=n_out)
    plain = np.tanh(x @ w + b) * idt
    skip = {4: x, 8: np.tile(x, 2)}.get(n_out, 0.0)
    np.testing.assert_allclose(dense(x, w, b, idt, act=jnp.tanh, residual=True), plain + skip, rtol=1e-13)
    np.testing.assert_allclose(dense(x, w, b, idt, act=jnp.tanh, residual=False), plain, rtol=1e-13)


@pytest.mark.parametrize("n_out", [1, 2, 3])
def test_one_input_column_is_a_product_like_any_other(n_out):
    x, w, b = RNG.normal(size=(2, 3, 1)), RNG.normal(size=(1, n_out)), RNG.normal(size=n_out)
    skip = {1: x, 2: np.tile(x, 2)}.get(n_out, 0.0)
    np.testing.assert_allclose(dense(x, w, b, act=jnp.tanh, residual=True), np.tanh(x @ w + b) + skip, rtol=1e-13)


def names(params: dict) -> dict:
    return {layer: sorted(leaves) for layer, leaves in params.items()}


def test_only_layers_with_a_skip_connection_carry_a_time_step():
    stack = DenseStack((4, 8, 8, 5, 10), resnet_dt=True, n_out=1)
    params = jax.eval_shape(stack.init, jax.random.key(0), jnp.zeros((1, 4)))["params"]
    has_step = {layer for layer, leaves in params.items() if "idt" in leaves}
    assert has_step == {"layers_0", "layers_1", "layers_2", "layers_4"}  # 4-4, 4-8, 8-8, 5-10; not 8-5, not the output


def test_a_stack_is_its_layers_one_after_another():
    stack = DenseStack((4, 8), "gelu", resnet_dt=True, n_out=1)
    x = RNG.normal(size=(5, 3))
    params = stack.init(jax.random.key(1), x)["params"]
    assert params["layers_2"]["matrix"].shape == (8, 1)
    h = np.asarray(x)
    for layer in ("layers_0", "layers_1"):
        p = params[layer]
        y = jax.nn.gelu(h @ p["matrix"] + p["bias"][None]) * (p["idt"][None] if "idt" in p else 1.0)
        h = y + (np.tile(h, 2) if y.shape[1] == 2 * h.shape[1] else 0.0)
    want = h @ params["layers_2"]["matrix"] + params["layers_2"]["bias"][None]  # linear, no skip connection
    np.testing.assert_allclose(stack.apply({"params": params}, x), want, rtol=1e-12)


def test_a_stack_without_hidden_layers_is_linear():
    stack = DenseStack((), n_out=1)
    params = stack.init(jax.random.key(0), jnp.zeros((1, 3)))["params"]
    assert names(params) == {"layers_0": ["bias", "matrix"]}


def test_shared_layers_have_one_set_of_parameters():
    x = RNG.normal(size=(5, 6))
    shared = DenseStack((6, 6, 6), owners=(0, 1, 1))
    params = shared.init(jax.random.key(2), x)["params"]
    assert sorted(params) == ["layers_0", "layers_1"]
    alone = {**params, "layers_2": params["layers_1"]}
    np.testing.assert_array_equal(
        shared.apply({"params": params}, x), DenseStack((6, 6, 6)).apply({"params": alone}, x)
    )
    gradient = jax.grad(lambda p: shared.apply({"params": p}, x).sum())(params)
    apart = jax.grad(lambda p: DenseStack((6, 6, 6)).apply({"params": p}, x).sum())(alone)
    both = apart["layers_1"]["matrix"] + apart["layers_2"]["matrix"]
    np.testing.assert_allclose(gradient["layers_1"]["matrix"], both, rtol=1e-12)


def test_initial_values_have_the_reference_spread():
    params = Dense(400, residual=True, timestep=True).init(jax.random.key(0), jnp.zeros((1, 200)))["params"]
    matrix, bias, idt = (np.asarray(params[name]) for name in ("matrix", "bias", "idt"))
    np.testing.assert_allclose([matrix.mean(), matrix.std()], [0.0, 1 / np.sqrt(600)], atol=1e-3)
    np.testing.assert_allclose([bias.mean(), bias.std()], [0.0, 1.0], atol=0.15)
    np.testing.assert_allclose([idt.mean(), idt.std()], [0.1, 0.001], atol=2e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
def test_a_stack_computes_in_its_own_precision(dtype):
    stack = DenseStack((4, 4), n_out=1, dtype=dtype)
    out, variables = jax.eval_shape(stack.init_with_output, jax.random.key(0), jnp.zeros((3, 4)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(dtype)}
    assert out.dtype == dtype
