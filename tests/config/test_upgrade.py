"""Inputs of earlier DeePMD-kit versions give what the current form gives, and say what was changed."""

from __future__ import annotations

import copy
import logging

import pytest

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import water

DATA = {"systems": ["data_0"], "set_prefix": "set", "batch_size": [1]}
PREFACTORS = {"start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1}
OUTPUT = {"stop_batch": 200000, "seed": 1, "disp_freq": 100, "numb_test": 10, "load_ckpt": "model.ckpt"}
RATE = {"start_lr": 0.002, "decay_steps": 4000, "decay_rate": 0.9}

V0 = {
    "_comment": "model",
    "use_smooth": True,
    "type_map": ["O", "H"],
    "sel_a": [20, 40],
    "rcut_smth": 5.0,
    "rcut": 6.0,
    "filter_neuron": [5, 10],
    "filter_resnet_dt": True,
    "n_axis_neuron": 3,
    "n_neuron": [30, 30],
    "resnet_dt": False,
    "coord_norm": True,
    **DATA,
    **PREFACTORS,
    **OUTPUT,
    **RATE,
}
V1 = {
    "model": {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "se_a",
            "sel": [20, 40],
            "rcut_smth": 5.0,
            "rcut": 6.0,
            "neuron": [5, 10],
            "resnet_dt": True,
            "n_axis_neuron": 3,
            "seed": 1,
        },
        "fitting_net": {"n_neuron": [30, 30], "resnet_dt": False, "seed": 1},
    },
    "learning_rate": {"type": "exp", **RATE},
    "loss": PREFACTORS,
    "training": {**DATA, **OUTPUT},
}
V3 = {
    "model": copy.deepcopy(V1["model"]),
    "learning_rate": {"start_lr": 0.002, "decay_steps": 4000, "stop_lr": 0.002 * 0.9**50},
    "loss": PREFACTORS,
    "training": {
        "training_data": {"systems": ["data_0"], "batch_size": [1]},
        "numb_steps": 200000,
        "seed": 1,
        "disp_freq": 100,
    },
}


@pytest.mark.parametrize("old", [V0, V1], ids=["v0", "v1"])
def test_old_forms_mean_what_the_current_form_means(old, caplog):
    before = copy.deepcopy(old)
    with caplog.at_level(logging.WARNING, "dpjax"):
        raw = config.normalize(old)
    want = config.normalize(V3)
    assert raw["learning_rate"].pop("stop_lr") == pytest.approx(want["learning_rate"].pop("stop_lr"), rel=1e-12)
    assert raw == want
    assert old == before
    for word in ("DeePMD-kit 1.x", "decay_rate", "numb_test", "load_ckpt", "set_prefix"):
        assert word in caplog.text


def test_the_current_form_is_read_without_a_note(caplog):
    with caplog.at_level(logging.INFO, "dpjax"):
        config.normalize(V3)
    assert caplog.text == ""


def test_flat_input_with_a_misspelt_key():
    with pytest.raises(
        ConfigError, match="filter_neurons: unknown key in an input of version 0. Did you mean `filter_neuron`"
    ):
        config.normalize({**V0, "filter_neurons": [1]})


def test_flat_input_without_smoothing_asks_for_another_descriptor():
    flat = {**V0, "use_smooth": False, "sel_r": [30, 60], "axis_rule": [0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]}
    descriptor = config.normalize(flat)["model"]["descriptor"]
    assert (descriptor["type"], descriptor["sel_a"], descriptor["sel_r"]) == ("loc_frame", [20, 40], [30, 60])
    assert config.load(flat).model.descriptor.sel == (50, 100)


def test_flat_input_without_rcut_smth_is_not_smoothed_behind_the_back():
    flat = {k: v for k, v in V0.items() if k != "rcut_smth"}
    with pytest.raises(ConfigError, match="model/descriptor/rcut_smth: found 6.0 with rcut 6.0"):
        config.normalize(flat)


def test_old_default_of_the_learning_rate(caplog):
    old = copy.deepcopy(V1)
    del old["learning_rate"]["start_lr"]
    with caplog.at_level(logging.WARNING, "dpjax"):
        assert config.load(old).learning_rate.start_lr == 1e-3
    assert "start_lr" in caplog.text


def test_old_and_new_data_keys_together():
    with pytest.raises(ConfigError, match="training/systems: found together with training/training_data"):
        config.normalize(water({"training/systems": ["a"]}))


def test_another_set_prefix():
    with pytest.raises(ConfigError, match=r'training/training_data/set_prefix: found "batch"; only folders set\.\*'):
        config.normalize(water({"training/training_data/set_prefix": "batch"}))


def test_keys_that_moved_out_of_training():
    cfg = config.load(water({"training/warmup_steps": 50, "training/opt_type": "Adam", "training/adam_beta1": 0.8}))
    assert cfg.learning_rate.warmup_steps == 50
    assert cfg.optimizer.adam_beta1 == 0.8
    cfg = config.load(water({"training/opt_type": "LKF", "training/kf_blocksize": 1024}))
    assert (cfg.optimizer.type, cfg.optimizer.kf_blocksize) == ("LKF", 1024)


def test_moved_keys_that_contradict_their_new_place():
    with pytest.raises(ConfigError, match="training/warmup_steps: found 50, but learning_rate/warmup_steps is 10"):
        config.load(water({"training/warmup_steps": 50, "learning_rate/warmup_steps": 10}))


def test_keys_newer_than_the_option_list_pass_when_they_ask_for_nothing():
    newer = {
        "model/bridging_method": "None",
        "model/bridging_r_inner": 0.5,
        "training/save_dir": None,
        "training/stat_file_mode": "update",
        "validating/amp_infer": False,
    }
    config.load(water({"training/ema_ckpt_keep": None}))  # as DeePMD-kit 3.2 writes it into out.json
    raw = config.normalize(water(newer))
    assert raw["training"]["save_dir"] is None  # kept where it was given, not filled in
    assert "save_dir" not in config.normalize(water())["training"]
    assert config.load(water(newer)).training == config.load(water()).training
    with pytest.raises(ConfigError, match="validating/amp_infer: found true, but .* is not built yet"):
        config.load(water({"validating/amp_infer": True}))


def test_distributed_training_of_version_1_says_nothing():
    data = water({"training/systems": ["a"], "with_distrib": False})
    del data["training"]["training_data"]
    assert "with_distrib" not in config.normalize(data)
    with pytest.raises(ConfigError, match="with_distrib: unknown key"):
        config.normalize(water({"with_distrib": False}))
