"""Variables moved to other types: the model gives the numbers that it gave before."""

from __future__ import annotations

import copy
import re

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config import parse_model
from dpjax.errors import ConfigError
from dpjax.finetune import TypeChange, remapped
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import dpa2, dpa3
from tests.training.tiny import CELL, positions

THREE_BODY = {"use_three_body": True, "three_body_rcut": 2.4, "three_body_rcut_smth": 1.6, "three_body_sel": 40}
BASE = {"rcut": 3.0, "rcut_smth": 1.0, "neuron": [2, 4], "seed": 1}
BY_TYPE = {**BASE, "sel": [8, 16], "set_davg_zero": True}
MIXED = {**BASE, "sel": 24, "tebd_dim": 3}
DESCRIPTORS = {
    "se_e2_a": {**BY_TYPE, "type": "se_e2_a", "axis_neuron": 2},
    "se_e2_a one side": {**BY_TYPE, "type": "se_e2_a", "axis_neuron": 2, "type_one_side": True},
    "se_e3": {**BY_TYPE, "type": "se_e3"},
    "se_atten concat": {**MIXED, "type": "se_atten", "axis_neuron": 2, "attn": 4, "attn_layer": 1},
    "se_atten strip": {**MIXED, "type": "se_atten", "axis_neuron": 2, "attn_layer": 0, "tebd_input_mode": "strip"},
    "se_atten econf": {**MIXED, "type": "se_atten", "axis_neuron": 2, "attn_layer": 0, "use_econf_tebd": True},
    "se_e3_tebd": {**MIXED, "type": "se_e3_tebd"},
}
DESCRIPTORS |= {
    "dpa2": dpa2(),
    "dpa2 three-body": dpa2(None, THREE_BODY, add_tebd_to_repinit_out=True, use_econf_tebd=True),
    "dpa3": dpa3(),
    "dpa3 dynamic": dpa3({"use_dynamic_sel": True}, concat_output_tebd=True, use_tebd_bias=True),
}
DESCRIPTORS["hybrid"] = {
    "type": "hybrid",
    "list": [DESCRIPTORS["se_e2_a one side"], DESCRIPTORS["se_atten strip"]],
}
WIDE = {"H": 12, "C": 4, "O": 8}  # adds up to what the two types had, as descriptors are divided by that
KEPT = {"H": 16, "C": 4, "O": 8}
OFTEN = ("se_e2_a", "se_atten concat")  # the others are parts of these, or differ little


def section(descriptor: dict, types: list[str]) -> dict:
    """A model section; descriptors with networks per type get a ``sel`` for each."""
    descriptor = copy.deepcopy(descriptor)
    for part in descriptor.get("list", [descriptor]):
        if isinstance(part.get("sel"), list):
            part["sel"] = [(WIDE if "C" in types and part["type"] != "se_e3" else KEPT)[name] for name in types]
    return {"type_map": types, "descriptor": descriptor, "fitting_net": {"neuron": [4], "seed": 2}}


