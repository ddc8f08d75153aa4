"""What every optimizer keeps: dtypes, one program, the structure of its state, and its hands off frozen parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import optimizers

SECTIONS = {"adam": {"type": "Adam"}, "adam_l2": {"type": "Adam", "weight_decay": 0.1}}
every_optimizer = pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)


def chain(section: dict, max_norm: float = 1.0) -> optax.GradientTransformationExtraArgs:
    schedule = lambda step: 1e-2 / (1 + step)  # noqa: E731
    return optax.chain(optimizers.clip_by_global_norm(max_norm), optimizers.from_config(section, schedule))


def parameters() -> dict:
    return {
        "net": {"matrix": jnp.ones((3, 4)), "bias": jnp.ones(4, jnp.float32), "idt": jnp.asarray(0.1, float)},
        "half": jnp.ones(2, jnp.bfloat16),
        "none": jnp.zeros((0, 2)),
    }


def specs(tree) -> list:
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


@every_optimizer
def test_dtypes_state_and_program_stay_the_same(section):
    tx, params = chain(section), parameters()
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        gradient = jax.tree.map(lambda p: 0.1 * jnp.ones_like(p), params)
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), updates, state

    for _ in range(3):
        after, updates, new_state = step(params, state)
        assert specs(updates) == specs(after) == specs(params)
        assert specs(new_state) == specs(state)
        assert jax.tree.structure(new_state) == jax.tree.structure(state)
        params, state = after, new_state
    assert step._cache_size() == 1


@every_optimizer
def test_state_has_the_dtype_of_the_parameters(section):
    state = optimizers.from_config(section, lambda step: 1e-3).init({"w": jnp.ones(3, jnp.float32)})
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim} == {jnp.dtype(jnp.float32)}


@every_optimizer
def test_extra_arguments_are_accepted(section):
    tx, params = chain(section), {"w": jnp.ones(2)}
    tx.update(params, tx.init(params), params, value=1.0)


@every_optimizer
def test_frozen_parameters_have_no_state_do_not_count_and_do_not_move(section):
    params = {"net": {"a": jnp.full(3, 0.3), "b": jnp.full(3, 0.7)}, "c": jnp.full(2, -0.1)}
    trainable = {"net": {"a": True, "b": False}, "c": False}
    tx, small = optimizers.freeze(chain(section), trainable), chain(section)
    only = {"net": {"a": params["net"]["a"]}}
    state, small_state = tx.init(params), small.init(only)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == sum(leaf.size for leaf in jax.tree.leaves(small_state))
    current = params
    for _ in range(3):
        gradient = jax.tree.map(lambda p: p + 5.0, current) | {"c": jnp.full(2, 1e9)}
        updates, state = tx.update(gradient, state, current)
        small_updates, small_state = small.update({"net": {"a": gradient["net"]["a"]}}, small_state, only)
        current, only = optax.apply_updates(current, updates), optax.apply_updates(only, small_updates)
    assert current["net"]["b"].tobytes() == params["net"]["b"].tobytes()
    assert current["c"].tobytes() == params["c"].tobytes()
    np.testing.assert_array_equal(current["net"]["a"], only["net"]["a"])
    assert not np.any(current["net"]["a"] == params["net"]["a"])


def test_nothing_is_frozen_by_all_true():
    params = {"a": jnp.ones(3)}
    tx = optimizers.freeze(optax.sgd(0.1), {"a": True})
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["a"], -0.1)
