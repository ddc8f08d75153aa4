"""The descriptors dpa2 and dpa3: valid sections pass, broken ones are named with their path."""

from __future__ import annotations

from typing import Any

import pytest

from dpjax import config
from dpjax.config.descriptors import DESCRIPTORS, DPA2Config, DPA3Config
from dpjax.config.schema import Context
from dpjax.errors import ConfigError
from tests.config.inputs import REMOVE, edited, water

D = "model/descriptor"
DPA2 = {
    "type": "dpa2",
    "repinit": {"rcut": 6.0, "rcut_smth": 0.5, "nsel": 120},
    "repformer": {"rcut": 4, "rcut_smth": 3.5, "nsel": 40},
}
DPA3 = {
    "type": "dpa3",
    "repflow": {"e_rcut": 6.0, "e_rcut_smth": 5.3, "e_sel": 120, "a_rcut": 4.0, "a_rcut_smth": 3.5, "a_sel": 30},
}
BASES = {"dpa2": DPA2, "dpa3": DPA3}
THREE_BODY = {"repinit/use_three_body": True}
NO_ATTENTION = {"repformer/update_g1_has_attn": False, "repformer/update_g2_has_attn": False}
NO_PRODUCTS = {"repformer/update_g1_has_grrg": False, "repformer/update_g1_has_drrd": False}
CHARGED = {"add_chg_spin_ebd": True}


def normalized(kind: str, edits: dict[str, Any], outside: dict[str, Any] | None = None) -> dict[str, Any]:
    return config.normalize(water({D: edited(BASES[kind], edits)} | (outside or {})))["model"]["descriptor"]


