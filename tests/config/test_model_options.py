"""Models other than the standard one, and the sections that any model can have: what is valid, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from dpjax import config
from dpjax.config import models, nvnmd
from dpjax.config.problems import Report
from dpjax.config.schema import Context
from dpjax.errors import ConfigError
from tests.config.inputs import WATER, edited

NETS = {k: WATER["model"][k] for k in ("descriptor", "fitting_net")}
TABLE = {"type": "pairtab", "tab_file": "h2o.txt", "rcut": 6.0, "sel": 100}
FILE = {"type": "frozen", "model_file": "model.dp"}
INNER = {"type": "inner_potential"}
DPA4 = {"type": "dpa4", "descriptor": {"type": "dpa4", "sel": 40}, "fitting_net": {"type": "dpa4_ener"}}
MODIFIER = {
    "type": "dipole_charge", "model_name": "dw.dp", "model_charge_map": [-8], "sys_charge_map": [6, 1],
}  # fmt: skip
NVNMD = {
    "version": 0, "max_nnei": 128, "net_size": 128, "map_file": "none", "config_file": "", "weight_file": "none",
    "enable": True, "restore_descriptor": False, "restore_fitting_net": False, "quantize_descriptor": False,
    "quantize_fitting_net": False,
}  # fmt: skip
LOC_FRAME = {"type": "loc_frame", "sel_a": [4, 6], "sel_r": [16, 22], "rcut": 2.6, "axis_rule": [0, 1, 0, 0, 1, 1] * 2}
LINEAR = {"type": "linear_ener", "models": [NETS, TABLE], "weights": "sum"}
DPRC = {"type": "pairwise_dprc", "type_embedding": {"neuron": [8]}, "qm_model": NETS, "qmmm_model": copy.deepcopy(NETS)}


def model(section: dict[str, Any], edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """The water input with another model, and edits below ``model``."""
    data = WATER | {"model": edited({"type_map": ["O", "H"], **section}, edits)}
    return copy.deepcopy(data)


def spin(**section: Any) -> dict[str, Any]:
    return model(NETS, {"spin": section})


def message(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as info:
        config.normalize(data)
    return str(info.value)


def parsed(section: dict[str, Any]) -> Any:
    """The dataclass of a model section."""
    raw = config.normalize(model(section))["model"]
    return models.parse(raw, "model", Context(report=Report()))


@pytest.mark.parametrize(
    "section",
    [
        FILE,
        TABLE,
        TABLE | {"sel": "auto:1.2"},
        TABLE | {"sel": [30, 60]},
        LINEAR,
        LINEAR | {"weights": [1, -0.5]},
        LINEAR | {"weights": "mean", "models": [FILE]},
        LINEAR | {"models": {"a": NETS, "b": FILE}},
        LINEAR | {"models": [NETS | {"type_map": ["H", "C", "O"], "descriptor": {"type": "se_e2_a"}}, TABLE]},
        LINEAR | {"shared_dict": {}},
        LINEAR | {"models": [DPA4, INNER | {"mode": "ZBL"}]},
        LINEAR | {"models": [DPA4, TABLE]},
        DPRC,
        DPRC | {"qm_model": NETS | {"type_map": ["O", "H"]}},
        NETS | {"type_embedding": {}},
        NETS | {"modifier": MODIFIER},
        NETS | {"compress": {"type": "se_e2_a", "model_file": "a.pb", "table_config": [5, 0.01, 0.1, -1]}},
        FILE | {"modifier": MODIFIER},
    ],
    ids=str,
)
def test_valid_models(section):
    raw = config.normalize(model(section))
    assert config.normalize(raw) == raw
    cfg = parsed(section)
    assert cfg.type == section.get("type", "standard")
    assert cfg.type_map == ("O", "H")


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({}, None),
        ({"qm_model": TABLE}, None),
        ({"qm_model/descriptor": LOC_FRAME}, "qm_model/descriptor/type"),
        ({"qmmm_model": FILE}, "qmmm_model/type"),
        ({"qmmm_model": DPA4}, "qmmm_model/type"),
        ({"qm_model/use_srtab": "a", "qm_model/smin_alpha": 1, "qm_model/sw_rmin": 1, "qm_model/sw_rmax": 2}, "qm_model/use_srtab"),
        ({"modifier": MODIFIER}, "modifier"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_built_between_fragments(edits, path):
    found = config.not_built(model(DPRC, edits))
    assert [problem.path for problem in found] == ([] if path is None else [f"model/{path}"])
    assert all("not built yet" in problem.text for problem in found)


def test_parts_of_dprc_models_get_its_type_vectors():
    cfg = parsed({key: value for key, value in DPRC.items() if key != "type_embedding"})
    assert cfg.type_embedding.activation_function == "none"
    assert [part.type_embedding for part in cfg.parts] == [cfg.type_embedding] * 2
    assert "type_embedding" not in cfg.qm_model.raw
    ebd = parsed(DPRC | {"qm_model": NETS | {"descriptor": {"type": "se_a_ebd_v2", "sel": [20, 40]}}})
    assert ebd.qm_model.type_embedding is None


def test_parts_take_the_type_map_of_the_whole():
    cfg = parsed(LINEAR | {"models": [NETS, NETS | {"type_map": ["H", "O"]}]})
    assert [part.type_map for part in cfg.models] == [("O", "H"), ("H", "O")]
    assert "type_map" not in cfg.models[0].raw


def test_parts_by_name_keep_their_names():
    cfg = parsed(LINEAR | {"models": {"net": NETS, "table": TABLE}})
    assert [name for name, _ in cfg.named] == ["net", "table"]
    assert cfg.models["table"].rcut == 6.0


def test_the_sections_become_dataclasses():
    cfg = parsed(NETS | {"spin": {"use_spin": ["O"], "virtual_scale": 0.3}, "modifier": MODIFIER, "type_embedding": {}})
    assert cfg.spin == models.SpinConfig(use_spin=("O",), virtual_scale=0.3)
    assert cfg.modifier.sys_charge_map == (6, 1) and cfg.modifier.ewald_beta == 0.4
    assert cfg.type_embedding == models.TypeEmbeddingConfig()
    assert cfg.compress is None


@pytest.mark.parametrize("registry", [models.MODELS, models.modifier.MODIFIERS], ids=lambda r: r.kind)
def test_dataclass_defaults_are_the_option_defaults(registry):
    for component in (c for c in registry.components if c.name not in ("standard", "dpa4")):
        default = {f.name: f.default for f in dataclasses.fields(component.config)}
        for option in component.options():
            filled = option.default if option.has_default else None
            value = tuple(filled) if isinstance(filled, list) else filled
            assert default[option.name] == (value if option.optional else dataclasses.MISSING), option.name


@pytest.mark.parametrize(
    ("section", "edits", "start", "text"),
    [
        (FILE, {"model_file": ""}, "model/model_file: found an empty name", "path of a file"),
        ({"type": "frozen"}, {}, "model/model_file: missing", "trained model"),
        (FILE, {"data_stat_nbatch": 0}, "model/data_stat_nbatch: found 0", "at least 1"),
        (TABLE, {"tab_file": " "}, "model/tab_file: found an empty name", "path of a file"),
        (TABLE, {"rcut": 0}, "model/rcut: found 0", "positive"),
        (TABLE, {"sel": 0}, "model/sel: found 0", "at least one"),
        (TABLE, {"sel": "auto:"}, 'model/sel: found "auto:"', "auto:1.2"),
        (TABLE, {"sel": [1, 2, 3]}, "model/sel: found 3 entries", "per type"),
        (LINEAR, {"models": []}, "model/models: found no model", "at least one"),
        (LINEAR, {"models": [NETS, 3]}, "model/models/1: found 3 (int), expected dict", ""),
        (LINEAR, {"models": [NETS, {"type": "linear_ener"}]}, "model/models/1/type: unknown model 'linear_ener'", ""),
        (LINEAR, {"models": [NETS, TABLE | {"rcut": -1}]}, "model/models/1/rcut: found -1", "positive"),
        (LINEAR, {"models": {"a": FILE | {"model_fil": ""}}, "weights": [1]}, "model/models/a/model_fil: unknown key", ""),
        (LINEAR, {"models": [NETS | {"type_map": ["O"]}], "weights": "sum"}, "model/models/0/", "found 2 entries [46, 92]"),
        (
            LINEAR,
            {"models": [TABLE | {"type_map": ["O"]}]},
            "model/models/0/type_map: lacks H",
            "every part must know all types",
        ),
        (LINEAR, {"models": [TABLE | {"type_map": ["O", "O"]}]}, "model/models/0/type_map/1: 'O' is already", "own name"),
        (LINEAR, {"weights": "men"}, "model/weights: found 'men'", "Did you mean `mean`?"),
        (LINEAR, {"weights": [1.0]}, "model/weights: found 1 numbers for 2 models", "one for each"),
        (LINEAR, {"weights": [1.0, "x"]}, "model/weights/1: found 'x' (str)", "expected a number"),
        (LINEAR, {"weights": [1.0, True]}, "model/weights/1: found true", "expected a number"),
        (LINEAR, {"weights": [1.0, float("nan")]}, "model/weights/1: found NaN", "expected a number"),
        (
            LINEAR,
            {"models": [edited(NETS, {"fitting_net/numb_fparam": n}) for n in (1, 2)]},
            "model/models: numb_fparam must be the same",
            "1 in models/0, 2 in models/1",
        ),
        (LINEAR, {"models": [NETS, INNER]}, "model/models/0: ", "descriptor of type dpa4"),
        (LINEAR, {"models": [INNER, INNER]}, "model/models: found 2 of type inner_potential among 2", "exactly one"),
        (LINEAR, {"models": [NETS, TABLE, INNER]}, "model/models: found 1 of type inner_potential among 3", "exactly one"),
        (LINEAR, {"models": [NETS, INNER | {"mode": "lj"}]}, "model/models/1/mode: found 'lj'", "zbl"),
        (LINEAR, {"models": [NETS, INNER | {"r_inner": 0}]}, "model/models/1/r_inner: found 0", "positive"),
        (LINEAR, {"models": [NETS, INNER | {"r_outer": 0.4}]}, "model/models/1/r_outer: found 0.4", "greater than r_inner"),
        (
            LINEAR,
            {"type_map": ["O", "X"], "models": [NETS, INNER]},
            "model/models/1/mode: found 'zbl', but the types X are no elements",
            "nuclear charge",
        ),
        (
            LINEAR,
            {"models": [DPA4 | {"bridging_method": "zbl"}, TABLE]},
            "model/models/0/bridging_method: found 'zbl' in a part",
            "inner_potential",
        ),
        (INNER, {}, "model/type: unknown model 'inner_potential'", ""),
        (DPRC, {"qm_model": TABLE | {"type_map": ["H", "O"]}}, "model/qm_model/type_map: found ['H', 'O']", "latter"),
        (DPRC, {"qm_model/type_embedding": {}}, "model/qm_model/type_embedding: both parts share", "model/type_embedding"),
        (DPRC, {"qm_model/fitting_net/numb_aparam": 1}, "model/qm_model/fitting_net/numb_aparam: found 1", "the fragment"),
        (
            DPRC,
            {f"{part}/fitting_net": {"neuron": [4], "layer_name": ["a", None]} for part in ("qm_model", "qmmm_model")},
            "model/qmmm_model/fitting_net/layer_name: found 'a', which qm_model has",
            "another name",
        ),
        (DPRC, {"qm_model/fitting_net": {"type": "dos"}}, "model/qm_model/fitting_net/type: predicts", "energies"),
        (DPRC, {"qmmm_model/atom_exclude_types": [0]}, "model/qmmm_model/atom_exclude_types: found", "model/atom_exclude"),
        (DPRC, {"qm_model/preset_out_bias": {"energy": [1.0, None]}}, "model/qm_model/preset_out_bias", "model/preset_out"),
        (
            DPRC,
            {"use_srtab": "x.tab", "smin_alpha": 0.1, "sw_rmin": 0.5, "sw_rmax": 1.0},
            "model/use_srtab: found 'x.tab' in a model",
            "standard",
        ),
        (DPRC, {"qm_model/type": "pairwise_dprc"}, "model/qm_model/type: unknown model 'pairwise_dprc'", ""),
        (DPRC, {"qmmm_model/descriptor/rcut": -1}, "model/qmmm_model/descriptor/rcut: found -1", "positive"),
        (NETS, {"type_embedding": {"neuron": []}}, "model/type_embedding/neuron: found an empty list", "at least one"),
        (NETS, {"type_embedding": {"precision": "f32"}}, "model/type_embedding/precision: unknown precision", ""),
        (NETS, {"type_embedding": {"activation_function": "x"}}, "model/type_embedding/activation_function: ", "unknown"),
        (
            NETS,
            {"type_map": ["O", "X"], "type_embedding": {"use_econf_tebd": True}},
            "model/type_embedding/use_econf_tebd: found true",
            "X, which no chemical element",
        ),
        (NETS, {"modifier": {"model_name": ""}}, "model/modifier/type: missing", "dipole_charge"),
        (NETS, {"modifier": MODIFIER | {"model_name": ""}}, "model/modifier/model_name: found an empty name", "dipole"),
        (NETS, {"modifier": MODIFIER | {"model_charge_map": []}}, "model/modifier/model_charge_map: ", "Wannier"),
        (NETS, {"modifier": MODIFIER | {"sys_charge_map": []}}, "model/modifier/sys_charge_map: ", "one charge per type"),
        (NETS, {"modifier": MODIFIER | {"sys_charge_map": [6]}}, "model/modifier/sys_charge_map: found 1 entries", ""),
        (NETS, {"modifier": MODIFIER | {"ewald_h": 0}}, "model/modifier/ewald_h: found 0", "positive"),
        (NETS, {"modifier": MODIFIER | {"ewald_beta": -1}}, "model/modifier/ewald_beta: found -1", "positive"),
        (TABLE, {"modifier": MODIFIER | {"ewald_beta": -1}}, "model/modifier/ewald_beta: found -1", "positive"),
        (LINEAR, {"models": [NETS | {"modifier": MODIFIER}]}, "model/models/0/modifier: ", "into the section of the whole"),
        (NETS | {"fitting_net": {"type": "dipole"}}, {"modifier": MODIFIER}, "model/modifier: ", "predicts dipole"),
        (NETS, {"compress": []}, "model/compress: found [] (list), expected dict", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model(section, edits, start, text):
    found = message(model(section, edits))
    assert found.startswith(start), found
    assert text in found


def test_an_inner_potential_needs_weights_that_add_up():
    found = message(model(LINEAR, {"models": [NETS, INNER], "weights": "mean", "shared_dict": {"a": {}}}))
    assert 'model/weights: must be "sum"' in found
    assert "model/shared_dict: cannot be used" in found


@pytest.mark.parametrize(
    "section",
    [
        {"use_spin": [True, False], "virtual_scale": [0.314]},
        {"use_spin": [True, False], "virtual_scale": [0.314, 0]},
        {"use_spin": [False, True], "virtual_scale": -0.3},
        {"use_spin": [0], "virtual_scale": 1},
        {"use_spin": ["H", "O"], "virtual_scale": [0.3, 0.4]},
        {"use_spin": [True, False], "virtual_len": [0.4], "spin_norm": [1.2737]},
        {"use_spin": [True, False], "virtual_len": [0.4, 0], "spin_norm": [1.2737, 0.0]},
        {"use_spin": [True, False], "virtual_scale": 0.3, "virtual_len": [0.4]},
        {"use_spin": [True, False], "scheme": "Native", "allow_missing_label": True},
        {"use_spin": [True, False], "scheme": "native", "virtual_scale": []},
        {"use_spin": [], "virtual_scale": 0.3},
    ],
    ids=str,
)
def test_valid_spins(section):
    raw = config.normalize(spin(**section))
    assert raw["model"]["spin"] == section


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ({"virtual_scale": 0.3}, "use_spin: missing", "type_map"),
        ({"use_spin": [True, 1]}, "use_spin: found", "expected"),
        (
            {"use_spin": [True], "virtual_scale": 1},
            "use_spin: found 1 entries, but model/type_map has 2 (O, H)",
            "true or false per type",
        ),
        ({"use_spin": [2], "virtual_scale": 1}, "use_spin: found type index 2", "0 to 1"),
        (
            {"use_spin": ["H", "o"], "virtual_scale": 1},
            "use_spin/1: found 'o', which is not in model/type_map (O, H)",
            "`O`",
        ),
        ({"use_spin": [True, False]}, "virtual_scale: missing", "virtual_len together with spin_norm"),
        ({"use_spin": [0], "virtual_len": [0.4]}, "spin_norm: missing", "together with virtual_len"),
        ({"use_spin": [0], "spin_norm": [0.4]}, "virtual_len: missing", "together with spin_norm"),
        (
            {"use_spin": [0], "virtual_scale": []},
            "virtual_scale: found 0 entries",
            "1, one for each type with spin, or 2",
        ),
        ({"use_spin": [0], "virtual_scale": [1, 2, 3]}, "virtual_scale: found 3 entries", "one per type"),
        ({"use_spin": [0], "virtual_scale": 0}, "virtual_scale: found 0", "not be zero"),
        ({"use_spin": [1], "virtual_scale": [0.3, 0]}, "virtual_scale/1: found 0", "not be zero"),
        ({"use_spin": [0], "virtual_len": [0], "spin_norm": [1]}, "virtual_len/0: found 0", "positive"),
        ({"use_spin": [0], "virtual_len": [1], "spin_norm": [-1]}, "spin_norm/0: found -1", "positive"),
        ({"use_spin": [0], "virtual_len": [1, 1, 1], "spin_norm": [1]}, "virtual_len: found 3 entries", "one per type"),
        ({"use_spin": [0], "virtual_scale": 1, "scheme": "natve"}, "scheme: found 'natve'", "`native`"),
    ],
)
def test_what_is_wrong_with_spins(section, key, text):
    found = message(spin(**section))
    assert found.startswith(f"model/spin/{key}"), found
    assert text in found


def test_spins_without_known_types():
    data = spin(use_spin=["Fe"], virtual_scale=[0.3])
    del data["model"]["type_map"]
    config.normalize(data)


def quantised(**section: Any) -> Report:
    """What is wrong with an ``nvnmd`` section."""
    report = Report()
    nvnmd.parse(NVNMD | section, "nvnmd", Context(report=report))
    return report


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"version": 1, "max_nnei": 256},
        {"restore_descriptor": True, "weight_file": "w.npy", "quantize_descriptor": True, "map_file": "m.npy"},
        {"enable": False, "restore_descriptor": True},
    ],
)
def test_valid_quantised_models(section):
    assert quantised(**section).problems == []


@pytest.mark.parametrize(
    ("section", "start"),
    [
        ({"version": 2}, "nvnmd/version: found 2; it must be 0 or 1."),
        ({"max_nnei": 64}, "nvnmd/max_nnei: found 64; it must be 128 or 256."),
        ({"net_size": 64}, "nvnmd/net_size: found 64; it must be 128."),
        ({"restore_descriptor": True}, "nvnmd/restore_descriptor: found true, but weight_file"),
        ({"restore_fitting_net": True, "weight_file": ""}, "nvnmd/restore_fitting_net: found true, but weight_file"),
        ({"quantize_descriptor": True}, "nvnmd/quantize_descriptor: found true, but map_file"),
    ],
)
def test_what_is_wrong_with_a_quantised_model(section, start):
    (problem,) = quantised(**section).problems
    assert str(problem).startswith(start)


def test_no_quantised_model():
    assert nvnmd.parse(None, "nvnmd", Context()) is None
