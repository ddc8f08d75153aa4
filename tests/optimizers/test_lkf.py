"""Layer-wise Kalman filter: DeePMD-kit's trajectories, and what holds for any."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import optimizers
from dpjax.config.optimizers import LkfConfig
from dpjax.optimizers import lkf
from tests.shared import golden

INDEX = json.loads(golden("optimizers", "lkf.json").read_text())
RNG = np.random.default_rng(0)


def parameters() -> dict:
    """Whose names sorted are not in the order of their numbers: blocks follow the order that is given."""
    shapes = {"net": {"matrix": (3, 4), "bias": (4,)}, "first": (5, 2), "gain": (), "none": (0, 2)}
    return jax.tree.map(
        lambda shape: jnp.asarray(RNG.normal(size=shape)), shapes, is_leaf=lambda x: isinstance(x, tuple)
    )


ORDER = ("net.matrix", "net.bias", "none", "first", "gain")


@pytest.mark.parametrize("case", INDEX["cases"], ids=lambda case: case["case"])
def test_updates_of_the_reference(case):
    stored = np.load(golden("optimizers", "lkf.npz"))
    arrays = {k.removeprefix(case["case"] + "/"): stored[k] for k in stored.files if k.startswith(case["case"] + "/")}
    order = case["parameter_order"]
    tx = optimizers.from_config(case["optimizer"], lambda step: 1e-3, order)
    params = {name: jnp.asarray(arrays[f"param/{name}"]) for name in order}
    state, update = tx.init(params), jax.jit(tx.update)
    plan = lkf.block_plan(params, case["optimizer"]["kf_blocksize"], order)
    assert list(plan.sizes) == case["block_sizes"]
    for i, call in enumerate(case["calls"]):
        gradient = {name: jnp.asarray(arrays[f"grad/{i}/{name}"]) for name in order}
        np.testing.assert_allclose(state.forget, call["lambda_before"], rtol=1e-14)
        change, state = update(gradient, state, params, error=call["error"], grad_prefactor=call["grad_prefactor"])
        params = optax.apply_updates(params, change)
        for name, value in params.items():
            np.testing.assert_allclose(value, arrays[f"after/{i}/{name}"], rtol=1e-11, atol=1e-13)
    for block, covariance in enumerate(covariances(state, plan)):
        np.testing.assert_allclose(covariance, arrays[f"P/{block}"], rtol=1e-11, atol=1e-13)


def covariances(state, plan) -> list:
    """Those of all blocks, in order."""
    found = {
        i: row
        for p, blocks in zip(state.covariance, plan.stacked.values(), strict=True)
        for i, row in zip(blocks, p, strict=True)
    }
    return [found[i] for i in range(len(found))]


@pytest.mark.parametrize(
    ("sizes", "blocksize", "expected"),
    [
        ([4, 4, 32, 8], 48, (48,)),
        ([4, 4, 32, 8, 1], 48, (48, 1)),
        ([12, 3, 4], 5, (5, 5, 2, 3, 4)),
        ([5, 10, 1], 5, (5, 5, 5, 1)),
        ([3, 0, 2, 0], 5, (5,)),
        ([6, 0], 5, (5, 1)),
        ([], 5, ()),
    ],
)
def test_neighbours_share_a_block_as_long_as_they_fit(sizes, blocksize, expected):
    assert lkf.block_layout(sizes, blocksize) == expected


@pytest.mark.parametrize("blocksize", [1, 7, 16, 100])
def test_scattering_undoes_gathering(blocksize):
    params = parameters()
    blocks = lkf.block_plan(params, blocksize, ORDER)
    assert sum(blocks.sizes) == 27 and max(blocks.sizes) <= blocksize
    again = blocks.scatter(blocks.gather(params), params)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), params, again))


def test_matrices_are_read_column_by_column_in_the_order_given():
    params = parameters()
    (block,) = lkf.block_plan(params, 100, ORDER).gather(params)
    want = [params["net"]["matrix"].T, params["net"]["bias"], params["first"].T, params["gain"]]
    np.testing.assert_array_equal(block[0], np.concatenate([np.ravel(w) for w in want]))


@pytest.mark.parametrize("blocksize", [6, 100])
def test_updates_held_back_are_updates_one_by_one(blocksize):
    """And the covariance stays symmetric to the bit, and shrinks along what was observed."""
    params = parameters()
    blocks = lkf.block_plan(params, blocksize, ORDER)
    at_once = one_by_one = lkf.initial_state(blocks)
    past = lkf.no_corrections(at_once, 4)
    for place in range(3):
        slope = blocks.gather(jax.tree.map(lambda p: jnp.asarray(RNG.normal(size=p.shape)), params))
        error = jnp.asarray(0.1 * (place + 1))
        past, change = lkf.observed(at_once, past, place, slope, error)
        single, expected = lkf.observed(one_by_one, lkf.no_corrections(one_by_one, 1), 0, slope, error)
        one_by_one = lkf.settled(one_by_one, single)
        for a, b in zip(change, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
    at_once = lkf.settled(at_once, past)
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(one_by_one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    for p in (*at_once.covariance, *one_by_one.covariance):
        assert np.array_equal(p, np.swapaxes(p, 1, 2))
        assert np.linalg.eigvalsh(p).min() > 0.0


def test_an_update_lowers_the_error_it_follows():
    """Of a linear model: one number that should be larger by the error."""
    slope, params = {"w": jnp.array([1.0, -2.0, 0.5])}, {"w": jnp.zeros(3)}
    tx = lkf.kalman_filter(LkfConfig())
    change, _ = tx.update(slope, tx.init(params), params, error=jnp.asarray(0.3), grad_prefactor=1.0)
    gained = float(jnp.vdot(slope["w"], change["w"]))
    np.testing.assert_allclose(gained, 0.3 * 5.25 / (5.25 + 0.98), rtol=1e-12)


def test_parameters_without_a_place_in_the_order_are_left_alone():
    params = parameters()
    tx = lkf.kalman_filter(LkfConfig(), ("net.bias",))
    state = tx.init(params)
    assert [p.shape for p in state.covariance] == [(1, 4, 4)]
    gradient = jax.tree.map(jnp.ones_like, params)
    change, _ = tx.update(gradient, state, params, error=1.0, grad_prefactor=2.0)
    assert np.all(change["net"]["bias"] > 0.0)
    assert not np.any(change["net"]["matrix"]) and not np.any(change["first"])


def test_frozen_parameters_are_in_no_block():
    params = parameters()
    trainable = {"net": {"matrix": True, "bias": False}, "first": False, "gain": False, "none": True}
    tx = optimizers.freeze(lkf.kalman_filter(LkfConfig()), trainable)
    state = tx.init(params)
    assert {leaf.shape for leaf in jax.tree.leaves(state)} == {(), (1, 12, 12)}
    change, _ = tx.update(params, state, params, error=1.0, grad_prefactor=1.0)
    assert np.any(change["net"]["matrix"]) and not np.any(change["first"])


def test_an_unknown_name_in_the_order():
    with pytest.raises(KeyError, match="net.weight"):
        lkf.block_plan(parameters(), 10, ("net.weight",))


def test_dtypes_state_and_program_stay_the_same():
    params = {"a": jnp.ones((3, 2), jnp.float32), "b": jnp.ones(2), "c": jnp.asarray(1.0, jnp.bfloat16)}
    tx = lkf.kalman_filter(LkfConfig(kf_blocksize=4))
    state = tx.init(params)
    dtypes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)  # noqa: E731
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float64)}

    @jax.jit
    def step(params, state, error):
        change, state = tx.update(params, state, params, error=error, grad_prefactor=2.0)
        return optax.apply_updates(params, change), state

    for error in (0.1, 0.2, 0.3):
        after, new_state = step(params, state, jnp.asarray(error))
        assert dtypes(after) == dtypes(params) and dtypes(new_state) == dtypes(state)
        params, state = after, new_state
    assert step._cache_size() == 1


def test_the_covariance_is_changed_in_place_where_it_is_donated():
    """Its size counts: 200 MB for a block of 5120 numbers."""
    blocks = lkf.Blocks(("w",), (200,) * 3)
    state = lkf.initial_state(blocks)
    size = state.covariance[0].nbytes

    def step(state, slope):
        past, _ = lkf.observed(state, lkf.no_corrections(state, 2), 0, slope, 0.1)
        past, change = lkf.observed(state, past, 1, slope, 0.1)
        return lkf.settled(state, past), change

    compiled = jax.jit(step, donate_argnums=0).lower(state, (jnp.ones((3, 200)),)).compile()
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes >= size
    assert memory.temp_size_in_bytes < size / 2
