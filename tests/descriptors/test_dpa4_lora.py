"""Adapters of dpa4: where they are, which parameters are trained with them, and that they are a part of the weights.

``tests/goldens/dpa4/lora`` has a model of DeePMD-kit's 3.2.0 with trained adapters, the same one merged, and its numbers.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from dpjax import config
from dpjax.config import parse_model
from dpjax.config.models.dpa4 import LoraConfig
from dpjax.descriptors.dpa4.lora import ADAPTERS, adapters, corrected, drawn_with, is_trained, merged, with_adapters
from dpjax.descriptors.dpa4.parameters import drawn, nested, parameters
from dpjax.errors import ConfigError, ModelError
from dpjax.interfaces.files import from_weights
from dpjax.interfaces.potential import Potential
from dpjax.models import build_model, init_variables
from dpjax.models.adapters import plain
from dpjax.optimizers.routing import route
from dpjax.training.fresh import trainable_labels
from tests.shared import golden
from tests.training import tiny

DESCRIPTOR, FITTING = "atomic_model.descriptor.", "atomic_model.fitting_net.filter_layers.networks.0."
LARGE = {  # all kinds of parts
    "type": "dpa4", "sel": 20, "rcut": 3.0, "channels": 4, "n_radial": 3, "lmax": 2, "n_blocks": 2, "so2_layers": 3, "n_focus": 2,
    "focus_dim": 3, "ffn_neurons": 5, "ffn_blocks": 2, "mlp_bias": True, "layer_scale": True, "so2_norm": True,
    "so2_attn_res": "dependent", "full_attn_res": "dependent", "atten_v_proj": True, "atten_o_proj": True,
    "s2_activation": [False, True], "sandwich_norm": [True, True, True, True], "precision": "float64", "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def section() -> dict:
    return json.loads(golden("dpa4", "lora", "model.json").read_text())


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return dict(np.load(golden("dpa4", "lora", "weights.npz")))


@pytest.fixture(scope="module")
def flags() -> dict[str, bool]:
    return json.loads(golden("dpa4", "lora", "trainable.json").read_text())


def named(tree: dict) -> dict[str, np.ndarray]:
    """Leaves by the parts of their names, joined by dots."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def shapes_of(section: dict) -> dict:
    """Parameters of a model as they are built, without their values."""
    return jax.eval_shape(lambda: init_variables(build_model(parse_model(copy.deepcopy(section)))))["params"]


def model_of(descriptor: dict, **options) -> dict:
    net = {"type": "dpa4_ener", "neuron": [0], "precision": "float64", "seed": 2}
    return {"type": "dpa4", "type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": net} | options


def test_names_shapes_and_flags_of_the_reference(section, stored, flags):
    params = shapes_of(section)
    ours = {DESCRIPTOR + name: leaf.shape for name, leaf in named(params["descriptor"]).items()}
    theirs = {name: stored[name].shape for name in flags if name.startswith(DESCRIPTOR)}
    assert ours == theirs
    labels = trainable_labels(parse_model(copy.deepcopy(section)), params)
    found = {DESCRIPTOR + name: flag for name, flag in named(labels["descriptor"]).items()}
    found |= {FITTING + name: flag for name, flag in named(labels["fitting_net"]["net_all"]).items()}
    assert found == flags


def test_a_model_is_read_with_its_adapters_in_the_weights(section, stored):
    pot = from_weights(section, stored)
    assert pot.config.lora is None and pot.config.raw["lora"] is None
    bare = {key: value for key, value in section.items() if key != "lora"}
    other = from_weights(bare, dict(np.load(golden("dpa4", "lora", "weights_merged.npz"))))
    assert pot.config == other.config and pot.config.raw == other.config.raw
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), pot.variables, other.variables)
    again = from_weights(bare, stored)  # what is stored beside the factors says what they are multiplied by
    jax.tree.map(np.testing.assert_array_equal, again.variables, pot.variables)


def test_factors_without_a_scaling(section, stored):
    bare = {name: array for name, array in stored.items() if not name.endswith("lora_scaling")}
    jax.tree.map(
        np.testing.assert_array_equal, from_weights(section, bare).variables, from_weights(section, stored).variables
    )
    with pytest.raises(ModelError, match=r"pre_focus_mix|so2_linears"):
        from_weights({key: value for key, value in section.items() if key != "lora"}, bare)
    lonely = {name: array for name, array in stored.items() if not name.endswith("output_ffn.so3_linear_1.B_by_l")}
    with pytest.raises(ModelError, match=r"names belong to nothing in the model: .*output_ffn\.so3_linear_1\.A_by_l"):
        from_weights(section, lonely)


