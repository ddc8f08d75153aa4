"""Descriptors other than se_e2_a and the DPA series from DPA-2 on: valid sections pass, broken ones are named."""

from __future__ import annotations

from typing import Any

import pytest

from dpjax import config
from dpjax.config.descriptors import DESCRIPTORS, HybridConfig, SeATpeConfig, SeAttenConfig, SeE2RConfig
from dpjax.config.schema import Context
from dpjax.errors import ConfigError
from tests.config.inputs import water

D = "model/descriptor"
FRAME = {
    "type": "loc_frame",
    "sel_a": [16, 32],
    "sel_r": [30, 60],
    "axis_rule": [0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0],
}
NAMES = {
    "loc_frame": (),
    "se_e2_r": ("se_r",),
    "se_e3": ("se_at", "se_a_3be", "se_t"),
    "se_e3_tebd": (),
    "se_atten": ("dpa1",),
    "se_atten_v2": (),
    "se_a_tpe": ("se_a_ebd",),
    "se_a_ebd_v2": ("se_a_tpe_v2",),
    "se_a_mask": (),
    "hybrid": (),
}
PER_TYPE = ("se_e2_r", "se_e3", "se_a_tpe", "se_a_ebd_v2", "se_a_mask")
ATTENTION = ("se_atten", "se_atten_v2")
VECTORS = (*ATTENTION, "se_e3_tebd")
NETS = (*PER_TYPE, *VECTORS)
WITH_CUTOFF = tuple(name for name in NETS if name != "se_a_mask")
TWO_FACTORS = ("se_atten", "se_atten_v2", "se_a_tpe", "se_a_ebd_v2", "se_a_mask")


def section(kind: str, **options: Any) -> dict[str, Any]:
    """A valid section of a type with some options set."""
    needed = {"loc_frame": FRAME, "hybrid": {"list": [{"type": "se_e2_a"}, {"type": "se_e2_r"}]}}
    return needed.get(kind, {}) | {"type": kind} | options


def normalized(descriptor: dict[str, Any], edits: dict[str, Any] | None = None) -> dict[str, Any]:
    masked = {"model/fitting_net/numb_aparam": 1} if descriptor["type"] == "se_a_mask" else {}
    return config.normalize(water({D: descriptor} | masked | (edits or {})))["model"]["descriptor"]


def parsed(descriptor: dict[str, Any]) -> Any:
    context = Context(("O", "H"))
    result = DESCRIPTORS.parse(normalized(descriptor), D, context)
    assert not context.report.problems
    return result


def message(descriptor: dict[str, Any], edits: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as info:
        normalized(descriptor, edits)
    return str(info.value)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_defaults(name):
    filled = normalized(section(name))
    for alias in NAMES[name]:
        assert normalized(section(name) | {"type": alias}) == filled
    assert filled["type"] == name
    assert type(parsed(section(name))) is DESCRIPTORS[name].config


@pytest.mark.parametrize("name", [name for name in NAMES if not DESCRIPTORS[name].built])
def test_what_is_not_built_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"{D}/type: descriptor '{name}' is not built yet"):
        config.load(water({D: section(name)}))


def valid() -> list[dict[str, Any]]:
    """Sections that look odd and are right."""
    return [
        section("loc_frame", axis_rule=[]),
        section("loc_frame", axis_rule=[0, -1, 0, 1, -2, 1, 1, 1, 59, 0, 0, 15]),
        section("loc_frame", sel_a=[0, 2], sel_r=[0, 0], axis_rule=[0, 1, 0, 0, 1, 1] * 2),
        section("se_e2_r", sel="auto:1.5", type_one_side=True, seed=None),
        section("se_e3", sel=[4, 0], env_protection=1e-6, exclude_types=[[0, 0]]),
        section("se_e3_tebd", sel=20, tebd_input_mode="strip", smooth=False, use_tebd_bias=False),
        section("se_atten", sel=[40, 80], n_axis_neuron=8, tebd_input_mode="strip", smooth_type_embdding=True),
        section("se_atten", sel=[120], attn_layer=0, attn=0, scaling_factor=0.0),
        section("se_atten", stripped_type_embedding=True, tebd_input_mode="concat"),
        section("se_atten", ln_eps=1e-3, temperature=0.1, scaling_factor=0.0, normalize=False, attn_mask=True),
        section("se_atten", temperature=None, ln_eps=None, stripped_type_embedding=None),
        section("se_atten", lmax=4),
        section("se_atten_v2", sel="auto", lmax=1, set_davg_zero=True),
        section("se_a_tpe", type_nchanl=1, type_nlayer=1, numb_aparam=3),
        section("se_a_tpe", exclude_types=[[0, 1]]),
        section("se_a_mask", sel=[3, 6], exclude_types=[[1, 1]]),
        section("hybrid", list=[section(name) for name in NAMES if name != "hybrid"]),
    ]


@pytest.mark.parametrize("descriptor", valid(), ids=lambda d: d["type"])
def test_valid_sections(descriptor):
    filled = normalized(descriptor)
    assert normalized(filled) == filled
    parsed(descriptor)