def with_statistics(pot: Potential) -> Potential:
    """Spreads and biases of no meaning; means where the descriptor's empty places are the same for all types."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        name, parts = path[-1].key, {key.key for key in path}
        if name == "davg":
            mixed = "type_embedding" in pot.variables["params"]["descriptor"]
            return rng.normal(size=leaf.shape) * (mixed and "members_0" not in parts)
        return rng.uniform(0.5, 1.5, leaf.shape) if leaf.size else leaf

    stats = jax.tree_util.tree_map_with_path(fill, pot.variables["stats"])
    return Potential(pot.config, {**pot.variables, "stats": stats}, conventions="corrected")


def energy(pot: Potential, names: list[str]) -> np.ndarray:
    atype = np.array([pot.type_map.index(name) for name in names])
    return pot.evaluate(positions(len(names), 1, 5), atype, CELL[None])["energy"]


@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow) for kind in DESCRIPTORS]
)
def test_a_model_with_more_types_in_another_order_gives_the_same_energies(kind):
    old = with_statistics(dpjax.build(section(DESCRIPTORS[kind], ["O", "H"]), seed=3))
    fresh = dpjax.build(section(DESCRIPTORS[kind], ["H", "C", "O"]), seed=4)
    variables, rows = remapped(old.config, fresh.config, old.variables, fresh.variables)
    new = Potential(fresh.config, variables, conventions="corrected")
    names = ["O", "H", "H", "H", "O", "H", "H"]
    assert np.ptp([energy(old, names)[0, 0], energy(new, names)[0, 0]]) < 1e-12
    assert {row.origin for row in rows} <= {"pretrained", "remapped", "fresh"}
    bias = next(row for row in rows if row.name == "stats.out_bias")
    assert (bias.shape, bias.origin) == ((3, 1), "remapped") and "C" in bias.note
    assert any(row.origin == "fresh" for row in rows) == any(re.search(r"(embedding|net)_\d", row.name) for row in rows)


def test_order_alone_changes_nothing_whatever_the_statistics():
    old = dpjax.build(section(DESCRIPTORS["se_e2_a"], ["O", "H"]), seed=3)
    rng = np.random.default_rng(1)
    old.variables["stats"] = jax.tree.map(lambda x: rng.uniform(0.5, 1.5, x.shape), old.variables["stats"])
    turned = section(DESCRIPTORS["se_e2_a"], ["H", "O"])
    turned["descriptor"]["sel"] = [16, 8]
    fresh = dpjax.build(turned)
    variables, rows = remapped(old.config, fresh.config, old.variables, fresh.variables)
    names = ["O", "H", "H", "O", "H"]
    new = Potential(fresh.config, variables, conventions="corrected")
    np.testing.assert_allclose(energy(new, names), energy(old, names), rtol=0, atol=1e-12)
    assert {row.origin for row in rows} == {"remapped"}


def test_fewer_types_leave_their_networks_behind():
    old = dpjax.build(section(DESCRIPTORS["se_e2_a"], ["H", "C", "O"]))
    fresh = dpjax.build(section(DESCRIPTORS["se_e2_a"], ["O", "H"]), seed=9)
    variables, _ = remapped(old.config, fresh.config, old.variables, fresh.variables)
    params, theirs = variables["params"], old.variables["params"]
    for ours, where in (("0_1", "2_0"), ("1_1", "0_0"), ("1_0", "0_2")):
        np.testing.assert_array_equal(
            params["descriptor"][f"embedding_{ours}"]["layers_1"]["matrix"],
            theirs["descriptor"][f"embedding_{where}"]["layers_1"]["matrix"],
        )
    np.testing.assert_array_equal(
        params["fitting_net"]["net_0"]["layers_0"]["matrix"], theirs["fitting_net"]["net_2"]["layers_0"]["matrix"]
    )


@pytest.mark.parametrize("width", [2, 3, 4, 6])
def test_the_skip_connection_of_type_vectors_goes_with_the_number_of_types(width):
    kind = {**DESCRIPTORS["se_atten strip"], "tebd_dim": width}
    old, fresh = (dpjax.build(section(kind, types)) for types in (["O", "H"], ["H", "C", "O"]))
    variables, _ = remapped(old.config, fresh.config, old.variables, fresh.variables)

    def vectors(pot, variables):
        matrix = variables["params"]["descriptor"]["type_embedding"]["layer"]["matrix"]
        n_type = len(pot.type_map)
        skip = np.tile(np.eye(n_type), width // n_type) if width in (n_type, 2 * n_type) else 0.0
        return matrix + skip

    ours, theirs = vectors(fresh, variables), vectors(old, old.variables)
    np.testing.assert_allclose(ours[[2, 0]], theirs, atol=1e-15)
    np.testing.assert_allclose(ours[1], vectors(fresh, fresh.variables)[1], atol=1e-15)


def test_a_new_head_takes_only_the_descriptor():
    old, fresh = (dpjax.build(section(DESCRIPTORS["se_atten strip"], ["O", "H"]), seed=s) for s in (0, 1))
    variables, rows = remapped(old.config, fresh.config, old.variables, fresh.variables, new_head=True)
    fitting = variables["params"]["fitting_net"]["net_all"]["layers_0"]["matrix"]
    np.testing.assert_array_equal(fitting, fresh.variables["params"]["fitting_net"]["net_all"]["layers_0"]["matrix"])
    assert {row.origin for row in rows if "fitting" in row.name} == {"fresh", "statistics"}
    assert {row.origin for row in rows if "descriptor" in row.name} == {"pretrained"}


def test_arrays_of_other_shapes_are_named():
    old = dpjax.build(section(DESCRIPTORS["se_atten strip"], ["O", "H"]))
    wide = dpjax.build(section({**DESCRIPTORS["se_atten strip"], "neuron": [2, 8]}, ["O", "H"]))
    with pytest.raises(ConfigError, match=r"params.descriptor.embedding.network.layers_1.bias has the shape \(4\)"):
        remapped(old.config, wide.config, old.variables, wide.variables)
    deep = dpjax.build(section({**DESCRIPTORS["se_atten strip"], "attn_layer": 1}, ["O", "H"]))
    with pytest.raises(ConfigError, match="shape none in the pretrained"):
        remapped(old.config, deep.config, old.variables, deep.variables)
    with pytest.raises(ConfigError, match="this input needs none"):
        remapped(deep.config, old.config, deep.variables, old.variables)


def test_types_given_by_number_move_too():
    types = TypeChange(("O", "H", "C"), ("C", "N", "O"))
    assert types.index == (2, None, 0) and types.new == ("N",)
    assert types.indices([0, 1, 2]) == [2, 0]
    assert types.pairs([[0, 2], [0, 1]]) == [[2, 0]]
    assert types.entries([5, 6, 7]) == [7, None, 5]


@pytest.mark.parametrize("where", [("type_embedding",), ("env_seed_embedding", "env_type_embed")])
def test_type_vectors_of_dpa4_go_row_by_row(where):
    """Their tables end with a row for places without an atom."""

    def variables(table: np.ndarray) -> dict:
        tree: dict = {"adam_type_embedding": table}
        for name in reversed(where):
            tree = {name: tree}
        return {"params": {"descriptor": tree}}

    theirs, fresh = np.arange(6.0).reshape(3, 2), -np.arange(1.0, 9.0).reshape(4, 2)
    old, new = (parse_model(section({"type": "dpa4", "sel": 20}, types)) for types in (["O", "H"], ["H", "C", "O"]))
    found, (row,) = remapped(old, new, variables(theirs), variables(fresh))
    (table,) = jax.tree.leaves(found)
    np.testing.assert_array_equal(table, [theirs[1], fresh[1], theirs[0], theirs[2]])
    assert (row.origin, row.note) == ("remapped", "new: C (fresh)")


def test_numbers_in_the_order_of_types_stay_in_it():
    configs = [
        parse_model(
            {
                "type_map": types,
                "descriptor": {"type": "loc_frame", "sel_a": [2, 2], "sel_r": [1, 1], "axis_rule": []},
                "fitting_net": {"neuron": [3]},
            }
        )
        for types in (["O", "H"], ["H", "O"])
    ]
    with pytest.raises(ConfigError, match="model/type_map: found .*'H', 'O'.*stand in the order of its types"):
        remapped(*configs, {}, {})