def message(kind: str, edits: dict[str, Any], outside: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as info:
        normalized(kind, edits, outside)
    return str(info.value)


VALID = [
    ("dpa2", {}),
    ("dpa2", {"repinit/nsel": "auto", "repformer/nsel": 500}),
    ("dpa2", {"repinit/nsel": "auto:1.2", "repformer/nsel": "auto", "repinit/three_body_sel": "auto"}),
    ("dpa2", {"repinit/tebd_input_mode": "strip", "repinit/type_one_side": True, "smooth": False}),
    ("dpa2", THREE_BODY),
    ("dpa2", THREE_BODY | {"repinit/three_body_rcut": 3.0, "repinit/three_body_sel": 10}),
    ("dpa2", THREE_BODY | {"repinit/three_body_rcut": 6.0, "repinit/three_body_sel": 200}),
    ("dpa2", THREE_BODY | {"repinit/three_body_rcut": 7.0, "repinit/three_body_sel": "auto"}),
    ("dpa2", {"repinit/three_body_rcut": 9.0, "repinit/three_body_rcut_smth": 9.5, "repinit/three_body_neuron": []}),
    ("dpa2", {"repformer/nlayers": 0}),
    ("dpa2", NO_ATTENTION | {"repformer/attn1_hidden": 0, "repformer/attn2_nhead": 0}),
    ("dpa2", {"repformer/nlayers": 1, "repformer/attn2_hidden": 0}),
    ("dpa2", {"repformer/axis_neuron": 32, "repformer/update_g1_has_grrg": False}),
    ("dpa2", NO_PRODUCTS | {"repformer/g1_out_mlp": False}),
    ("dpa2", NO_PRODUCTS | {"repformer/g1_out_conv": False}),
    ("dpa2", {"repformer/update_style": "res_residual", "repformer/ln_eps": 1e-3}),
    ("dpa2", {"repformer/update_residual": -1.0}),
    ("dpa2", {"repformer/ln_eps": None, "seed": None, "use_econf_tebd": True, "exclude_types": [[0, 1]]}),
    ("dpa3", {}),
    ("dpa3", {"repflow/e_sel": "auto", "repflow/a_sel": "auto:1.5"}),
    ("dpa3", {"repflow/e_sel": 30, "repflow/a_rcut": 6.0}),
    ("dpa3", {"repflow/use_dynamic_sel": True, "repflow/smooth_edge_update": True, "repflow/e_sel": 1200}),
    ("dpa3", {"repflow/sequential_update": True, "repflow/n_multi_edge_message": 2}),
    ("dpa3", {"repflow/a_compress_rate": 1, "repflow/a_compress_e_rate": 2, "repflow/a_compress_use_split": True}),
    ("dpa3", {"repflow/a_dim": 13, "repflow/a_compress_rate": 3, "repflow/a_compress_e_rate": 6}),
    ("dpa3", {"repflow/a_compress_rate": 2, "repflow/a_compress_e_rate": 0}),
    ("dpa3", {"repflow/a_dim": 6, "repflow/a_compress_rate": 3, "repflow/update_angle": False}),
    ("dpa3", {"repflow/a_compress_e_rate": 0}),
    ("dpa3", {"repflow/fix_stat_std": 0, "repflow/skip_stat": True, "repflow/optim_update": False}),
    ("dpa3", {"repflow/e_rcut_smth": 0.0}),
    ("dpa3", {"repflow/use_exp_switch": True, "repflow/edge_init_use_dist": True, "use_loc_mapping": False}),
    ("dpa3", {"default_chg_spin": [1000.0, -5]}),
    ("dpa3", CHARGED | {"default_chg_spin": [-100, 99]}),
    ("dpa3", CHARGED | {"default_chg_spin": [0.5, 0]}),
    ("dpa3", CHARGED | {"default_chg_spin": None}),
]


@pytest.mark.parametrize(("kind", "edits"), VALID)
def test_valid_sections_pass(kind, edits):
    assert normalized(kind, edits)["type"] == kind


BROKEN_REPINIT = [
    ({"repinit/nsel": REMOVE}, "repinit/nsel: missing"),
    ({"repinit/rcut": 0.0, "repformer/rcut": -1}, "repinit/rcut: found 0.0; the cut-off must be a positive length"),
    ({"repinit/rcut_smth": 6}, "repinit/rcut_smth: found 6 with rcut 6.0; it must be at least 0 and less"),
    ({"repinit/nsel": 0}, "repinit/nsel: found 0; at least one neighbour"),
    ({"repinit/nsel": "all"}, 'repinit/nsel: found "all"; write "auto"'),
    ({"repinit/nsel": [10, 20]}, "repinit/nsel: found [10, 20] (list), expected int or str"),
    ({"repinit/neuron": []}, "repinit/neuron: found an empty list"),
    ({"repinit/neuron": [25, "50"]}, 'repinit/neuron/1: found "50"; the width of a layer is a whole number'),
    ({"repinit/neuron": [25, 50.0]}, "repinit/neuron/1: found 50.0; the width of a layer is a whole number"),
    ({"repinit/neuron": [True, 50]}, "repinit/neuron/0: found true; the width"),
    ({"repinit/neuron": [25, 0]}, "repinit/neuron/1: found 0; the width of a layer must be at least 1"),
    (
        {"repinit/axis_neuron": 101},
        "repinit/axis_neuron: found 101; it must lie between 1 and the last entry of neuron (100)",
    ),
    ({"repinit/tebd_dim": 0}, "repinit/tebd_dim: found 0; it must be at least 1"),
    ({"repinit/tebd_input_mode": "stripe"}, "repinit/tebd_input_mode: found 'stripe'. Did you mean `strip`?"),
    ({"repinit/activation_function": "tahn"}, "repinit/activation_function: unknown activation function 'tahn'"),
    ({"repinit/three_body_sel": "x"}, 'repinit/three_body_sel: found "x"; write "auto"'),
    (THREE_BODY | {"repinit/three_body_sel": 0}, "repinit/three_body_sel: found 0; at least one neighbour"),
    (THREE_BODY | {"repinit/three_body_rcut": -4}, "repinit/three_body_rcut: found -4; the cut-off must be"),
    (
        THREE_BODY | {"repinit/three_body_rcut_smth": 4},
        "repinit/three_body_rcut_smth: found 4 with three_body_rcut 4.0",
    ),
    (THREE_BODY | {"repinit/three_body_neuron": []}, "repinit/three_body_neuron: found an empty list"),
    (THREE_BODY | {"repinit/three_body_neuron": [[2]]}, "repinit/three_body_neuron/0: found [2]; the width"),
    (
        THREE_BODY | {"repinit/three_body_rcut": 5.0, "repinit/three_body_sel": 121},
        "repinit/three_body_sel: found 121, but three_body_rcut 5.0 is smaller than repinit/rcut (6.0), so it must not count "
        "more neighbours than repinit/nsel (120)",
    ),
    (
        THREE_BODY | {"repinit/three_body_rcut": 5.0, "repinit/three_body_sel": 39},
        "repinit/three_body_sel: found 39, but three_body_rcut 5.0 is larger than repformer/rcut (4), so it must not count "
        "fewer neighbours than repformer/nsel (40)",
    ),
]
BROKEN_REPFORMER = [
    ({"repformer/rcut": 6}, "repformer/rcut: found 6, but repinit/rcut is 6.0; the one of repformer must be smaller"),
    (
        {"repformer/nsel": 120},
        "repformer/nsel: found 120, but repinit/nsel is 120; the one of repformer must be smaller",
    ),
    ({"repformer/rcut_smth": 4.5}, "repformer/rcut_smth: found 4.5 with rcut 4"),
    ({"repformer/nsel": "auto:0.5"}, 'repformer/nsel: found "auto:0.5"; the factor'),
    ({"repformer/nlayers": -1}, "repformer/nlayers: found -1; it must not be negative"),
    ({"repformer/g1_dim": 0}, "repformer/g1_dim: found 0; it must be at least 1"),
    ({"repformer/g2_dim": -16}, "repformer/g2_dim: found -16; it must be at least 1"),
    ({"repformer/axis_neuron": 17}, "repformer/axis_neuron: found 17; it must lie between 1 and g2_dim (16)"),
    ({"repformer/axis_neuron": 0}, "repformer/axis_neuron: found 0; it must lie between 1 and g2_dim (16)"),
    (
        {"repformer/axis_neuron": 9, "repformer/g1_dim": 8, "repformer/update_g1_has_grrg": False},
        "repformer/axis_neuron: found 9; it must lie between 1 and g1_dim (8)",
    ),
    ({"repformer/attn1_hidden": 0}, "repformer/attn1_hidden: found 0; it must be at least 1"),
    ({"repformer/attn2_nhead": 0}, "repformer/attn2_nhead: found 0; it must be at least 1"),
    (
        NO_ATTENTION | {"repformer/update_h2": True, "repformer/attn2_hidden": 0},
        "repformer/attn2_hidden: found 0; it must be at least 1",
    ),
    ({"repformer/activation_function": "x"}, "repformer/activation_function: unknown activation function 'x'"),
    ({"repformer/update_style": "res_sum"}, "repformer/update_style: found 'res_sum'."),
    (
        {"repformer/update_residual_init": "normal"},
        "repformer/update_residual_init: found 'normal'. Did you mean `norm`?",
    ),
    (
        {"repformer/update_style": "res_residual", "repformer/update_residual": -0.1},
        "repformer/update_residual: found -0.1; a standard deviation must not be negative",
    ),
    ({"repformer/ln_eps": -1e-5}, "repformer/ln_eps: found -1e-05; it must not be negative"),
    (NO_PRODUCTS, "repformer/g1_out_mlp: found true, which leaves nothing for the common layer of g1"),
]
BROKEN_DPA2 = [
    ({"repinit": REMOVE}, "repinit: missing; it is required (dict)"),
    ({"repformer": []}, "repformer: found [] (list), expected dict"),
    ({"repformer/nlayer": 3}, "repformer/nlayer: unknown key, found with value 3. Did you mean"),
    ({"nlayers": 3}, "nlayers: unknown key, found with value 3. `nlayers` belongs to"),
    ({"precision": "float46"}, "precision: unknown precision 'float46'"),
    ({"exclude_types": [[0, 2]]}, "exclude_types/0: found type index 2"),
    ({"env_protection": -1e-3}, "env_protection: found -0.001; it must not be negative"),
    (
        {"add_tebd_to_repinit_out": True, "repformer_add_type_ebd_to_seq": True},
        "add_tebd_to_repinit_out: given 2 times, as add_tebd_to_repinit_out, repformer_add_type_ebd_to_seq",
    ),
]


@pytest.mark.parametrize(("edits", "text"), [*BROKEN_REPINIT, *BROKEN_REPFORMER, *BROKEN_DPA2])
def test_broken_dpa2_is_named(edits, text):
    assert f"{D}/{text}" in message("dpa2", edits)


BROKEN_DPA3 = [
    ({"repflow": REMOVE}, "repflow: missing; it is required (dict)"),
    ({"repflow": None}, "repflow: found null, expected dict"),
    ({"repflow/e_rcut": REMOVE}, "repflow/e_rcut: missing; it is required (float)"),
    ({"repflow/e_rcut": 0}, "repflow/e_rcut: found 0; the cut-off must be"),
    ({"repflow/e_rcut_smth": 6.5}, "repflow/e_rcut_smth: found 6.5 with e_rcut 6.0"),
    ({"repflow/a_rcut_smth": -0.5}, "repflow/a_rcut_smth: found -0.5 with a_rcut 4.0"),
    ({"repflow/e_sel": 0, "repflow/a_sel": 0}, "repflow/e_sel: found 0; at least one neighbour"),
    ({"repflow/a_sel": "atuo"}, 'repflow/a_sel: found "atuo"; write "auto"'),
    ({"repflow/a_rcut": 6.5}, "repflow/a_rcut: found 6.5, but e_rcut is 6.0; angles are made of edges"),
    ({"repflow/a_sel": 121}, "repflow/a_sel: found 121, but e_sel is 120; angles are made of edges"),
    ({"repflow/n_dim": 0}, "repflow/n_dim: found 0; it must be at least 1"),
    ({"repflow/nlayers": 0}, "repflow/nlayers: found 0; it must be at least 1"),
    ({"repflow/n_multi_edge_message": 0}, "repflow/n_multi_edge_message: found 0; it must be at least 1"),
    ({"repflow/axis_neuron": 65}, "repflow/axis_neuron: found 65; it must lie between 1 and e_dim (64)"),
    (
        {"repflow/axis_neuron": 9, "repflow/n_dim": 8},
        "repflow/axis_neuron: found 9; it must lie between 1 and n_dim (8)",
    ),
    ({"repflow/fix_stat_std": -0.3}, "repflow/fix_stat_std: found -0.3; it must not be negative"),
    ({"repflow/sel_reduce_factor": 0}, "repflow/sel_reduce_factor: found 0; it must be positive"),
    (
        {"repflow/update_style": "res-residual"},
        "repflow/update_style: found 'res-residual'. Did you mean `res_residual`?",
    ),
    ({"repflow/update_residual_init": "zero"}, "repflow/update_residual_init: found 'zero'."),
    (
        {"repflow/use_dynamic_sel": True},
        "repflow/use_dynamic_sel: found true, which works only with smooth_edge_update",
    ),
    (
        {"repflow/sequential_update": True, "repflow/update_style": "res_avg"},
        'repflow/sequential_update: found true with update_style "res_avg"; it works only with res_residual',
    ),
    (
        {"repflow/sequential_update": True, "repflow/update_angle": False},
        "repflow/sequential_update: found true, which works only with update_angle",
    ),
    (
        {"repflow/use_exp_switch": True, "repflow/a_rcut_smth": 0},
        "repflow/a_rcut_smth: found 0, which use_exp_switch divides by",
    ),
    (
        {"repflow/use_env_envelope": True, "repflow/e_rcut_smth": 0.0},
        "repflow/e_rcut_smth: found 0, which use_exp_switch divides by",
    ),
    ({"repflow/a_compress_rate": -1}, "repflow/a_compress_rate: found -1; it must not be negative"),
    (
        {"repflow/a_compress_rate": 3},
        "repflow/a_compress_rate: found 3, but a_dim * a_compress_e_rate (64 * 1) is not divisible by 2 * 3",
    ),
    (
        {"repflow/a_dim": 6, "repflow/a_compress_rate": 2, "repflow/a_compress_e_rate": 2},
        "repflow/a_compress_rate: found 2, but a_dim / a_compress_rate (6 / 2) is not even",
    ),
    (
        {"repflow/a_compress_rate": 1, "repflow/a_compress_e_rate": -2},
        "repflow/a_compress_e_rate: found -2; it must not be negative",
    ),
    (
        {"repflow/a_compress_rate": 1, "repflow/a_compress_use_split": True, "repflow/n_dim": 32},
        "repflow/a_compress_use_split: found true, which keeps the first 64 components, but n_dim is 32",
    ),
    (
        {"repflow/a_compress_rate": 1, "repflow/a_compress_e_rate": 4, "repflow/a_compress_use_split": True},
        "repflow/a_compress_use_split: found true, which keeps the first 128 components, but e_dim is 64",
    ),
    ({"activation_function": "swish"}, "activation_function: unknown activation function 'swish'"),
    ({"precision": "double"}, "precision: unknown precision 'double'"),
    ({"exclude_types": [[0, 5]]}, "exclude_types/0: found type index 5"),
    ({"default_chg_spin": [0.0]}, "default_chg_spin: found 1 numbers; give two: the charge and the spin"),
    (
        CHARGED | {"default_chg_spin": [100, 1]},
        "default_chg_spin/0: found 100; the charge must lie between -100 and 99",
    ),
    (CHARGED | {"default_chg_spin": [0, -1.0]}, "default_chg_spin/1: found -1.0; the spin must lie between 0 and 99"),
    ({"default_chg_spin": [0, "1"]}, "default_chg_spin/1: found '1' (str), expected float"),
]


@pytest.mark.parametrize(("edits", "text"), BROKEN_DPA3)
def test_broken_dpa3_is_named(edits, text):
    assert f"{D}/{text}" in message("dpa3", edits)


@pytest.mark.parametrize("kind", BASES)
def test_electronic_configurations_need_elements(kind):
    text = message(kind, {"use_econf_tebd": True}, {"model/type_map": ["OW", "H"]})
    assert text.startswith(f"{D}/use_econf_tebd: found true, but model/type_map has OW, which no chemical element")


def test_a_default_charge_that_no_input_takes_is_named(caplog):
    caplog.set_level("INFO", logger="dpjax")
    text = f"{D}/default_chg_spin: changes nothing: without add_chg_spin_ebd"
    config.load(water({D: DPA3 | {"default_chg_spin": [0, 1]}}))
    assert text in caplog.text
    caplog.clear()
    config.load(water({D: DPA3 | CHARGED | {"default_chg_spin": [0, 1]}}))
    assert text not in caplog.text


def test_mistakes_of_both_blocks_are_named_together():
    text = message("dpa2", {"repinit/tebd_dim": 0, "repformer/g1_dim": 0, "smooth": "yes"})
    assert all(f"{D}/{key}" in text for key in ("repinit/tebd_dim", "repformer/g1_dim", "smooth"))


def test_aliases_mean_the_options():
    assert normalized("dpa2", {"repformer_add_type_ebd_to_seq": True})["add_tebd_to_repinit_out"] is True
    repflow = normalized("dpa3", {"repflow/edge_use_dist": True, "repflow/use_env_envelope": True})["repflow"]
    assert repflow["edge_init_use_dist"] is True
    assert repflow["use_exp_switch"] is True


def test_sections_become_dataclasses():
    context = Context(("O", "H"))
    dpa2 = DESCRIPTORS.parse(normalized("dpa2", {"repinit/neuron": [8, 16], "repinit/axis_neuron": 4}), D, context)
    assert isinstance(dpa2, DPA2Config)
    assert dpa2.repinit.neuron == (8, 16)
    assert (dpa2.repformer.rcut, dpa2.repformer.nlayers, dpa2.repformer.ln_eps) == (4, 3, None)
    dpa3 = DESCRIPTORS.parse(normalized("dpa3", {"default_chg_spin": [1, 2]}), D, context)
    assert isinstance(dpa3, DPA3Config)
    assert dpa3.default_chg_spin == (1, 2)
    assert (dpa3.repflow.e_sel, dpa3.repflow.nlayers, dpa3.repflow.update_style) == (120, 6, "res_residual")
    assert context.report.problems == []


@pytest.mark.parametrize("kind", BASES)
def test_they_can_be_parts_of_a_hybrid(kind):
    parts = {D: {"type": "hybrid", "list": [BASES[kind], {"type": "se_e2_a"}]}}
    assert config.normalize(water(parts))["model"]["descriptor"]["list"][0]["type"] == kind
    broken = edited(BASES[kind], {"precision": "x"})
    with pytest.raises(ConfigError, match="^model/descriptor/list/0/precision: unknown precision"):
        config.normalize(water({D: {"type": "hybrid", "list": [broken]}}))


def test_charge_and_spin_are_inputs():
    plain = config.load(water({D: BASES["dpa3"]})).model
    assert (plain.inputs, plain.default_inputs) == ({}, {})
    charged = config.load(water({D: edited(BASES["dpa3"], CHARGED)})).model
    assert (charged.inputs, charged.default_inputs) == ({"charge_spin": 2}, {})
    given = edited(BASES["dpa3"], CHARGED | {"default_chg_spin": [-1, 0.5]})
    fitting = {"model/fitting_net/numb_fparam": 3, "model/fitting_net/numb_aparam": 1}
    both = config.load(water({D: {"type": "hybrid", "list": [BASES["dpa3"], given]}} | fitting)).model
    assert both.inputs == {"fparam": 3, "aparam": 1, "charge_spin": 2}
    assert both.default_inputs == {"charge_spin": (-1, 0.5)}


def test_parts_of_a_hybrid_have_a_default_where_they_agree():
    one, same, other, none = (
        edited(BASES["dpa3"], CHARGED | {"default_chg_spin": default}) for default in ([0, 1], [0, 1], [0, 2], None)
    )
    for second, default in (
        (same, {"charge_spin": (0, 1)}),
        (BASES["dpa3"], {"charge_spin": (0, 1)}),
        (other, {}),
        (none, {}),
    ):
        parts = config.load(water({D: {"type": "hybrid", "list": [one, second]}})).model
        assert (parts.inputs, parts.default_inputs) == ({"charge_spin": 2}, default)


ODD = (None, True, 0, -1, 3, 10**40, -2.5, 1e308, float("nan"), "", "auto", "x", [], [None], [-1], [["a"]], {}, [{}])


def _paths(kind: str) -> list[str]:
    section = normalized(kind, {})
    inner = {k: v for k, v in section.items() if isinstance(v, dict)}
    return [k for k in section if k != "type"] + [f"{k}/{name}" for k, v in inner.items() for name in v]


@pytest.mark.parametrize("kind", BASES)
def test_odd_values_pass_or_are_named(kind):
    busy = {"dpa2": THREE_BODY, "dpa3": CHARGED | {"repflow/a_compress_rate": 2, "repflow/use_exp_switch": True}}[kind]
    for path in _paths(kind):
        for value in ODD:
            try:
                normalized(kind, busy | {path: value})
            except ConfigError as error:
                assert f"{D}/" in str(error)
