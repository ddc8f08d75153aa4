"""Inputs for several tasks: names that stand for shared sections, and what must agree between the dictionaries."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import REMOVE, WATER, edited

TASKS: dict[str, Any] = {
    "model": {
        "shared_dict": {
            "types": ["O", "H"],
            "eyes": {"type": "se_a", "sel": [46, 92], "neuron": [4, 8], "n_axis_neuron": 2},
        },
        "model_dict": {
            "pbe": {"type_map": "types", "descriptor": "eyes", "fitting_net": {"neuron": [8]}},
            "scan": {"type_map": "types", "descriptor": "eyes:1", "fitting_net": {"neuron": [16]}},
        },
    },
    "learning_rate": {"start_lr": 0.001},
    "loss_dict": {"pbe": {"type": "ener"}, "scan": {"start_pref_e": 1}},
    "training": {
        "data_dict": {
            "pbe": {"training_data": {"systems": "data_0"}},
            "scan": {"training_data": {"systems": ["data_1"]}, "stat_file": "stat"},
        },
        "model_prob": {"pbe": 2, "scan": 1},
        "numb_steps": 100,
    },
}
BRANCH = "model/model_dict/pbe"


def problems(edits: dict) -> list[str]:
    with pytest.raises(ConfigError) as info:
        config.normalize(edited(TASKS, edits))
    return [str(p) for p in info.value.problems]


def test_names_stand_again_in_the_normalised_input():
    raw = config.normalize(TASKS)
    assert raw["model"]["model_dict"]["pbe"]["descriptor"] == "eyes"
    assert raw["model"]["model_dict"]["scan"]["descriptor"] == "eyes:1"
    assert raw["model"]["model_dict"]["scan"]["fitting_net"]["resnet_dt"] is True
    eyes = raw["model"]["shared_dict"]["eyes"]
    assert (eyes["type"], eyes["axis_neuron"], eyes["rcut"]) == ("se_e2_a", 2, 6.0)
    assert raw["model"]["shared_dict"]["types"] == ["O", "H"]
    assert raw["training"]["data_dict"]["pbe"]["training_data"]["batch_size"] == "auto"
    assert raw["loss_dict"]["scan"]["start_pref_f"] == 1000
    assert "loss" not in raw


def test_normalised_twice_is_the_same():
    raw = config.normalize(TASKS)
    assert config.normalize(json.loads(json.dumps(raw))) == raw


def test_the_input_is_left_alone():
    before = copy.deepcopy(TASKS)
    config.normalize(TASKS)
    assert before == TASKS


def test_what_stands_beside_model_dict_holds_for_every_branch():
    raw = config.normalize(edited(TASKS, {"model/data_stat_nbatch": 3, f"{BRANCH}/data_stat_nbatch": 7}))
    branches = raw["model"]["model_dict"]
    assert (branches["pbe"]["data_stat_nbatch"], branches["scan"]["data_stat_nbatch"]) == (7, 3)
    assert "data_stat_nbatch" not in raw["model"]


def test_a_shared_section_that_nobody_names_is_reported(caplog):
    config.normalize(edited(TASKS, {"model/shared_dict/ears": {"type": "se_e2_a"}, "model/shared_dict/_note": "x"}))
    assert "model/shared_dict/ears: no model names it" in caplog.text
    assert "_note" not in caplog.text


def test_parts_of_a_hybrid_may_be_shared():
    hybrid = {"type": "hybrid", "list": ["eyes", {"type": "se_e2_a", "sel": [4, 4]}]}
    raw = config.normalize(edited(TASKS, {f"{BRANCH}/descriptor": hybrid}))
    assert raw["model"]["model_dict"]["pbe"]["descriptor"]["list"][0] == "eyes"


def test_each_task_is_an_input_by_itself():
    """Names of shared entries are replaced, and the pieces say what is in common."""
    data = edited(TASKS, {"model/model_dict/scan/descriptor": "eyes"})
    tasks = config.load_tasks(data)
    assert list(tasks.configs) == list(TASKS["model"]["model_dict"])
    for name, own in tasks.configs.items():
        assert own.model.type_map == ("O", "H") and own.training.numb_steps == TASKS["training"]["numb_steps"]
        assert tasks.pieces[name]["descriptor"] == "shared:eyes"
    assert tasks.raw == config.normalize(data)
    with pytest.raises(ConfigError, match="model/model_dict: this is an input of several tasks"):
        config.load(data)


@pytest.mark.parametrize(
    ("edits", "starts"),
    [
        ({f"{BRANCH}/descriptor": "eye"}, [f"{BRANCH}/descriptor: found 'eye', but model/shared_dict has no such entry. Did"]),
        ({f"{BRANCH}/descriptor": "eyes:x"}, [f"{BRANCH}/descriptor: found 'eyes:x'; after the colon"]),
        ({"model/shared_dict/eyes/rcutt": 1}, ["model/shared_dict/eyes/rcutt: unknown key"]),
        ({"model/shared_dict/eyes/rcut": -1}, ["model/shared_dict/eyes/rcut: found -1"]),
        ({"model/data_stat_nbatch": 0}, ["model/data_stat_nbatch: found 0"]),
        ({"model/model_dict/scan/type_map": ["H", "O"]}, ['model/model_dict/scan/type_map: found ["H", "O"], but pbe has']),
        ({"loss_dict/pbe": REMOVE}, ["loss_dict/pbe: missing"]),
        ({"loss_dict/pbee": {}}, ["loss_dict/pbee: no model in model_dict has this name. Did you mean `pbe`?"]),
        ({"training/data_dict/scan": REMOVE}, ["training/data_dict/scan: missing"]),
        ({"training/data_dict/scan/training_data": REMOVE}, ["training/data_dict/scan/training_data: missing"]),
        ({"training/model_prob/scan": REMOVE}, ["training/model_prob/scan: missing"]),
        ({"training/model_prob/scan": -1}, ["training/model_prob/scan: found -1"]),
        ({"training/numb_steps": REMOVE}, ["training/numb_steps: found neither"]),
        ({"training/num_epoch_dict": {"pbe": 1, "scan": 2}}, ["training/num_epoch_dict: found together", "training/model_prob"]),
        ({"training/numb_epoch": 2}, ["training/numb_epoch: found 2"]),
        ({"loss": {}}, ["loss: unknown key"]),
        ({"model/model_dict": []}, ["model/model_dict: found [] (list), expected dict"]),
        ({f"{BRANCH}/type": "standart"}, [f"{BRANCH}/type: unknown model 'standart'. Did you mean `standard`?"]),
    ],
)  # fmt: skip
def test_mistakes(edits, starts):
    found = problems(edits)
    assert len(found) == len(starts)
    for text, start in zip(found, starts, strict=True):
        assert text.startswith(start)


def test_tasks_in_an_input_for_one_model_are_explained():
    with pytest.raises(ConfigError, match="training/data_dict: unknown key"):
        config.normalize(edited(WATER, {"training/data_dict": {}}))
