"""Moving averages, accumulated gradients, frames with close atoms, and the bias after training, in whole runs."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import optax
import pytest

import dpjax
from dpjax import optimizers
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError, DataError
from dpjax.training.bias import drawn_batches, shifted_bias
from dpjax.training.lcurve import read_lcurve
from dpjax.training.programs import Programs
from dpjax.training.setup import prepare
from tests.training import tiny
from tests.training.test_restart import same


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "system", n_frame=4)


def inputs(system, edits=None) -> dict:
    return tiny.config([system], tiny.ENERGY_ONLY | {"training/numb_steps": 4, "training/save_freq": 1} | (edits or {}))


def params(path) -> dict:
    return load_checkpoint(path)[0]["params"]


@pytest.mark.slow
def test_averages_follow_the_parameters(system, tmp_path):
    edits = {"training/enable_ema": True, "training/ema_decay": 0.5, "training/ema_ckpt_keep": 2}
    dpjax.train(inputs(system, edits), tmp_path)
    assert sorted(p.name for p in tmp_path.glob("model.ckpt_ema-*")) == ["model.ckpt_ema-3", "model.ckpt_ema-4"]
    before, arrays = (load_checkpoint(tmp_path / f"model.ckpt-{step}")[0] for step in (3, 4))
    expected = jax.tree.map(lambda s, p: s + 0.5 * (p - s), before["ema"], arrays["params"])
    assert all(jax.tree.leaves(jax.tree.map(np.allclose, arrays["ema"], expected)))
    own = load_checkpoint(tmp_path / "model.ckpt_ema-4")[0]
    assert same(own["params"], arrays["ema"]) and set(own) == {"step", "params", "stats"}
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-4\n"
    structure = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0]])[None], np.array([0, 1, 1])
    averaged, plain = (dpjax.load(tmp_path / f"model.ckpt{x}-4").evaluate(*structure) for x in ("_ema", ""))
    assert averaged["energy"] != plain["energy"]


def test_accumulated_gradients_are_added_up():
    """Two steps of half a batch are one of the whole; between them nothing moves."""
    tx = optimizers.accumulate(optax.chain(optimizers.clip_by_global_norm(1.0), optax.sgd(0.1)), 2)
    start = {"w": np.array([1.0, -2.0])}
    state = tx.init(start)
    first, state = tx.update({"w": np.array([3.0, 0.0])}, state, start)
    second, state = tx.update({"w": np.array([0.0, 4.0])}, state, start)
    assert np.all(first["w"] == 0.0)
    np.testing.assert_allclose(second["w"], [-0.06, -0.08], rtol=1e-6)  # of the sum (3, 4), clipped to length 1


def test_the_rate_follows_the_updates(system, tmp_path):
    """Six steps in twos: three updates, whose schedule ends with the last; a kill between two changes nothing."""
    edits = {
        "training/numb_steps": 6, "training/acc_freq": 2, "training/disp_freq": 1, "training/enable_ema": True,
        "learning_rate": {"type": "exp", "start_lr": 0.01, "stop_lr": 1e-4, "decay_steps": 1},
    }  # fmt: skip
    dpjax.train(inputs(system, edits), tmp_path / "whole")
    rates = read_lcurve(tmp_path / "whole" / "lcurve.out")["lr"]
    np.testing.assert_allclose(rates, np.repeat([1e-2, 2.2e-3, 4.6e-4], 2), rtol=0.03)
    paths = [tmp_path / "whole" / f"model.ckpt-{step}" for step in (2, 3, 4)]
    assert same(params(paths[0]), params(paths[1])) and not same(params(paths[1]), params(paths[2]))
    assert same(load_checkpoint(paths[0])[0]["ema"], load_checkpoint(paths[1])[0]["ema"])
    dpjax.train(inputs(system, edits), tmp_path / "again", restart=paths[1])
    ends = [load_checkpoint(tmp_path / run / "model.ckpt-6")[0] for run in ("whole", "again")]
    assert same(*ends)


def test_more_accumulation_than_steps_is_refused(system):
    with pytest.raises(ConfigError, match=r"training/acc_freq: found 5, more than training/numb_steps \(4\)"):
        load(inputs(system, {"training/acc_freq": 5}))


def test_frames_with_close_atoms_are_left_out(system, tmp_path):
    setup = prepare(load(inputs(system)))
    nearest = sorted(setup.training.source.nearest(0, frame) for frame in range(4))
    limit = (nearest[1] + nearest[2]) / 2
    some = prepare(load(inputs(system, {"training/training_data/min_pair_dist": limit})))
    seen = {int(i) for _ in range(8) for _, frames in some.training.next_parts() for i in frames}
    assert seen == {f for f in range(4) if setup.training.source.nearest(0, f) >= limit} and len(seen) == 2
    none = prepare(load(inputs(system, {"training/training_data/min_pair_dist": 2.9})))
    with pytest.raises(DataError, match=r"min_pair_dist: found 2.9 angstrom, and no frame"):
        none.training.next_parts()
    with pytest.raises(ConfigError, match=r"min_pair_dist: found 4.0, but distances beyond the cut-off"):
        prepare(load(inputs(system, {"training/training_data/min_pair_dist": 4.0})))


@pytest.mark.slow
def test_the_bias_is_shifted_to_the_data_in_the_last_checkpoint(system, tmp_path):
    """The same frames ask for no further shift; parameters are as they were."""
    edits = {"training/enable_ema": True, "training/training_data/batch_size": 4}
    kept = dpjax.train(inputs(system, edits), tmp_path / "kept").checkpoint
    changed = dpjax.train(
        inputs(system, edits | {"training/change_bias_after_training": True}), tmp_path / "changed"
    ).checkpoint
    assert same(params(kept), params(changed))
    for stem in ("model.ckpt", "model.ckpt_ema"):
        pot = dpjax.load(tmp_path / "changed" / f"{stem}-4")
        setup = prepare(load(inputs(system)), (pot.config, pot.variables))
        batches = drawn_batches(setup.training, 10, 0, "energy", setup.mesh)
        totals = partial(Programs(setup).totals, setup.variables["params"])
        bias = pot.variables["stats"]["out_bias"]
        np.testing.assert_allclose(shifted_bias(pot.config, bias, batches, totals), bias, rtol=0, atol=1e-9)
    biases = [load_checkpoint(path)[0]["stats"]["out_bias"] for path in (kept, changed)]
    assert not np.allclose(*biases)
