"""What every optimizer keeps: dtypes, one program, the structure of its state, and its hands off frozen parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import optimizers

SECTIONS = {
    "adam": {"type": "Adam"},
    "adam_l2": {"type": "Adam", "weight_decay": 0.1},
    "adamw": {"type": "AdamW"},
    "adamuon": {"type": "AdaMuon"},
    "hybrid_muon": {"type": "HybridMuon"},
    "hybrid_muon_plain": {"type": "HybridMuon", "enable_gram": False, "magma_muon": False, "muon_mode": "2D"},
}
every_optimizer = pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)


def schedule(step: Any) -> Any:
    return 1e-2 / (1 + step)


def chain(section: dict, max_norm: float = 1.0) -> optax.GradientTransformationExtraArgs:
    return optax.chain(optimizers.clip_by_global_norm(max_norm), optimizers.from_config(section, schedule))


def parameters() -> dict:
    return {
        "net": {"matrix": jnp.ones((3, 4)), "bias": jnp.ones(4, jnp.float32), "idt": jnp.asarray(0.1, float)},
        "half": jnp.full(2, 0.01, jnp.bfloat16),  # small, so that an update is not lost in rounding
        "square": jnp.eye(3, dtype=jnp.float32),
        "kernel": jnp.full((2, 3, 4), 0.01, jnp.bfloat16),
        "none": jnp.zeros((0, 2)),
    }


def specs(tree) -> list:
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def gradients(params, seed: int = 0):
    """Of the shapes and dtypes of the parameters."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return tree.unflatten([jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves])


@every_optimizer
def test_dtypes_state_and_program_stay_the_same(section):
    tx, params = chain(section), parameters()
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(gradients(params), state, params)
        return optax.apply_updates(params, updates), updates, state

    for _ in range(3):
        after, updates, new_state = step(params, state)
        assert specs(updates) == specs(after) == specs(params)
        assert specs(new_state) == specs(state)
        assert jax.tree.structure(new_state) == jax.tree.structure(state)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((after, new_state)))
        assert all(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after, params)), strict=True) if a.size)
        params, state = after, new_state
    assert step._cache_size() == 1


@every_optimizer
def test_state_has_the_dtype_of_the_parameters(section):
    params = {"w": jnp.ones(3, jnp.float32), "matrix": jnp.ones((3, 2), jnp.float32)}
    state = optimizers.from_config(section, schedule).init(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim} == {jnp.dtype(jnp.float32)}


@every_optimizer
def test_a_run_that_is_continued_repeats_itself(section):
    """State and parameters go through plain arrays, as in a checkpoint, which knows nothing of the types of optax."""
    tx, start = chain(section), parameters()
    update = jax.jit(tx.update)

    def run(params, state, steps):
        for number in steps:
            updates, state = update(gradients(params, number), state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    whole, _ = run(start, tx.init(start), range(4))
    params, state = run(start, tx.init(start), range(2))
    saved = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    restored = jax.tree.structure(tx.init(start)).unflatten([jnp.asarray(leaf) for leaf in saved])
    again, _ = run(params, restored, range(2, 4))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert a.tobytes() == b.tobytes()


@every_optimizer
def test_a_rate_can_be_imposed(section):
    tx, params = chain(section), {"matrix": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    state, gradient = tx.init(params), gradients(params)
    planned, after = tx.update(gradient, state, params)
    imposed, other = tx.update(gradient, state, params, learning_rate=jnp.asarray(3e-2), value=1.0)
    for a, b in zip(jax.tree.leaves(planned), jax.tree.leaves(imposed), strict=True):
        np.testing.assert_allclose(3.0 * a, b, rtol=1e-14)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)  # the imposed update counts, too
    nothing, _ = tx.update(gradient, state, params, learning_rate=0.0)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(nothing))


@every_optimizer
def test_frozen_parameters_have_no_state_do_not_count_and_do_not_move(section):
    kernel = np.linspace(-1.0, 1.0, 6).reshape(3, 2)
    params = {
        "net": {"a": jnp.full(3, 0.3), "b": jnp.full((3, 3), 0.7), "matrix": jnp.asarray(kernel)},
        "c": jnp.full(2, -0.1),
    }
    trainable = {"net": {"a": True, "b": False, "matrix": True}, "c": False}
    tx, small = optimizers.freeze(chain(section), trainable), chain(section)

    def trained(tree):
        return {"net": {name: tree["net"][name] for name in ("a", "matrix")}}

    only = trained(params)
    state, small_state = tx.init(params), small.init(only)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == sum(leaf.size for leaf in jax.tree.leaves(small_state))
    current = params
    for _ in range(3):
        gradient = jax.tree.map(lambda p: p + 5.0, current) | {"c": jnp.full(2, 1e9)}
        updates, state = tx.update(gradient, state, current)
        small_updates, small_state = small.update(trained(gradient), small_state, only)
        current, only = optax.apply_updates(current, updates), optax.apply_updates(only, small_updates)
    assert current["net"]["b"].tobytes() == params["net"]["b"].tobytes()
    assert current["c"].tobytes() == params["c"].tobytes()
    for name in ("a", "matrix"):
        np.testing.assert_array_equal(current["net"][name], only["net"][name])
        assert not np.any(current["net"][name] == params["net"][name])


def test_nothing_is_frozen_by_all_true():
    params = {"a": jnp.ones(3)}
    tx = optimizers.freeze(optax.sgd(0.1), {"a": True})
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["a"], -0.1)