@pytest.mark.parametrize("name", WITH_CUTOFF)
@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"rcut": 0.0}, "rcut: found 0.0; the cut-off must be a positive length"),
        ({"rcut_smth": 6.5}, "rcut_smth: found 6.5 with rcut 6.0"),
        ({"env_protection": -1.0}, "env_protection: found -1.0; it must not be negative"),
    ],
)
def test_cutoff(name, options, start):
    assert message(section(name, **options)).startswith(f"{D}/{start}")


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"neuron": []}, "neuron: found an empty list"),
        ({"neuron": [10, 0]}, "neuron/1: found 0"),
        ({"activation_function": "tahn"}, "activation_function: unknown activation function 'tahn'. Did you mean `tanh`?"),
        ({"precision": "float46"}, "precision: unknown precision 'float46'. Did you mean `float64`?"),
        ({"exclude_types": [[0, 2]]}, "exclude_types/0: found type index 2"),
        ({"exclude_types": [[0]]}, "exclude_types/0: found [0]; give pairs of type indices"),
        ({"sel": "auto:0.5"}, 'sel: found "auto:0.5"; the factor'),
        ({"sel": "all"}, 'sel: found "all"; write "auto"'),
        ({"sel": [10, 20, 30]}, "sel: found 3 entries [10, 20, 30], but model/type_map has 2"),
        ({"sel": [0, 0]}, "sel: found [0, 0]; at least one neighbour must count"),
    ],
)  # fmt: skip
def test_nets(name, options, start):
    assert message(section(name, **options)).startswith(f"{D}/{start}")


@pytest.mark.parametrize("name", TWO_FACTORS)
@pytest.mark.parametrize("axis_neuron", [0, 41])
def test_columns_of_the_second_factor(name, axis_neuron):
    assert message(section(name, axis_neuron=axis_neuron)).startswith(
        f"{D}/axis_neuron: found {axis_neuron}; it must lie between 1 and the last entry of neuron (40)"
    )


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"sel": 0}, "sel: found 0; at least one neighbour must count"),
        ({"tebd_dim": 0}, "tebd_dim: found 0; it must be at least 1"),
    ],
)
def test_type_vectors(name, options, start):
    assert message(section(name, **options)).startswith(f"{D}/{start}")


@pytest.mark.parametrize("name", ["se_atten", "se_e3_tebd"])
def test_input_mode(name):
    found = message(section(name, tebd_input_mode="stripped"))
    assert found.startswith(
        f"{D}/tebd_input_mode: found 'stripped'. Did you mean `strip`? Choose one of: concat, strip."
    )


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"attn": 0}, "attn: found 0; it must be at least 1"),
        ({"attn_layer": -1}, "attn_layer: found -1; it must not be negative"),
        ({"ln_eps": 0.0}, "ln_eps: found 0.0; it must be positive"),
        ({"temperature": 0}, "temperature: found 0; it must be positive"),
        ({"scaling_factor": -1.0}, "scaling_factor: found -1.0; it must be positive"),
        ({"lmax": 0}, "lmax: found 0; it must lie between 1 and 4"),
        ({"lmax": 5}, "lmax: found 5; it must lie between 1 and 4"),
    ],
)
def test_attention(name, options, start):
    assert message(section(name, **options)).startswith(f"{D}/{start}")


@pytest.mark.parametrize("name", ATTENTION)
def test_angular_degree_is_kept_and_not_filled_in(name):
    assert "lmax" not in normalized(section(name))
    assert normalized(section(name, lmax=2))["lmax"] == 2
    assert parsed(section(name)).lmax is None


@pytest.mark.parametrize("key", ["stripped_type_embedding", "smooth_type_embedding", "tebd_input_mode"])
def test_the_second_version_has_no_choice_of_the_type_net(key):
    assert message(section("se_atten_v2", **{key: None})).startswith(f"{D}/{key}: unknown key")


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"type_nchanl": 0}, "type_nchanl: found 0; it must be at least 1"),
        ({"type_nlayer": 0}, "type_nlayer: found 0; it must be at least 1"),
        ({"numb_aparam": -1}, "numb_aparam: found -1; it must not be negative"),
    ],
)
def test_type_net(options, start):
    assert message(section("se_a_tpe", **options)).startswith(f"{D}/{start}")


RULE = FRAME["axis_rule"]


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"rcut": 0}, "rcut: found 0; it must be positive"),
        ({"sel_a": [16]}, "sel_a: found 1 entries [16]; give one number for each of the 2 types (O, H)"),
        ({"sel_r": []}, "sel_r: found 0 entries []; give one number for each of the 2 types (O, H)"),
        ({"sel_r": [30, -1]}, "sel_r: found [30, -1]; a number of neighbours must not be negative"),
        ({"sel_a": [0, 0], "sel_r": [1, 0]}, "sel_a: found [0, 0] with sel_r [1, 0]; at least two neighbours"),
        ({"axis_rule": RULE[:6]}, "axis_rule: found 6 numbers, expected 12: six for each of the 2 types"),
        ({"axis_rule": [2, *RULE[1:]]}, "axis_rule/0: found 2; the class of a neighbour on an axis is 0"),
        ({"axis_rule": [*RULE[:10], 2, 0]}, "axis_rule/10: found type index 2, but there are 2 types"),
        ({"axis_rule": [*RULE[:5], -1, *RULE[6:]]}, "axis_rule/5: found -1; ranks by distance count from 0"),
        ({"axis_rule": [*RULE[:11], 32]}, "axis_rule/11: found 32, but sel_a keeps 32 neighbours of type 1"),
        ({"axis_rule": "nearest"}, "axis_rule: found 'nearest' (str), expected list of int"),
    ],
)
def test_local_frame(options, start):
    assert message(section("loc_frame", **options)).startswith(f"{D}/{start}")


