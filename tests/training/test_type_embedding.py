"""Trainings of models with type vectors of their own: what changes, what is stored, and where they start from."""

from __future__ import annotations

import copy
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.config import load
from dpjax.config.tasks import pieces_of
from dpjax.errors import ConfigError
from dpjax.finetune.remap import remapped
from dpjax.models import build_model, init_variables
from dpjax.training.fresh import trainable_labels
from dpjax.training.setup import prepare
from tests.training import tiny

VECTORS = {"model/type_embedding": {"neuron": [3, 5], "resnet_dt": True, "seed": 4}}
FROZEN = {"model/fitting_net/trainable": [True, False, True], "model/fitting_net/layer_name": ["a", "b", "c"]}
ATTENTION = {"type": "se_atten", "rcut": 3.0, "rcut_smth": 1.0, "sel": 30, "neuron": [3, 6], "axis_neuron": 2}
KINDS = {
    "se_e2_a": {},
    "se_a_ebd_v2": {"model/descriptor/type": "se_a_ebd_v2", "model/descriptor/type_one_side": False},
    "se_atten": {"model/descriptor": ATTENTION | {"attn": 4, "attn_layer": 1}},
}


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Path:
    return tiny.system(tmp_path_factory.mktemp("type_embedding") / "system")


def changed(before: dict, after: dict) -> dict:
    return jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)


def test_a_training_changes_what_is_to_be_trained_and_is_loaded_as_it_was(system, tmp_path):
    config = tiny.config([system], VECTORS | FROZEN | tiny.ENERGY_ONLY)
    start = prepare(load(config)).variables["params"]
    result = dpjax.train(config, tmp_path)
    pot = dpjax.load(result.checkpoint)
    params = pot.variables["params"]
    assert pot.type_vectors().shape == (3, 5)
    assert changed(start, params) == trainable_labels(pot.config, params)
    assert not any(jax.tree.leaves(trainable_labels(pot.config, params)["fitting_net"]["net_all"]["layers_1"]))
    assert list(params["fitting_net"]) == ["net_all"]
    assert np.any(pot.variables["stats"]["descriptor"]["davg"])
    coord = np.load(system / "set.000" / "coord.npy").reshape(4, 6, 3)
    energy = pot.evaluate(coord, np.loadtxt(system / "type.raw", dtype=int), np.tile(tiny.CELL, (4, 1, 1)))["energy"]
    assert np.all(np.isfinite(energy))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_trained_tested_and_continued(system, tmp_path, kind):
    config = tiny.config([system], ({} if kind == "se_a_ebd_v2" else VECTORS) | KINDS[kind])
    half = copy.deepcopy(config)
    half["training"]["numb_steps"] = 3
    before = dpjax.load(dpjax.train(half, tmp_path).checkpoint)
    result = dpjax.train(config, tmp_path, restart=True)
    assert result.steps == 6
    after = dpjax.load(result.checkpoint)
    assert all(jax.tree.leaves(changed(before.variables["params"], after.variables["params"])))
    assert main(["test", "-m", str(result.checkpoint), "-s", str(system), "-d", str(tmp_path / "detail")]) == 0
    energies = np.loadtxt(tmp_path / "detail.e.out")
    assert energies.shape == (4, 2) and np.all(np.isfinite(energies))


def test_vectors_that_are_not_to_be_trained_stay(system):
    config = load(
        tiny.config([system], {"model/type_embedding": VECTORS["model/type_embedding"] | {"trainable": False}})
    )
    params = init_variables(build_model(config.model))["params"]
    assert not any(jax.tree.leaves(trainable_labels(config.model, params)["type_embedding"]))
    assert all(jax.tree.leaves(trainable_labels(config.model, params)["descriptor"]))


def test_se_a_ebd_v2_without_a_section_has_the_vectors_that_tensorflow_gives_it(system):
    data = tiny.config([system], {"model/descriptor/type": "se_a_ebd_v2"})
    vectors = load(data).model.type_embedding
    assert (vectors.neuron, vectors.activation_function) == ((8,), "none")


def test_tasks_have_type_vectors_of_their_own_beside_a_shared_descriptor():
    branch = {"descriptor": "shared", "type_embedding": {"neuron": [3]}, "fitting_net": {"neuron": [4]}}
    assert pieces_of("water", branch) == {
        "descriptor": "shared:shared",
        "type_embedding": "water:type_embedding",
        "fitting_net": "water:fitting_net",
    }


def swapped(config: dict, types: list[str]) -> tuple:
    model = copy.deepcopy(config["model"]) | {"type_map": types}
    model["descriptor"]["sel"] = [12] * len(types)
    config = dpjax.config.parse_model(model)
    with jax.enable_x64(True):
        return config, jax.tree.map(np.asarray, init_variables(build_model(config), 5))


def test_the_rows_of_types_move_with_them_to_a_model_of_other_types(system):
    config = tiny.config([system], {"model/type_embedding": VECTORS["model/type_embedding"] | {"neuron": [7, 5]}})
    (first, theirs), (second, fresh) = swapped(config, ["O", "H"]), swapped(config, ["H", "C", "O"])
    moved, rows = remapped(first, second, theirs, fresh)
    matrix, source = (tree["params"]["type_embedding"]["net"]["layers_0"]["matrix"] for tree in (moved, theirs))
    np.testing.assert_array_equal(matrix[[2, 0]], source)
    np.testing.assert_array_equal(matrix[1], fresh["params"]["type_embedding"]["net"]["layers_0"]["matrix"][1])
    for a, b in zip(*(jax.tree.leaves(tree["params"]["descriptor"]) for tree in (moved, theirs)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert {row.name for row in rows} >= {"params.type_embedding.net.layers_0.matrix"}
    headless, _ = remapped(first, second, theirs, fresh, new_head=True)
    np.testing.assert_array_equal(headless["params"]["type_embedding"]["net"]["layers_0"]["matrix"], matrix)


def test_other_types_are_refused_where_a_skip_connection_depends_on_their_number(system):
    config = tiny.config([system], {"model/type_embedding": {"neuron": [3, 5]}})
    (first, theirs), (second, fresh) = swapped(config, ["O", "H"]), swapped(config, ["H", "C", "O"])
    with pytest.raises(ConfigError, match="first layer of its type_embedding, 3 wide, has a skip connection"):
        remapped(first, second, theirs, fresh)