def test_energies_of_the_reference_with_adapters_beside_the_weights(section, stored):
    whole = from_weights(section, stored)
    weights = {name.removeprefix(DESCRIPTOR): array for name, array in stored.items() if name.startswith(DESCRIPTOR)}
    weights = {name: array for name, array in weights.items() if not name.endswith(("lora_scaling", "version_tensor"))}
    variables = whole.variables | {"params": whole.variables["params"] | {"descriptor": nested(weights)}}
    pot = Potential(parse_model(copy.deepcopy(section)), variables, conventions="reference")
    wanted = np.load(golden("dpa4", "lora", "ref.npz"))
    case = {key.partition(".")[2]: wanted[key] for key in wanted if key.startswith("triclinic.")}
    found = pot.evaluate(case["coord"], case["atype"], case["box"])
    np.testing.assert_allclose(found["energy"], case["energy"], rtol=0, atol=1e-10)
    for name in ("force", "virial"):
        bound = 1e-9 * max(1.0, np.abs(case[name]).max())
        np.testing.assert_allclose(found[name].reshape(case[name].shape), case[name], rtol=0, atol=bound)


def test_where_adapters_are_in_a_model_with_all_parts():
    params = named(shapes_of(model_of(LARGE, lora={"rank": 2}))["descriptor"])
    factors = {name for name in params if not ADAPTERS.isdisjoint(name.split("."))}
    assert {name for name in params if name not in factors} == set(named(shapes_of(model_of(LARGE))["descriptor"]))
    corrected_layers = {name.rpartition(".")[0] for name in factors if name.endswith((".A_by_l", ".A_m0"))}
    own = ["pre_focus_mix", "post_focus_mix", "attn_v_proj", "attn_o_proj", *(f"so2_linears.{k}" for k in range(3))]
    nets = ["so3_linear_1", "so3_linear_2"]
    assert corrected_layers == {
        *(f"blocks.{b}.so2_conv.{name}" for b in range(2) for name in own),
        *(f"blocks.{b}.ffns.{k}.{name}" for b in range(2) for k in range(2) for name in nets),
        *(f"output_ffn.{name}" for name in nets),
    }
    for name in factors:  # as matrices of their own: what HybridMuon makes orthogonal
        assert route(name, params[name].shape, "slice") == "muon"


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("blocks.0.so2_conv.pre_focus_mix.bias", True),
        ("blocks.0.so2_conv.so2_linears.0.bias0", True),
        ("blocks.0.so2_conv.so2_linears.0.weight_m.0", False),
        ("blocks.0.so2_conv.so2_linears.0.A_m.0", True),
        ("blocks.0.so2_conv.non_linearities.0.gate_linear.weight", False),
        ("blocks.0.so2_conv.non_linearities.0.gate_linear.bias", False),
        ("blocks.0.so2_conv.so2_inter_norms.0.bias0", True),
        ("blocks.0.so2_conv.so2_layer_attn_res.0.query_proj.weight", True),
        ("blocks.0.so2_conv.adam_so2_layer_scales.0", True),
        ("blocks.0.so2_conv.radial_hidden_proj.weight", True),
        ("blocks.0.so2_conv.radial_degree_mixer.weight", False),
        ("blocks.0.so2_conv.focus_compete_bias", True),
        ("blocks.0.so2_conv.attn_v_proj.weight", False),
        ("blocks.0.so2_conv.attn_q_proj.weight", True),
        ("blocks.1.ffns.1.act.scalar_gate.weight", False),
        ("blocks.1.ffns.1.act.scalar_gate.bias", True),
        ("blocks.1.full_attn_res_ffns.1.query_proj.weight", True),
        ("final_full_attn_res.query_proj.weight", True),
        ("charge_spin_embedding.charge_embedding.adam_type_embedding", False),
        ("charge_spin_embedding.mix_layer.matrix", False),
        ("charge_spin_embedding.mix_layer.bias", True),
        ("env_seed_embedding.output_proj.matrix", True),
        ("env_seed_embedding.env_type_embed.adam_type_embedding", False),
        ("film_scale_strength_log", True),
        ("radial_basis.adam_freqs", False),
        ("radial_embedding.net.0.matrix", True),
    ],
)
def test_which_parameters_are_trained(name, trained):
    descriptor = replace(parse_model(model_of(LARGE)).descriptor, add_chg_spin_ebd=True)
    found = parameters(descriptor, 2)
    assert name in found | adapters(found, 2)
    assert is_trained(name.split(".")) is trained


