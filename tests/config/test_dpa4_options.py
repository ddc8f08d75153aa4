"""Everything of DPA4: the descriptors dpa4 and dpa4c, the fitting dpa4_ener, the model type dpa4 and the loss dens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dpjax import config
from dpjax.config.descriptors import DESCRIPTORS, Dpa4Config
from dpjax.config.models import parse
from dpjax.config.models.dpa4 import Dpa4ModelConfig, LoraConfig, fill_types, rename_newer
from dpjax.config.schema import Context
from dpjax.errors import ConfigError
from tests.config.inputs import REMOVE, edited, water
from tests.shared import shared_root

M, D, F, L = "model", "model/descriptor", "model/fitting_net", "loss"
BASE = {f"{M}/type": "dpa4", D: {"type": "dpa4"}, F: {"type": "dpa4_ener"}}
CASES = sorted(shared_root().glob("golden/dpa4/*/model.json"))


def dpa4(edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """A dpa4 model for water with values set at slash-separated paths."""
    return edited(water(BASE), edits)


def descriptor(**options: Any) -> dict[str, Any]:
    return {f"{D}/{key}": value for key, value in options.items()}


def message(edits: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as info:
        config.normalize(dpa4(edits))
    return str(info.value)


def parsed(edits: dict[str, Any] | None = None) -> Dpa4ModelConfig:
    return parse(config.normalize(dpa4(edits))["model"], M, Context())


def test_defaults():
    model = parsed()
    assert isinstance(model, Dpa4ModelConfig)
    assert model.descriptor == Dpa4Config()
    assert model.descriptor.depth == 3
    assert model.fitting_net.neuron == (0,)
    assert (model.bridging_method, model.lora) == ("None", None)


@pytest.mark.parametrize("name", ["dpa4", "DPA4", "SeZM", "sezm"])
def test_aliases(name):
    section = config.normalize(dpa4({f"{M}/type": name, f"{D}/type": name, f"{F}/type": "sezm_ener"}))["model"]
    assert (section["type"], section["descriptor"]["type"], section["fitting_net"]["type"]) == (
        "dpa4",
        "dpa4",
        "dpa4_ener",
    )


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.parent.name)
def test_reference_models_are_valid(path):
    section = json.loads(path.read_text())
    section["fitting_net"].pop("bias_out", None)  # not an option of inputs
    config.normalize(water({M: section}))


@pytest.mark.parametrize(
    "edits",
    [
        descriptor(sel=120),
        descriptor(sel=[40, 60, 20]),
        descriptor(sel="auto:1.5"),
        descriptor(basis_type="Gaussian", env_exp=[1, 1], radial_mlp=[]),
        descriptor(lmax=0, mmax=5),
        descriptor(l_schedule=[3, 3, 2], m_schedule=[1, 1, 0], lmax=-1, n_blocks=-1, mmax=-1),
        descriptor(l_schedule=[], m_schedule=[], mmax=None),
        descriptor(n_blocks=0, so2_layers=0),
        descriptor(channels=1, use_env_seed=False),
        descriptor(focus_dim=6, n_focus=2, n_atten_head=4, atten_f_mix=True),
        descriptor(n_atten_head=0, focus_dim=7),
        descriptor(lebedev_quadrature=[True, False], s2_activation=[True, True]),
        descriptor(full_attn_res="dependent"),
        descriptor(add_chg_spin_ebd=True, default_chg_spin=[-1, 1]),
        descriptor(kmax=3, extra_node_l=1, edge_norm=False, so3_readout="mlp", readout_layers=2, ffn_so3_grid=True),
        descriptor(grid_mlp=[False, True, False], grid_branch=[0, 0, 1], message_node_so3=True),
        descriptor(grid_branch=2, node_cartesian=2),
        descriptor(node_cartesian="parity:2", edge_cartesian=True, lmax=2),
        descriptor(edge_cartesian=True, node_wise_s2=True, lmax=3),
        {f"{F}/neuron": [], f"{F}/case_film_embd": True, f"{F}/dim_case_embd": 2},
        {f"{F}/n_neuron": [64, 0], f"{F}/resnet_dt": True},
        {f"{M}/bridging_method": "zbl", f"{M}/bridging_r_outer": 1.2},
        {f"{M}/bridging_method": "none", f"{M}/bridging_r_inner": 5.0},
        {f"{M}/lora": {"rank": 2, "alpha": 3.0}},
        {f"{M}/lora": None, f"{M}/use_compile": True, f"{M}/enable_tf32": False},
        {f"{M}/pair_exclude_types": [[0, 1]], f"{D}/exclude_types": [[0, 1]]},
        {f"{M}/preset_out_bias": {"energy": [None, -3.0]}},
        {F: {"type": "property", "property_name": "gap", "neuron": [0]}},
        {f"{M}/type": "standard", f"{M}/bridging_method": "ZBL"},
        {L: {"type": "dens"}},
        {L: {"type": "dens", "loss_func": "mse", "dens_corrupt_ratio": None, "dens_prob": 1}},
        {f"{M}/type": REMOVE, D: {"type": "DPA4C"}, f"{F}/type": "ener"},
        {f"{M}/type": REMOVE, D: {"type": "hybrid", "list": [{"type": "dpa4"}, {"type": "dpa4c", "lmax": 4}]}},
    ],
)
def test_valid(edits):
    config.normalize(dpa4(edits))


@pytest.mark.parametrize(
    ("options", "key", "text"),
    [
        ({"sel": 0}, "sel", "at least one neighbour"),
        ({"sel": [0, 0]}, "sel", "at least one neighbour"),
        ({"sel": "many"}, "sel", 'write "auto"'),
        ({"rcut": 0.0}, "rcut", "must be positive"),
        ({"env_exp": [7]}, "env_exp", "found 1 entries; give two exponents"),
        ({"env_exp": [7, 0]}, "env_exp/1", "found 0; it must be at least 1"),
        ({"channels": 0}, "channels", "at least 1"),
        ({"channels": 1}, "channels", "use_env_seed needs at least 2"),
        ({"basis_type": "bessl"}, "basis_type", "Did you mean `bessel`?"),
        ({"n_radial": 0}, "n_radial", "at least 1"),
        ({"radial_mlp": [8, -1]}, "radial_mlp/1", "at least 0"),
        ({"lmax": -1}, "lmax", "must not be negative"),
        ({"l_schedule": [2, 3]}, "l_schedule/1", "found 3 after 2"),
        ({"l_schedule": [2, -1]}, "l_schedule/1", "at least 0"),
        ({"l_schedule": [], "lmax": -2}, "lmax", "must not be negative"),
        ({"mmax": -1}, "mmax", "must not be negative"),
        ({"m_schedule": [1, 1]}, "m_schedule", "found 2 entries, but n_blocks makes 3 blocks"),
        ({"m_schedule": [1], "l_schedule": [2, 2]}, "m_schedule", "but l_schedule makes 2 blocks"),
        ({"m_schedule": [2, 2], "l_schedule": [2, 1]}, "m_schedule/1", "found 2; the degree of this block is only 1"),
        ({"m_schedule": [1, 1, 4]}, "m_schedule/2", "only 3"),
        ({"m_schedule": [1, -1, 1]}, "m_schedule/1", "at least 0"),
        ({"m_schedule": [], "n_blocks": 10**12}, "m_schedule", "1000000000000 blocks"),
        ({"n_blocks": -1}, "n_blocks", "must not be negative"),
        ({"so2_layers": -1}, "so2_layers", "must not be negative"),
        ({"so2_attn_res": "independant"}, "so2_attn_res", "Did you mean `independent`?"),
        ({"radial_so2_mode": "channel"}, "radial_so2_mode", "none, degree, degree_channel"),
        ({"radial_so2_rank": -1}, "radial_so2_rank", "must not be negative"),
        ({"n_focus": 0}, "n_focus", "at least 1"),
        ({"focus_dim": -1}, "focus_dim", "must not be negative"),
        ({"n_atten_head": -1}, "n_atten_head", "must not be negative"),
        ({"n_atten_head": 3}, "n_atten_head", "it must divide channels, which is 64, or be 0"),
        (
            {"n_atten_head": 5, "focus_dim": 6, "n_focus": 2, "atten_f_mix": True},
            "n_atten_head",
            "it must divide n_focus * focus_dim, which is 12",
        ),
        ({"ffn_neurons": -1}, "ffn_neurons", "must not be negative"),
        ({"grid_mlp": [True, True]}, "grid_mlp", "found 2 entries; give true, false, or three switches"),
        ({"ffn_blocks": 0}, "ffn_blocks", "at least 1"),
        ({"sandwich_norm": [True]}, "sandwich_norm", "found 1 entries; give four switches"),
        ({"full_attn_res": "yes"}, "full_attn_res", "none, independent, dependent"),
        ({"full_attn_res": "dependent", "block_attn_res": "dependent"}, "block_attn_res", 'Set one of them to "none"'),
        ({"s2_activation": []}, "s2_activation", "found 0 entries; give two switches"),
        ({"lebedev_quadrature": [True]}, "lebedev_quadrature", "found 1 entries; give true, false, or two"),
        ({"activation_function": "silo"}, "activation_function", "Did you mean `silu`?"),
        ({"default_chg_spin": [0]}, "default_chg_spin", "give two"),
        ({"exclude_types": [[0, 5]]}, "exclude_types/0", "found type index 5"),
        ({"precision": "float31"}, "precision", "unknown precision"),
        ({"eps": -1e-3}, "eps", "must not be negative"),
        ({"kmax": -1}, "kmax", "must not be negative"),
        ({"kmax": 4}, "kmax", "must not exceed the degree of the first block, 3"),
        ({"kmax": 2, "l_schedule": [1, 1]}, "kmax", "must not exceed the degree of the first block, 1"),
        ({"extra_node_l": -1}, "extra_node_l", "must not be negative"),
        ({"grid_branch": -1}, "grid_branch", "at least 0"),
        ({"grid_branch": [0, 0, -2]}, "grid_branch/2", "at least 0"),
        ({"grid_branch": [0]}, "grid_branch", "give a number, or three"),
        ({"so3_readout": "gru"}, "so3_readout", "Did you mean `glu`?"),
        ({"readout_layers": 0}, "readout_layers", "at least 1"),
        ({"node_cartesian": "both:2"}, "node_cartesian", 'write "none", "default:n" or "parity:n"'),
        ({"node_cartesian": -1}, "node_cartesian", 'write "none"'),
        ({"node_cartesian": "parity:"}, "node_cartesian", 'write "none"'),
        ({"edge_cartesian": True, "lmax": 2, "node_wise_s2": True}, "node_wise_s2", "edge_cartesian has no grids"),
    ],
)
def test_wrong_descriptor(options, key, text):
    found = message(descriptor(**options))
    assert found.startswith(f"{D}/{key}: ")
    assert text in found


@pytest.mark.parametrize(
    ("options", "key", "text"),
    [
        ({"rcut": -1.0}, "rcut", "must be positive"),
        ({"channels": 24}, "channels", "found 24; it must be one of 8, 16, 32, 64, 128"),
        ({"lmax": 1}, "lmax", "found 1; it must be one of 2, 3, 4"),
        ({"n_radial": 0}, "n_radial", "at least 1"),
        ({"radial_modes": -1}, "radial_modes", "must not be negative"),
        ({"basis_type": "fourier"}, "basis_type", "bessel, gaussian"),
        ({"precision": "double"}, "precision", "unknown precision"),
        ({"default_chg_spin": [0, 1, 2]}, "default_chg_spin", "give two"),
        ({"exclude_types": [[0]]}, "exclude_types/0", "give pairs"),
    ],
)
def test_wrong_compact_descriptor(options, key, text):
    found = message({f"{M}/type": REMOVE, D: {"type": "dpa4c", **options}, f"{F}/type": "ener"})
    assert found.startswith(f"{D}/{key}: ")
    assert text in found


@pytest.mark.parametrize(
    ("edits", "path", "text"),
    [
        ({f"{F}/neuron": [0, -3]}, f"{F}/neuron/1", "found -3"),
        ({f"{F}/activation_function": "x"}, f"{F}/activation_function", "unknown activation"),
        ({f"{F}/atom_ener": [1.0]}, f"{F}/atom_ener", "found 1 entries"),
        ({f"{F}/default_fparam": [1.0]}, f"{F}/default_fparam", "numb_fparam is 0"),
        ({f"{F}/trainable": [True]}, f"{F}/trainable", "expected 2"),
        ({D: {"type": "se_e2_a"}}, f"{D}/type", 'found "se_e2_a"; a model of type dpa4 has a dpa4 descriptor'),
        ({F: {"type": "ener"}}, f"{F}/type", 'found "ener"; a model of type dpa4 takes one of: dpa4_ener, property'),
        ({f"{M}/bridging_method": "LJ"}, f"{M}/bridging_method", "found 'LJ'"),
        ({f"{M}/bridging_method": "ZBL", f"{M}/bridging_r_inner": 0.0}, f"{M}/bridging_r_inner", "positive length"),
        ({f"{M}/bridging_method": "ZBL", f"{M}/bridging_r_inner": 0.9}, f"{M}/bridging_r_inner", "less than"),
        ({f"{M}/bridging_method": "ZBL", f"{M}/bridging_r_outer": 9.0}, f"{M}/bridging_r_outer", "cut-off"),
        ({f"{M}/bridging_method": "ZBL", f"{M}/type_map": ["O", "D"]}, f"{M}/bridging_method", "but D is none"),
        (
            {f"{M}/bridging_method": "ZBL", F: {"type": "property", "property_name": "gap"}},
            f"{M}/bridging_method",
            "the fitting net property predicts no energy",
        ),
        ({f"{M}/lora": {}}, f"{M}/lora/rank", "missing"),
        ({f"{M}/lora": {"rank": 0}}, f"{M}/lora/rank", "at least 1"),
        ({f"{M}/lora": {"rank": 1, "alpha": 0.0}}, f"{M}/lora/alpha", "must be positive"),
        ({f"{M}/lora": {"rank": 1, "ranks": 1}}, f"{M}/lora/ranks", "unknown key"),
        (
            {f"{M}/pair_exclude_types": [[0, 0]], f"{D}/exclude_types": [[0, 1]]},
            f"{D}/exclude_types",
            "but pair_exclude_types of the model is [[0, 0]]",
        ),
        (
            {f"{M}/type": "standard", D: {"type": "se_e2_a"}, f"{M}/bridging_method": "ZBL"},
            f"{M}/bridging_method",
            "needs a dpa4 descriptor, not se_e2_a",
        ),
        ({f"{M}/preset_out_bias": {"enrgy": [None, None]}}, f"{M}/preset_out_bias/enrgy", "unknown output"),
        ({L: {"type": "dens", "loss_func": "rmse"}}, f"{L}/loss_func", "mae, mse"),
        ({L: {"type": "dens", "dens_prob": 1.5}}, f"{L}/dens_prob", "a probability lies between 0 and 1"),
        ({L: {"type": "dens", "dens_corrupt_ratio": -1}}, f"{L}/dens_corrupt_ratio", "a probability"),
        ({L: {"type": "dens", "dens_std": 0}}, f"{L}/dens_std", "must be positive"),
        ({L: {"type": "dens", "dens_fixed_noise_std": False}}, f"{L}/dens_fixed_noise_std", "do not exist"),
        ({L: {"type": "dens", "start_pref_f": -1}}, f"{L}/start_pref_f", "must not be negative"),
        (
            {L: {"type": "dens", "dens_denoising_pos_coefficient": -1}},
            f"{L}/dens_denoising_pos_coefficient",
            "must not be negative",
        ),
        ({L: {"type": "dens", "start_pref_v": 1}}, f"{L}/start_pref_v", "unknown key"),
    ],
)
def test_wrong_elsewhere(edits, path, text):
    found = message(edits)
    assert found.startswith(f"{path}: ")
    assert text in found


def test_newer_options_are_kept_when_given_and_not_filled_in():
    filled = config.normalize(dpa4(descriptor(edge_norm=False)))["model"]["descriptor"]
    assert filled["edge_norm"] is False
    assert "kmax" not in filled
    assert "bridging_method" not in config.normalize(water())["model"]


def test_lora_is_a_dataclass():
    assert parsed({f"{M}/lora": {"rank": 2}}).lora == LoraConfig(2, None)


def test_a_list_of_neighbours_is_summed_and_need_not_match_the_types():
    assert parsed(descriptor(sel=[40, 60, 20])).descriptor.sel == (40, 60, 20)


def test_what_is_not_built():
    assert "dpa4" in DESCRIPTORS.built and "dpa4c" not in DESCRIPTORS.built
    with pytest.raises(ConfigError, match="not built yet"):
        config.load(dpa4({f"{M}/type": REMOVE, f"{D}": {"type": "dpa4c"}, f"{F}/type": "ener"}))


@pytest.mark.parametrize(
    ("key", "asks_nothing", "asks"),
    [
        ("edge_norm", True, False),
        ("edge_cartesian", False, True),
        ("node_cartesian", "none", "default:2"),
        ("extra_node_l", 0, 1),
        ("grid_branch", 0, 2),
        ("ffn_so3_grid", False, True),
        ("node_wise_s2", False, True),
        ("node_wise_so3", False, True),
        ("message_node_s2", False, True),
        ("message_node_so3", False, True),
        ("so3_readout", "none", "glu"),
        ("readout_layers", 1, 2),
    ],
)
def test_newer_options_that_ask_for_something_are_refused(key, asks_nothing, asks):
    config.load(dpa4(descriptor(**{key: asks_nothing})))
    with pytest.raises(ConfigError, match=f"descriptor/{key}: found .* is not built yet"):
        config.load(dpa4(descriptor(**{key: asks})))


def test_an_option_without_effect_says_what_is_done_instead(caplog):
    caplog.set_level("INFO", logger="dpjax")
    config.load(dpa4())
    assert "random_gamma" not in caplog.text
    config.load(dpa4(descriptor(random_gamma=False)))
    assert re.search(f"{D}/random_gamma: false changes nothing: .*evaluations repeat", caplog.text)


@pytest.mark.parametrize("kind", ["dpa4", "SeZM"])
def test_missing_types_are_those_of_the_model(kind):
    section = {"type": kind, "descriptor": {"mixing_layers": 3}, "fitting_net": {"neuron": [0]}}
    fill_types(section)
    assert section == {
        "type": kind,
        "descriptor": {"type": "dpa4", "so2_layers": 3},
        "fitting_net": {"type": "dpa4_ener", "neuron": [0]},
    }


@pytest.mark.parametrize(
    "section",
    [
        None,
        [],
        {},
        "dpa4",
        {"type": "standard", "descriptor": {}},
        {"descriptor": {"type": "dpa4"}, "fitting_net": {}},
        {"type": ["dpa4"], "descriptor": {}},
        {"type": "dpa4"},
        {"type": "dpa4", "descriptor": None, "fitting_net": []},
        {"type": "dpa4", "descriptor": "shared_1", "fitting_net": "shared_2"},
        {"type": "dpa4", "descriptor": {"type": "se_e2_a", "mixing_layers": 1}, "fitting_net": {"type": 3}},
        {"type": "dpa4", "descriptor": {"type": "dpa4", "mixing_layers": 1, "so2_layers": 2}},
    ],
)
def test_other_sections_are_left_alone(section):
    before = json.dumps(section)
    fill_types(section)
    assert json.dumps(section) == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "sezm", "mixing_layers": 2}, {"type": "sezm", "so2_layers": 2}),
        ({"type": "dpa4", "mixing_layers": 2, "so2_layers": 2}, {"type": "dpa4", "so2_layers": 2}),
        ({"mixing_layers": 2}, {"mixing_layers": 2}),
        ({"type": {}, "mixing_layers": 2}, {"type": {}, "mixing_layers": 2}),
        (None, None),
        ("dpa4", "dpa4"),
    ],
)
def test_renamed_keys(given, expected):
    rename_newer(given)
    assert given == expected
