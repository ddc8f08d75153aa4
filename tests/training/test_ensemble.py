"""Ensembles: each member is what a run of its own gives, and one checkpoint holds them all."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError, ModelError
from dpjax.interfaces.bias import change_bias
from dpjax.training import setup as training_setup
from dpjax.training.lcurve import read_lcurve
from tests.training import tiny
from tests.training.test_restart import same

EDITS = {
    "training/numb_steps": 4, "training/save_freq": 2, "training/disp_freq": 1, "training/gradient_max_norm": 0.5,
    "training/enable_ema": True, "training/ema_decay": 0.5, "loss/start_pref_v": 0, "loss/limit_pref_v": 0,
    "dpjax/ensemble": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "system")


@pytest.fixture(scope="module")
def done(system, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    return dpjax.train(tiny.config([system], EDITS), output), output


def test_the_first_member_is_what_one_model_becomes(done, system, tmp_path):
    """Its gradient is clipped by its own norm, and the learning curve shows means over the members."""
    single = dpjax.train(tiny.config([system], EDITS | {"dpjax/ensemble": 1}), tmp_path).checkpoint
    ours, theirs = load_checkpoint(done[0].checkpoint)[0], load_checkpoint(single)[0]
    for name in ("params", "ema"):
        for a, b in zip(tree_leaves(ours[name]), tree_leaves(theirs[name]), strict=True):
            assert a.shape == (3, *b.shape)
            np.testing.assert_allclose(a[0], b, rtol=0, atol=1e-12)
            assert a.size <= 3 or not np.allclose(a[1], a[2])
    assert done[0].programs == 1
    assert read_lcurve(done[1] / "lcurve.out")["rmse_f_trn"].shape == (4,)


@pytest.mark.slow
def test_members_that_are_computed_together_become_the_same(done, system, tmp_path, monkeypatch):
    """As on accelerators."""
    monkeypatch.setattr(training_setup, "take_turns", lambda: False)
    validation = {"training/validation_data": {"systems": [str(system)], "batch_size": 2}}
    result = dpjax.train(tiny.config([system], EDITS | validation), tmp_path)
    ours, theirs = (load_checkpoint(run.checkpoint)[0] for run in (result, done[0]))
    for name in ("params", "ema"):
        for a, b in zip(tree_leaves(ours[name]), tree_leaves(theirs[name]), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    rows = [read_lcurve(folder / "lcurve.out")["rmse_f_trn"] for folder in (tmp_path, done[1])]
    np.testing.assert_allclose(*rows, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("turns", [True, False])
def test_each_member_has_a_scale_of_its_own(system, tmp_path, monkeypatch, turns):
    monkeypatch.setattr(training_setup, "take_turns", lambda: turns)
    single = {"model/descriptor/precision": "float32", "model/fitting_net/precision": "float32"}
    mixed = {"training/mixed_precision": {"compute_prec": "float16"}}
    result = dpjax.train(tiny.config([system], EDITS | single | mixed), tmp_path)
    assert load_checkpoint(result.checkpoint)[0]["scale"]["factor"].shape == (3,)
    again = dpjax.train(
        tiny.config([system], EDITS | single | mixed), tmp_path / "x", restart=tmp_path / "model.ckpt-2"
    )
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(again.checkpoint)[0])


def tree_leaves(tree) -> list[np.ndarray]:
    return [leaf for part in tree.values() for leaf in tree_leaves(part)] if isinstance(tree, dict) else [tree]


def test_members_are_loaded_one_by_one(done):
    coord, types = np.array([[[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0]]]), np.array([0, 1, 1])
    energies = [dpjax.load(done[1], member=i).evaluate(coord, types)["energy"].item() for i in range(3)]
    assert len(set(energies)) == 3
    assert dpjax.load(f"{done[0].checkpoint}#2").evaluate(coord, types)["energy"].item() == energies[2]
    with pytest.raises(ModelError, match=r"an ensemble of 3 models and none was chosen. Name one, 0 to 2: .*#0"):
        dpjax.load(done[1])
    with pytest.raises(ModelError, match="and 3 was asked for"):
        dpjax.load(done[1], member=3)


def test_a_restart_ends_with_the_same_bits(done, system, tmp_path):
    config = tiny.config([system], EDITS)
    result = dpjax.train(config, tmp_path, restart=done[1] / "model.ckpt-2")
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(done[0].checkpoint)[0])
    with pytest.raises(ConfigError, match=r"dpjax/ensemble: found 2, but .* is not an ensemble of so many"):
        dpjax.train(config | {"dpjax": {"ensemble": 2}}, tmp_path / "two", restart=done[1] / "model.ckpt-2")


@pytest.mark.slow
def test_the_common_bias_follows_the_mean_of_the_members(system, tmp_path):
    """Shifted after the training, the same frames ask for no further shift."""
    edits = {"training/change_bias_after_training": True, "training/numb_steps": 1}
    result = dpjax.train(tiny.config([system], EDITS | edits), tmp_path / "run")
    bias = load_checkpoint(result.checkpoint)[0]["stats"]["out_bias"]
    again = change_bias(result.checkpoint, tmp_path / "again", system)
    np.testing.assert_allclose(again, bias, rtol=0, atol=1e-9)
    elsewhere = dpjax.load(tmp_path / "again", member=2)
    assert same(elsewhere.variables["params"], dpjax.load(result.checkpoint, member=2).variables["params"])


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"optimizer": {"type": "LKF"}}, "dpjax/ensemble: found 3 with the optimizer LKF"),
        ({"dpjax/ensemble": 0}, "dpjax/ensemble: found 0; it must be at least 1"),
    ],
)
def test_what_an_ensemble_cannot_do(system, edits, message):
    with pytest.raises(ConfigError, match=message):
        load(tiny.config([system], EDITS | edits))