def test_the_keys_that_freeze_parts_still_do(section):
    frozen = section | {"fitting_net": section["fitting_net"] | {"trainable": False}}
    labels = trainable_labels(parse_model(copy.deepcopy(frozen)), shapes_of(frozen))
    assert not any(jax.tree.leaves(labels["fitting_net"])) and any(jax.tree.leaves(labels["descriptor"]))
    idle = section | {"descriptor": section["descriptor"] | {"trainable": False}}
    with pytest.raises(ConfigError, match=r"lora: found corrections of a descriptor that is not trained"):
        parse_model(copy.deepcopy(idle))


def test_fresh_adapters_change_nothing():
    """In the model, too, since weights are drawn as without adapters."""
    found = {
        name: own
        for name, own in parameters(parse_model(model_of(LARGE)).descriptor, 2).items()
        if "so2_linears" in name
    }
    dtypes, key = (np.float32, np.float32), jax.random.key(1)
    bare = drawn(key, nested(found), dtypes)
    with_some = drawn_with(key, nested(found), nested(adapters(found, 3)), dtypes)
    jax.tree.map(np.testing.assert_array_equal, merged(with_some, 0.7), bare)
    for name, array in named(with_some).items():
        parts = set(name.split("."))
        if {"B_m0", "B_m"} & parts:
            assert not np.any(array)
        if {"A_m0", "A_m"} & parts:
            assert 0.4 < np.std(array) < 0.8 and array.shape[0] == 3  # 1/sqrt(3)


def test_the_configuration_without_adapters():
    section = model_of(LARGE)
    own = plain(parse_model(copy.deepcopy(section) | {"lora": {"rank": 3}}))
    other = parse_model(copy.deepcopy(section))
    assert own == other and own.raw == other.raw and plain(other) is other


def test_merging():
    rng = np.random.default_rng(0)
    linear = {"weight": (3, 4, 5), "A_by_l": (3, 2, 4), "B_by_l": (3, 5, 2)}
    order = {"weight_m": (4, 6), "A_m": (2, 4), "B_m": (6, 2)}
    weights = {
        "linear": {name: rng.normal(size=shape) for name, shape in linear.items()},
        "order": {name: {"0": rng.normal(size=shape)} for name, shape in order.items()},
        "gate": {"weight": rng.normal(size=(4, 4)), "bias": np.ones(4)},
    }
    whole = merged(weights, 0.5)
    assert {name: set(part) for name, part in whole.items()} == {
        "linear": {"weight"},
        "order": {"weight_m"},
        "gate": {"weight", "bias"},
    }
    own = weights["linear"]
    by_hand = own["weight"] + 0.5 * np.einsum("lor,lri->lio", own["B_by_l"], own["A_by_l"])
    np.testing.assert_allclose(whole["linear"]["weight"], by_hand, rtol=1e-14)
    own_order = {name: part["0"] for name, part in weights["order"].items()}
    by_hand = own_order["weight_m"] + 0.5 * (own_order["B_m"] @ own_order["A_m"]).T
    np.testing.assert_allclose(whole["order"]["weight_m"]["0"], by_hand, rtol=1e-14)
    members = merged(jax.tree.map(lambda x: np.stack([x, 2 * x]), weights), 0.5)  # of an ensemble
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), members, whole)
    assert with_adapters(whole, weights)["linear"].keys() == own.keys()


def test_merging_keeps_the_precision():
    half = {"weight": np.ones((1, 2, 2), jax.numpy.bfloat16), "A_by_l": np.ones((1, 1, 2), jax.numpy.bfloat16)}
    found = corrected(half["weight"], half["A_by_l"], np.full((1, 2, 1), 0.5, jax.numpy.bfloat16), 2.0)
    assert found.dtype == jax.numpy.bfloat16 and np.all(found == 2.0)


@pytest.mark.parametrize(("options", "scaling"), [({}, 1.0), ({"alpha": 3.0}, 1.5)])
def test_the_scaling(options, scaling):
    assert LoraConfig(2, **options).scaling == scaling


def test_tasks_share_no_adapters():
    data = tiny.config(["x"])
    model = model_of({"type": "dpa4", "sel": 20})
    data["model"] = {"model_dict": {"one": model | {"lora": {"rank": 2}}, "two": model}}
    data["loss_dict"] = {"one": data["loss"], "two": data.pop("loss")}
    systems = data["training"].pop("training_data")
    data["training"]["data_dict"] = {name: {"training_data": systems} for name in ("one", "two")}
    with pytest.raises(ConfigError, match="model/model_dict/one/lora: low-rank adapters belong to one model"):
        config.load_any(data)
