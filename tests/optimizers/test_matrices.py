"""AdamW, AdaMuon and HybridMuon: DeePMD-kit's trajectories, and what the parts of Muon do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import optimizers
from dpjax.config.optimizers import AdaMuonConfig, AdamWConfig, HybridMuonConfig
from dpjax.errors import ConfigError
from dpjax.optimizers import orthogonal, precision
from dpjax.optimizers.hybrid_muon import STEPS, agreement_of
from dpjax.optimizers.routing import matrix_stack, route
from dpjax.optimizers.stacks import in_batches
from tests.optimizers.trajectories import Case, differences, larger_cases, stored_cases


def check(case: Case) -> None:
    """Formulas against the reference without its roundings, then with them."""
    if "after_f64" not in case.results:
        assert differences(case, "reference", "after").max() < 1e-12
        return
    assert differences(case, "full", "after_f64").max() < 1e-9
    kind = "after_uncompiled" if "after_uncompiled" in case.results else "after"
    rounded = differences(case, "reference", kind)
    assert np.median(rounded) < 1e-9
    assert rounded.max() < 1e-5  # now and then a last digit falls the other way


@pytest.mark.parametrize("case", stored_cases().values(), ids=stored_cases())
def test_trajectories_of_the_reference(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", larger_cases().values(), ids=larger_cases())
def test_all_trajectories_of_the_reference(case):
    check(case)


@pytest.mark.parametrize(
    ("name", "shape", "mode", "rule"),
    [
        ("net.layers_0.matrix", (8, 8), "slice", "muon"),
        ("net.layers_0.matrix", (8, 1), "slice", "adam"),  # a vector
        ("net.layers_0.matrix", (1, 1), "flat", "adam"),
        ("net.scalar", (), "slice", "adam"),
        ("net.empty", (0, 3), "slice", "adam"),
        ("net.layers_0.bias", (8, 8), "slice", "adam"),
        ("net.Bias_table.0", (8, 8), "2d", "adam"),
        ("emb.my_adam_w", (4, 4), "slice", "muon"),  # does not start with it
        ("emb.adam_freq", (4, 4), "slice", "adam"),
        ("emb.AdamW_gain.1.12", (4, 4), "slice", "adam_decay"),
        ("emb.adamw_scale", (4,), "slice", "adam_decay"),
        ("adam_list.weights.0", (4, 4), "slice", "muon"),  # only the last part counts
        ("12", (4, 4), "slice", "muon"),
        ("a.b", (4, 4), "slice", "muon"),  # as in the reference; later versions of it say adam
        ("kernel", (3, 6, 4), "slice", "muon"),
        ("kernel", (3, 6, 4), "flat", "muon"),
        ("kernel", (3, 6, 4), "2d", "adam_decay"),
        ("kernel", (3, 1, 4), "2d", "muon"),
    ],
)
def test_routing(name, shape, mode, rule):
    assert route(name, shape, mode) == rule


@pytest.mark.parametrize(
    ("shape", "mode", "stack"),
    [
        ((3, 6, 4), "slice", (3, 6, 4)),
        ((3, 6, 4), "flat", (1, 18, 4)),
        ((3, 6, 4), "2d", None),
        ((2, 1, 6, 6), "slice", (2, 6, 6)),
        ((2, 1, 6, 6), "flat", (1, 12, 6)),
        ((1, 5, 1, 7), "2d", (1, 5, 7)),
        ((2, 3, 4, 5), "slice", (6, 4, 5)),
        ((1, 9), "slice", None),
    ],
)
def test_stacks_of_matrices(shape, mode, stack):
    assert matrix_stack(shape, mode) == stack


def matrices(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(("path", "low", "high"), [("standard", 0.99, 1.01), ("gram", 0.85, 1.15)])
@pytest.mark.parametrize("rounded", ["full", "reference"])
def test_singular_values_come_near_one(path, low, high, rounded):
    x = matrices(2, 5, 12)
    working = x.astype(precision.working_dtype(x.dtype, rounded))
    if path == "gram":
        got = orthogonal.gram_newton_schulz(working, precision.rounding("float16", rounded))
    else:
        got = orthogonal.newton_schulz(working, STEPS, precision.rounding("bfloat16", rounded), 1e-7)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    values = np.linalg.svd(got, compute_uv=False)
    slack = 0.0 if rounded == "full" else 0.02
    assert low - slack < values.min() and values.max() < high + slack
    np.testing.assert_allclose(got, left @ right, atol=0.15)


def test_a_matrix_of_zeros_stays_zero():
    zero = jnp.zeros((1, 3, 4), jnp.float32)
    assert not np.any(orthogonal.newton_schulz(zero, STEPS, precision.to_bfloat16, 1e-7))
    assert not np.any(orthogonal.gram_newton_schulz(zero, precision.to_float16))


@pytest.mark.parametrize(
    ("rounded", "dtype"), [(precision.to_bfloat16, jnp.bfloat16), (precision.to_float16, np.float16)]
)
def test_rounding_is_that_of_the_short_format(rounded, dtype):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=4000) * 10.0 ** rng.uniform(-9, 4, 4000)).astype(np.float32)  # subnormal in float16, too
    values = np.concatenate([values, np.array([0.0, 1.0, 1 + 2**-8, 1 + 2**-11, 2**-14, 6.2e-8, 2.9e-8], np.float32)])
    np.testing.assert_array_equal(jax.jit(rounded)(values), values.astype(dtype).astype(np.float32))


def test_batches_keep_order_and_orientation():
    stacks = [matrices(1, 3, 5), matrices(2, 5, 3, seed=1), matrices(1, 4, 4, seed=2), matrices(3, 3, 5, seed=3)]
    calls = []

    def doubled(x: jax.Array) -> jax.Array:
        calls.append(x.shape)
        return 2.0 * x

    for x, got in zip(stacks, in_batches(doubled, stacks), strict=True):
        np.testing.assert_array_equal(got, 2.0 * x)
    assert sorted(calls) == [(1, 4, 4), (6, 3, 5)]


def test_agreement_of_gradient_and_momentum():
    x = matrices(1, 3, 4)
    stack = jnp.concatenate([x, x, x])
    other = jnp.concatenate([2.0 * x, -x, jnp.zeros_like(x)])
    np.testing.assert_allclose(agreement_of(stack, other), [1.0, 0.0, 0.5], atol=1e-12)


@pytest.mark.parametrize("lr_adjust", [0.0, 4.0])
@pytest.mark.parametrize("config", [AdaMuonConfig, HybridMuonConfig])
def test_decay_and_rates(config, lr_adjust):
    """Without a gradient matrices shrink by the rate, and nothing else moves."""
    params = {"matrix": matrices(3, 3), "bias": matrices(4), "adamw_gain": matrices(4)}
    zero = jax.tree.map(jnp.zeros_like, params)
    tx = optimizers.from_config(config(weight_decay=0.5, lr_adjust=lr_adjust), lambda step: 0.1)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates["matrix"], -0.05 * params["matrix"], rtol=1e-12)
    assert not np.any(updates["bias"])
    share = 1.0 if lr_adjust == 0.0 else 1.0 / lr_adjust
    decayed = -0.05 * share * params["adamw_gain"] if config is HybridMuonConfig else zero["adamw_gain"]
    np.testing.assert_allclose(updates["adamw_gain"], decayed, rtol=1e-12)
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params), params)
    np.testing.assert_allclose(updates["bias"], -0.1 * share, rtol=1e-6)


def test_adamw_is_that_of_optax():
    params, gradient = {"w": matrices(3)}, {"w": matrices(3, seed=1)}
    ours = optimizers.from_config(AdamWConfig(weight_decay=0.3), lambda step: 1e-2)
    theirs = optax.adamw(1e-2, weight_decay=0.3)
    got, _ = ours.update(gradient, ours.init(params), params)
    want, _ = theirs.update(gradient, theirs.init(params), params)
    np.testing.assert_allclose(got["w"], want["w"], rtol=1e-15)


@pytest.mark.parametrize("config", [AdaMuonConfig, HybridMuonConfig])
def test_a_precision_that_does_not_exist(config):
    with pytest.raises(ConfigError, match="muon_precision: found 'float64'; choose 'reference' or 'full'"):
        optimizers.from_config(config(precision="float64"), lambda step: 1e-3).init({"matrix": jnp.eye(2)})
