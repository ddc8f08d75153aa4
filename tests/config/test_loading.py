"""What an input becomes: dataclasses, the normalised dict, aliases, comments."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import WATER, water
from tests.shared import shared


def test_a_whole_input():
    cfg = config.load(water())
    assert cfg.model.type_map == ("O", "H")
    assert cfg.model.descriptor == config.SeE2AConfig(
        rcut=6.0, rcut_smth=0.5, sel=(46, 92), neuron=(25, 50, 100), axis_neuron=16
    )
    assert cfg.model.fitting_net == config.EnerFittingConfig(neuron=(240, 240, 240))
    assert cfg.learning_rate == config.ExpConfig(start_lr=0.001, stop_lr=3.51e-8)
    assert cfg.optimizer == config.AdamConfig()
    assert cfg.loss == config.EnerLossConfig()
    assert cfg.training.training_data == config.DataConfig(systems=("data_0", "data_1"), batch_size=1)
    assert cfg.training.validation_data == config.DataConfig(systems=("data_3",), numb_btch=3)
    assert (cfg.training.numb_steps, cfg.training.numb_epoch, cfg.training.seed) == (1000, None, 10)
    assert cfg.dpjax == config.DpjaxConfig()
    assert cfg.base is None


def test_the_input_is_left_alone_and_the_result_is_frozen():
    data = water()
    cfg = config.load(data)
    assert data == WATER
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.model.descriptor.rcut = 3.0


def test_normalize_fills_in_and_is_stable():
    raw = config.normalize(water())
    assert raw["model"]["fitting_net"]["type"] == "ener"
    assert raw["optimizer"] == {"type": "Adam", "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0}
    assert raw["training"]["max_ckpt_keep"] == 5
    assert raw["validating"]["full_validation"] is False
    assert "seed" not in raw["model"]["descriptor"]  # has no default
    assert config.normalize(json.loads(json.dumps(raw))) == raw


def test_defaults_are_not_shared_between_inputs():
    config.normalize(water())["model"]["pair_exclude_types"].append([0, 1])
    assert config.normalize(water())["model"]["pair_exclude_types"] == []


@pytest.mark.parametrize(
    ("edits", "path", "value"),
    [
        ({"model/descriptor/type": "se_a"}, "model/descriptor/type", "se_e2_a"),
        ({"training/validation_data/numb_batch": 5, "training/validation_data/numb_btch": None}, None, None),
        (
            {"training/training_data/auto_prob_style": "prob_uniform"},
            "training/training_data/auto_prob",
            "prob_uniform",
        ),
        ({"training/training_data/sys_weights": [0.5, 0.5]}, "training/training_data/sys_probs", [0.5, 0.5]),
        ({"model/fitting_net": {"n_neuron": [8]}}, "model/fitting_net/neuron", [8]),
        ({"learning_rate": {"start_lr": 1}}, "learning_rate/stop_lr", 5e-8),
        ({"learning_rate": {"start_lr": 1, "stop_lr_ratio": 0.1}}, "learning_rate/stop_lr", None),
    ],
)
def test_aliases_and_derived_values(edits, path, value):
    if path is None:
        with pytest.raises(ConfigError, match="numb_btch, numb_batch"):
            config.normalize(water(edits))
        return
    node = config.normalize(water(edits))
    for key in path.split("/"):
        node = node[key]
    assert node == value


@pytest.mark.parametrize("name", ["stop_batch", "num_step", "num_steps", "numb_step"])
def test_spellings_of_the_number_of_steps(name):
    data = water()
    data["training"][name] = data["training"].pop("numb_steps")
    assert config.load(data).training.numb_steps == 1000


def test_comments_are_dropped_everywhere_but_in_free_dicts():
    remark = {"_comment": "x", "comment": 1, "$schema": "y"}
    data = water()
    for section in (data, data["model"], data["model"]["descriptor"], data["training"]["training_data"]):
        section.update(remark)
    data["model"]["info"] = {"_source": "kept"}
    raw = config.normalize(data)
    assert raw["model"].pop("info") == {"_source": "kept"}
    clean = config.normalize(water())
    clean["model"].pop("info")
    assert raw == clean


def test_a_bare_model_section_needs_no_training():
    model = config.parse_model(WATER["model"] | {"preset_out_bias": {"energy": [None, -3.2]}})
    assert model.preset_out_bias == {"energy": (None, -3.2)}
    assert model.raw["descriptor"]["type"] == "se_e2_a"
    json.dumps(model.raw)


def test_bare_sections():
    assert config.parse_learning_rate({"type": "wsd", "start_lr": 1e-3}).decay_type == "inverse_linear"
    assert config.parse_optimizer({}) == config.AdamConfig()
    assert config.parse_loss({"start_pref_v": 1, "limit_pref_v": 1}).start_pref_v == 1


@pytest.mark.parametrize("flag", [True, False])
def test_compilation_may_be_asked_for_either_way(flag):
    assert config.load(water({"training/enable_compile": flag})).raw["training"]["enable_compile"] is flag


def test_switched_off_features_may_keep_their_settings():
    cfg = config.load(
        water(
            {
                "training/profiling": False,
                "training/profiling_file": "other.json",
                "training/tensorboard_freq": 10,
                "validating/validation_freq": 7,
                "loss/huber_delta": [0.1, 0.2, 0.3],
                "loss/relative_f": None,
            }
        )
    )
    assert cfg.loss.huber_delta == (0.1, 0.2, 0.3)


def test_integers_are_accepted_where_floats_are_declared():
    assert config.load(water({"model/descriptor/rcut": 6})).model.descriptor.rcut == 6


def test_schedules_of_the_reference():
    table = json.loads(shared("golden", "training", "schedules.json").read_text())
    for case in table["valid"] + table["accepted_oddities"]:
        config.parse_learning_rate(case["config"])
    for case in table["invalid"]:
        if case["name"] == "warmup_equal_num_steps":  # needs the length of the run
            continue
        with pytest.raises(ConfigError, match=r"^learning_rate/"):
            config.parse_learning_rate(case["config"])


def test_models_of_the_reference():
    count = 0
    for path in sorted(shared("golden", "models").glob("*/model.json")):
        section = json.loads(path.read_text())
        kind = section.get("descriptor", {}).get("type"), section.get("fitting_net", {}).get("type", "ener")
        if kind == ("se_e2_a", "ener") and "spin" not in section:
            config.parse_model(section)
            count += 1
    assert count >= 37


def test_importing_the_configuration_does_not_import_jax():
    code = "import sys, dpjax.config; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