@pytest.mark.parametrize("key", ["sel_a", "sel_r", "axis_rule"])
def test_local_frame_needs(key):
    descriptor = {k: v for k, v in FRAME.items() if k != key}
    assert message(descriptor).startswith(f"{D}/{key}: missing; it is required")


def test_local_frame_of_unknown_types():
    edits = {"model/type_map": []}
    normalized(section("loc_frame"), edits)
    found = message(section("loc_frame", sel_r=[30]), edits)
    assert found.startswith(f"{D}/sel_r: found 1 entries [30]; give one number for each of the 2 types.")


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        ([], "list: found an empty list; give at least one descriptor"),
        ({}, "list: found {} (dict), expected list"),
        (["se_e2_a"], "list/0: found 'se_e2_a' (str), expected dict"),
        ([{}], "list/0/type: missing; it is required. Choose one of: "),
        ([{"type": "se_e2_a"}, {"type": "hybrid", "list": []}], "list/1/type: unknown descriptor 'hybrid'"),
        ([{"type": "se_e2_a", "rcutt": 1.0}], "list/0/rcutt: unknown key"),
        ([{"type": "se_e2_a"}, {"type": "se_atten", "attn": 0}], "list/1/attn: found 0; it must be at least 1"),
        ([{"type": "se_e2_r", "sel": [1]}], "list/0/sel: found 1 entries [1], but model/type_map has 2"),
    ],
)
def test_parts_of_a_hybrid(parts, start):
    assert message(section("hybrid", list=parts)).startswith(f"{D}/{start}")


def test_hybrid_needs_a_list():
    assert message({"type": "hybrid"}).startswith(f"{D}/list: missing; it is required (list)")


def test_every_mistake_of_a_hybrid_is_named():
    found = message(section("hybrid", list=[{"type": "se_e2_a", "rcut": -1.0}, {"type": "se_e3", "neuron": []}]))
    assert f"{D}/list/0/rcut: " in found
    assert f"{D}/list/1/neuron: " in found


def test_dataclasses():
    hybrid = parsed(section("hybrid", list=[{"type": "se_r", "sel": [4, 8]}, {"type": "dpa1", "sel": 20}]))
    assert hybrid == HybridConfig(list=(SeE2RConfig(sel=(4, 8)), SeAttenConfig(sel=20)))
    assert parsed(section("se_a_tpe", numb_aparam=2)) == SeATpeConfig(numb_aparam=2)
    assert parsed(section("se_atten")) == SeAttenConfig()


def test_masks_need_an_atomic_parameter():
    found = message(section("se_a_mask"), {"model/fitting_net/numb_aparam": 0})
    assert found.startswith(
        "model/fitting_net/numb_aparam: found 0, but the descriptor 'se_a_mask' needs one atomic parameter"
    )


def test_whole_frames_leave_no_room():
    assert message(section("se_a_mask", sel="auto:1.2")).startswith(f"{D}/sel: found 'auto:1.2'; sel counts the atoms")


def test_whole_frames_are_not_part_of_a_hybrid():
    parts = [section("se_e2_a"), section("se_a_mask")]
    with pytest.raises(ConfigError, match=f"{D}/list/1/type: found 'se_a_mask', which sees whole frames"):
        config.load(water({D: section("hybrid", list=parts)}))


def test_example_of_deepmd_kit():
    """The form of its example for loc_frame, with the keys of DeePMD-kit 1."""
    old = {"systems": ["../data/"], "set_prefix": "set", "stop_batch": 10, "batch_size": [4], "disp_training": True}
    given = {
        "with_distrib": False,
        "model": {
            "type_map": ["O", "H"],
            "data_stat_nbatch": 10,
            "descriptor": FRAME | {"_comment": "a remark"},
            "fitting_net": {"neuron": [240, 120, 60, 30, 10], "resnet_dt": True, "seed": 1},
        },
        "learning_rate": {"type": "exp", "decay_steps": 5000, "start_lr": 0.001, "stop_lr": 3.51e-8},
        "loss": {f"{end}_pref_{of}": 1 for end in ("start", "limit") for of in "efv"},
        "training": old | {"seed": 1, "disp_file": "lcurve.out", "numb_test": 10, "save_ckpt": "model.ckpt"},
    }
    descriptor = config.load(given).model.descriptor
    assert descriptor.sel == (46, 92)
    assert descriptor.rcut == 6.0
