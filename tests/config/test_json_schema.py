"""The JSON schema, judged by an independent validator: our configs pass, broken ones do not."""

from __future__ import annotations

import json

import jsonschema
import pytest

from dpjax import config
from tests.config import sections
from tests.config.inputs import REMOVE, WATER, edited
from tests.config.test_multi_task import TASKS
from tests.shared import REPOSITORY

ONE = jsonschema.Draft7Validator(config.json_schema())
SEVERAL = jsonschema.Draft7Validator(config.json_schema(multi_task=True))
D, F, T = "model/descriptor", "model/fitting_net", "training"
CONFIGS = sorted((REPOSITORY / "configs").glob("*.json"))


@pytest.mark.parametrize("validator", [ONE, SEVERAL], ids=["one", "several"])
def test_the_schema_is_a_schema(validator):
    jsonschema.Draft7Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_configs_are_valid(path):
    assert list(ONE.iter_errors(json.loads(path.read_text()))) == []


@pytest.mark.parametrize("name", [n for n in sections.inputs() if n != "tasks"])
def test_every_component_is_in_the_schema(name):
    assert list(ONE.iter_errors(sections.inputs()[name])) == []


@pytest.mark.parametrize("name", [n for n in sections.inputs() if n != "tasks"])
def test_normalised_inputs_are_valid(name):
    raw = config.normalize(sections.inputs()[name])
    assert list(ONE.iter_errors(raw)) == []


def test_inputs_for_several_tasks_are_valid():
    assert list(SEVERAL.iter_errors(TASKS)) == []
    assert list(SEVERAL.iter_errors(config.normalize(TASKS))) == []


@pytest.mark.parametrize(
    "edits",
    [
        {"modell": {}},
        {"model": REMOVE},
        {D: REMOVE},
        {f"{D}/type": REMOVE},
        {f"{D}/type": "se_e2a"},
        {f"{D}/rcutt": 6.0},
        {f"{D}/rcut": "6"},
        {f"{D}/sel": [46, "92"]},
        {f"{D}/sel": 46},
        {f"{D}/neuron": [1.5]},
        {f"{D}/n_axis_neuron": 4},
        {f"{D}/axis_neuron": True},
        {f"{F}/neuron": "240"},
        {f"{F}/atom_ener": ["x"]},
        {f"{F}/type": "enr"},
        {"model/preset_out_bias": {"energy": "x"}},
        {"learning_rate/type": "linear"},
        {"learning_rate/decay_phase_ratio": 0.1},
        {"learning_rate/start_lr": REMOVE},
        {"loss/start_pref_x": 1},
        {f"{T}/numb_steps": "10"},
        {f"{T}/num_steps": 10},
        {f"{T}/training_data/systems": REMOVE},
        {f"{T}/training_data/systems": 3},
        {f"{T}/data_dict": {}},
        {"dpjax/prefetch": "2"},
    ],
    ids=lambda edits: " ".join(edits),
)
def test_broken_inputs_are_rejected(edits):
    broken = edited(WATER, edits)
    assert list(ONE.iter_errors(broken))
    assert list(ONE.iter_errors(WATER)) == []


@pytest.mark.parametrize(
    "edits",
    [
        {"loss": {}},
        {"model/model_dict/pbe/descriptr": "eyes"},
        {"training/data_dict/pbe/trainingdata": {}},
        {"training/data_dict": REMOVE},
    ],
    ids=lambda edits: " ".join(edits),
)
def test_broken_inputs_for_several_tasks_are_rejected(edits):
    assert list(SEVERAL.iter_errors(edited(TASKS, edits)))


def test_remarks_are_allowed_anywhere():
    edits = {"_data": "x", "$schema": "dpjax.json", f"{D}/_note": 1, f"{T}/comment": "y", f"{T}/training_data/_z": []}
    assert list(ONE.iter_errors(edited(WATER, edits))) == []


def test_editors_find_descriptions_and_defaults():
    rcut = ONE.schema["definitions"]["se_e2_a"]["properties"]["rcut"]
    assert rcut["default"] == 6.0 and "angstrom" in rcut["description"]
