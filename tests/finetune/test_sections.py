"""Model sections in other types: what is given per type moves with its types."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.errors import ConfigError
from dpjax.finetune import TypeChange, remapped, with_pretrained_model, with_pretrained_models, with_pretrained_sel
from dpjax.finetune.sections import in_our_types
from dpjax.models import build_model, init_variables
from tests.contracts.cases import dpa2, dpa3

SE_E2_A = {
    "type": "se_e2_a",
    "rcut": 3.0,
    "rcut_smth": 1.0,
    "sel": [4, 6, 8],
    "neuron": [4],
    "exclude_types": [[0, 2], [1, 1]],
}
SE_ATTEN = {"type": "se_atten", "rcut": 3.0, "rcut_smth": 1.0, "sel": 18, "neuron": [4], "attn_layer": 0}
TYPES = ["O", "H", "C"]
INPUT = {"model": {"type_map": ["C", "O"], "descriptor": {}, "fitting_net": {}}, "training": {"numb_steps": 1}}


def model(descriptor: dict, **rest):
    section = {"type_map": TYPES, "descriptor": descriptor, "fitting_net": {"neuron": [3]}}
    return parse_model(copy.deepcopy(section | rest))


@pytest.mark.parametrize(
    ("fitting", "key", "expected"),
    [
        ({"type": "ener", "atom_ener": [-1.0, None, -3.0]}, "atom_ener", [-3.0, -1.0]),
        ({"type": "polar", "scale": [1.0, 2.0, 3.0]}, "scale", [3.0, 1.0]),
        ({"type": "polar", "scale": 2.0}, "scale", 2.0),
        ({"type": "dipole", "sel_type": [0, 1]}, "sel_type", [1]),
    ],
)
def test_the_script_of_a_model_of_other_types(fitting, key, expected):
    pretrained = model(SE_E2_A, fitting_net={"neuron": [3], **fitting})
    found = with_pretrained_model(INPUT, pretrained, new_head=False)["model"]
    assert found["type_map"] == ["C", "O"]
    assert found["descriptor"]["sel"] == [8, 4] and found["descriptor"]["exclude_types"] == [[1, 0]]
    assert found["fitting_net"][key] == expected
    assert parse_model(found).type_map == ("C", "O")  # a valid section, whatever keys the fitting has
    assert INPUT["model"]["descriptor"] == {}


def test_lists_of_the_whole_model_move_for_the_comparison():
    rest = {
        "pair_exclude_types": [[0, 1], [2, 0]],
        "atom_exclude_types": [2],
        "preset_out_bias": {"energy": [None, 1.0, 2.0]},
    }
    found = in_our_types(model(SE_ATTEN, **rest), TypeChange(("O", "H", "C"), ("C", "N", "O")))
    assert (found["pair_exclude_types"], found["atom_exclude_types"]) == ([[0, 2]], [0])
    assert found["preset_out_bias"] == {"energy": [2.0, None, None]}
    assert found["descriptor"]["sel"] == 18


def test_what_tasks_share_must_be_the_same_in_the_models_they_start_from():
    def model(width):
        descriptor = {"type": "se_e2_r", "sel": [3, 4], "neuron": [width]}
        return parse_model({"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": {"neuron": [width]}})

    branch = {"type_map": "t", "descriptor": "d", "fitting_net": {"trainable": False}}
    data = {
        "model": {
            "shared_dict": {"t": ["O", "H"], "d": {"type": "se_e2_a"}},
            "model_dict": {"a": branch, "b": dict(branch)},
        }
    }
    made = with_pretrained_models(data, {"a": (model(3), False), "b": (model(3), True)})["model"]
    assert made["shared_dict"]["d"]["type"] == "se_e2_r" and made["shared_dict"]["d"]["neuron"] == [3]
    assert made["model_dict"]["a"]["descriptor"] == made["model_dict"]["b"]["descriptor"] == "d"
    assert (
        made["model_dict"]["a"]["fitting_net"]["neuron"] == [3]
        and not made["model_dict"]["a"]["fitting_net"]["trainable"]
    )
    assert made["model_dict"]["b"]["fitting_net"] == {"trainable": False}  # a new head is the input's
    assert data["model"]["shared_dict"]["d"] == {"type": "se_e2_a"}
    with pytest.raises(
        ConfigError, match="use_pretrain_script: a and b share 'd' of model/shared_dict, which is not the same"
    ):
        with_pretrained_models(data, {"a": (model(3), False), "b": (model(5), False)})


def test_flags_of_the_input_stay_and_a_new_head_is_the_input_s():
    pretrained = model({"type": "hybrid", "list": [SE_E2_A, SE_ATTEN]})
    own = {
        "type_map": TYPES,
        "descriptor": {"trainable": False},
        "fitting_net": {"neuron": [5], "trainable": [True, False]},
    }
    found = with_pretrained_model({"model": own}, pretrained, new_head=True)["model"]
    assert [part["trainable"] for part in found["descriptor"]["list"]] == [False, False]
    assert found["fitting_net"] == own["fitting_net"]
    found = with_pretrained_model({"model": own}, pretrained, new_head=False)["model"]
    assert (found["fitting_net"]["neuron"], found["fitting_net"]["trainable"]) == ([3], [True, False])


def test_a_count_that_is_left_open_is_the_pretrained_one():
    hybrid = {"type": "hybrid", "list": [SE_E2_A, SE_ATTEN]}
    own = {"type": "hybrid", "list": [SE_E2_A | {"sel": "auto"}, {**SE_ATTEN, "sel": "auto:1.2"}]}
    data = {"model": {"type_map": ["C", "O"], "descriptor": own}}
    parts = with_pretrained_sel(data, model(hybrid))["model"]["descriptor"]["list"]
    assert [part["sel"] for part in parts] == [[8, 4], 18]
    for same in (
        {"model": {"type_map": ["C", "N"], "descriptor": own}},  # no number for N
        {"model": {"type_map": ["C", "O"], "descriptor": SE_ATTEN | {"sel": "auto"}}},  # another descriptor
        {"model": {"type_map": ["C", "O"], "descriptor": hybrid}},  # all given
        {"model": {"descriptor": own}},
        {"model": None},
    ):
        assert with_pretrained_sel(same, model(hybrid)) is same


@pytest.mark.parametrize(
    ("descriptor", "counts"),
    [
        (dpa2(), [("repinit", "nsel"), ("repformer", "nsel")]),
        (dpa3(), [("repflow", "e_sel"), ("repflow", "a_sel")]),
        (dpa3(), [("repflow", "a_sel")]),
    ],
)
def test_counts_inside_a_section_that_are_left_open(descriptor, counts):
    own = copy.deepcopy(descriptor)
    for part, key in counts:
        own[part][key] = "auto"
    data = {"model": {"type_map": ["C", "N"], "descriptor": own}}
    assert with_pretrained_sel(data, model(descriptor))["model"]["descriptor"] == descriptor
    given = {"model": {"type_map": ["C", "N"], "descriptor": descriptor}}
    assert with_pretrained_sel(given, model(descriptor)) is given


def test_a_new_type_needs_a_number_of_neighbours():
    with pytest.raises(ConfigError, match=r"model/descriptor/sel: .* for N, S\."):
        with_pretrained_model({"model": {"type_map": ["C", "N", "S"]}}, model(SE_E2_A), new_head=False)


def test_the_mean_diagonals_of_polarizabilities_go_by_type():
    fitting = {"fitting_net": {"type": "polar", "neuron": [3]}}
    ours = {"type_map": ["C", "O"], "descriptor": SE_E2_A | {"sel": [8, 4], "exclude_types": []}}
    configs = [model(SE_E2_A, **fitting), parse_model(ours | fitting)]
    theirs, fresh = (init_variables(build_model(config)) for config in configs)
    theirs["stats"]["fitting_net"]["constant_matrix"] = np.array([1.0, 2.0, 3.0])
    found, _ = remapped(*configs, theirs, fresh)
    assert found["stats"]["fitting_net"]["constant_matrix"].tolist() == [3.0, 1.0]
