"""The operations of the NVNMD hardware, bit for bit against DeePMD-kit's kernels, and the derivatives that pass through them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.nn import nvnmd
from tests.shared import golden, shared

OPS = dict(np.load(golden("nvnmd", "ops.npz")))
X, Y, W, H, G = (OPS[f"in/{name}"] for name in "xywhg")
PLACES = {n: (n, 23, -1) for n in (19, 23)}

OPERATIONS = {  # by the names of the references
    "flt(x)": lambda: nvnmd.truncated(X),
    "add_flt(x,y)": lambda: nvnmd.add(X, Y),
    "mul_flt(x,y)": lambda: nvnmd.mul(X, Y),
    "dotmul_flt(h_t,h_t)": lambda: nvnmd.dot(*2 * (jnp.swapaxes(H[:, :3], 1, 2),)),
    "matmul_flt(h,g,row,col)": lambda: nvnmd.product(H, G),
    "matmul_flt(h,g,16,16)": lambda: nvnmd.product(H, G, True, True),
    "matmul_flt2fix(h,g,23)": lambda: nvnmd.fixed_product(H, G),
    "matmul_fitnet(x,w,23,19,col)": lambda: nvnmd.fitting_product(X, W),
    "matmul_fitnet(x,w,23,19,all)": lambda: nvnmd.fitting_product(X, W, True),
    "quantize_floor(x,23)": lambda: nvnmd.quantized(X, PLACES[23], False),
    "quantize_round(x,23)": lambda: nvnmd.quantized(X, PLACES[23], True),
    "quantize_round(x,19)": lambda: nvnmd.quantized(X, PLACES[19], True),
    "tanh4(x)": lambda: nvnmd.tanh4_fixed(X),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_bit_is_that_of_the_reference(name):
    np.testing.assert_array_equal(jax.jit(OPERATIONS[name])(), OPS[f"out/{name}"])


@pytest.mark.parametrize(("name", "tables", "intervals"), [("u2s(u)", "sh", "cfg_u2s"), ("s2g(s)", "g", "cfg_s2g")])
def test_tables_are_looked_up_as_in_the_reference(name, tables, intervals):
    maps = np.load(shared("golden", "tf", "nvnmd_v0", "map_tables.npz"))

    def rows(kind: str) -> np.ndarray:
        return np.concatenate([maps[f"{letter}{kind}/0"].reshape(512, -1, 4) for letter in tables], axis=1)

    table = nvnmd.FunctionTable(rows(""), rows("_grad"), maps[intervals])
    x = OPS[f"in/{name[-2]}"][:, 0]
    np.testing.assert_array_equal(jax.jit(nvnmd.lookup)(x, table), OPS[f"out/map_{name}"][:, 0])


def test_a_sum_of_zeros_is_zero():
    nothing = np.zeros((2, 3))
    for value in (nvnmd.add(nothing, nothing), nvnmd.dot(nothing, nothing), nvnmd.product(nothing, nothing.T)):
        np.testing.assert_array_equal(value, np.zeros_like(value))


def test_halves_are_rounded_away_from_zero():
    halves = np.array([0.5, 1.5, -0.5, -1.5, 0.49999999999999994])
    np.testing.assert_array_equal(nvnmd.quantized(halves, (0, 0, 0), True), [1.0, 2.0, -1.0, -2.0, 0.0])


def test_places_that_count_several_times():
    weight = np.array([[0.0, 1.0, 2.0, 3.0, 0.0, 1.0]] * 3)
    index = np.repeat(np.arange(6), weight[0].astype(int))
    np.testing.assert_array_equal(nvnmd.fixed_product(H, G, weight), nvnmd.fixed_product(H[:, :, index], G[:, index]))


DIFFERENTIABLE = {
    "add": (lambda x: nvnmd.add(x, Y), lambda x: x + Y),
    "mul": (lambda x: nvnmd.mul(x, Y), lambda x: x * Y),
    "scaled": (lambda x: nvnmd.scaled(x[:, :1], Y), lambda x: x[:, :1] * Y),
    "dot": (lambda x: nvnmd.dot(x, Y), lambda x: jnp.sum(x * Y, axis=1, keepdims=True)),
    "copied": (lambda x: nvnmd.mul(*nvnmd.copied(x)), lambda x: x * x),
    "product": (lambda x: nvnmd.product(x, W), lambda x: x @ W),
    "fixed_product": (lambda x: nvnmd.fixed_product(x, W), lambda x: x @ W),
    "fitting_product": (lambda x: nvnmd.fitting_product(x, W), lambda x: x @ W),
    "tanh4": (nvnmd.tanh4_fixed, nvnmd.tanh4),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_pass_roundings(name):
    """The first and the second are those of the function without roundings, up to digits."""
    fixed, smooth = DIFFERENTIABLE[name]
    pull = np.random.default_rng(0).normal(size=smooth(X).shape)

    def gradients(f):
        def first(x):
            return jax.grad(lambda x: jnp.sum(f(x) * pull))(x)

        return first(X), jax.grad(lambda x: jnp.sum(jnp.sin(first(x))))(X)

    for got, want in zip(gradients(fixed), gradients(smooth), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5 * max(1.0, np.abs(want).max()))


def test_tanh4_ends_smoothly():
    x = np.array([-3.0, -2.0, -1e-9, 0.0, 1e-9, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(nvnmd.tanh4(x), [-1, -1, -1e-9, 0, 1e-9, 0.8125, 1, 1], atol=1e-15)
    slope = jax.vmap(jax.grad(nvnmd.tanh4))(np.array([-2.0, 2.0, 2.5]))
    np.testing.assert_allclose(slope, 0.0, atol=1e-15)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(nvnmd.tanh4)))(np.array([1.9999, 2.0001])), 0.0, atol=4e-4)


def test_small_pulls_are_not_rounded_to_nothing():
    def predict(variables):
        return nvnmd.quantized(X @ variables, (23, 21, -1), True)

    def slope(f):
        return np.asarray(jax.grad(lambda w: 1e-8 * jnp.sum(f(w)))(W))

    want = 1e-8 * np.broadcast_to(X.sum(axis=0)[:, None], W.shape)
    assert not slope(predict).any()
    np.testing.assert_allclose(slope(nvnmd.magnified(predict)), want, rtol=1e-4)
