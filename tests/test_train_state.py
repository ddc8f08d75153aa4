"""The training state as a plain tree and back: bit by bit, with and without averaged parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax.checkpoints import CheckpointStore
from dpjax.train_state import TrainState, from_arrays, to_arrays
from dpjax.training.step import UpdatePlan, train_step_of
from tests.training.test_restart import same

TX = optax.adam(1e-3)


def params(value: float = 1.0 / 3.0) -> dict:
    return {"net": {"matrix": jnp.full((3, 2), value), "bias": jnp.arange(2, dtype=jnp.float32)}, "nothing": {}}


def state(ema: dict | None = None) -> TrainState:
    """After a few updates, with moments that are not zero."""
    fresh = TrainState.create(params(), TX)
    moments = jax.tree.map(lambda a: a + 3 if a.ndim == 0 else a + 0.1, fresh.opt_state)
    return fresh.replace(step=fresh.step + 3, opt_state=moments, ema=ema)


def stored(tmp_path, saved: TrainState) -> dict:
    """The arrays of a checkpoint on disk."""
    store = CheckpointStore(tmp_path)
    store.save(int(saved.step), to_arrays(saved), {})
    return store.restore()[0]


@pytest.mark.parametrize("ema", [None, params(0.1)], ids=["without ema", "with ema"])
def test_a_state_comes_back_from_a_checkpoint_bit_by_bit(tmp_path, ema):
    before = state(ema)
    after = from_arrays(stored(tmp_path, before), TrainState.create(params(7.0), TX).replace(ema=ema and params(7.0)))
    assert same(before, after)
    assert [a.dtype for a in jax.tree.leaves(before)] == [a.dtype for a in jax.tree.leaves(after)]


def test_a_state_without_averages_is_stored_as_before_there_were_any(tmp_path):
    assert set(stored(tmp_path, state())) == {"step", "params", "opt_state"}
    assert TrainState.create(params(), TX).ema is None


@pytest.mark.parametrize(
    ("saved", "wanted", "message"),
    [
        (None, params(), r"the checkpoint has no averaged ones \(ema\)"),
        (params(), None, r"the checkpoint has averaged parameters \(ema\), but this input averages none"),
        ({"net": {}}, params(), r"averaged parameters \(ema\) of the checkpoint do not fit"),
        (
            jax.tree.map(lambda a: a[:1], params()),
            params(),
            r"averaged parameters \(ema\) of the checkpoint do not fit",
        ),
    ],
    ids=["lacking", "unwanted", "other names", "other shapes"],
)
def test_averages_that_do_not_fit_are_refused(tmp_path, saved, wanted, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(stored(tmp_path, state(saved)), state(wanted))


def test_parameters_of_another_shape_are_refused():
    other = jax.tree.map(lambda a: a[:1], params())
    with pytest.raises(ValueError, match="parameters or optimizer state of the checkpoint do not fit"):
        from_arrays(to_arrays(state()) | {"params": other}, state())


def test_parameters_take_the_precision_of_the_input():
    """As the moments of the optimizer do: the input may ask for another precision than the checkpoint has."""
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), to_arrays(state()))
    restored = from_arrays(wide, state())
    assert restored.params["net"]["bias"].dtype == jnp.float32
    assert same(restored, state())


def test_a_step_hands_on_the_averages():
    def loss(params, stats, data, rate, grid=None):
        return jnp.sum(params["net"]["matrix"] ** 2), {}

    step = jax.jit(train_step_of(loss, TX, UpdatePlan(lambda step: 1e-3)), donate_argnums=0)
    after, _ = step(state(params(0.1)), {}, {})
    assert int(after.step) == 4
    assert same(after.ema, params(0.1))
    assert not same(after.params, params())
