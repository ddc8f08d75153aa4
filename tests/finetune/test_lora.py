"""Runs with adapters (``lora``): what they train, what their checkpoints hold, and what is made of these."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.descriptors.dpa4.lora import ADAPTERS, is_trained, merged
from dpjax.errors import ConfigError
from tests.training import tiny

LORA = {"rank": 2, "alpha": 3.0}
MODEL = {
    "type": "dpa4", "type_map": ["O", "H"],
    "descriptor": {
        "type": "dpa4", "sel": 20, "rcut": 3.0, "channels": 4, "n_radial": 3, "lmax": 1, "n_blocks": 1, "so2_layers": 1,
        "ffn_neurons": 4, "use_env_seed": False, "use_amp": False, "random_gamma": False, "precision": "float64", "seed": 1,
    },
    "fitting_net": {"type": "dpa4_ener", "neuron": [4], "precision": "float64", "seed": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Path:
    return tiny.system(tmp_path_factory.mktemp("data") / "water")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A model all of whose parts count: some are zero in a fresh one."""
    pot = dpjax.build(copy.deepcopy(MODEL) | {"lora": LORA})
    assert pot.config.lora is None  # adapters are of trainings
    rng = np.random.default_rng(0)
    pot.variables["params"] = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), pot.variables["params"])
    path = tmp_path_factory.mktemp("model") / "model.dp"
    dpjax.save(pot, path)
    return path


def inputs(system: Path, edits: dict | None = None, **model) -> dict:
    validating = {"full_validation": True, "validation_freq": 1, "full_val_start": 0, "validation_metric": "E:RMSE"}
    base = tiny.ENERGY_ONLY | {
        "training/numb_steps": 4, "training/save_freq": 2, "training/disp_freq": 4, "validating": validating,
        "training/validation_data": {"systems": [str(system)], "batch_size": 4}, "training/training_data/batch_size": 4,
    }  # fmt: skip
    data = tiny.config([system], base | (edits or {}))
    data["model"] = copy.deepcopy(MODEL) | {"lora": LORA} | model
    return data


@pytest.fixture(scope="module")
def done(system, pretrained, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run")
    dpjax.train(inputs(system), output, finetune=pretrained)
    return output


def leaves(tree: dict) -> dict[tuple[str, ...], np.ndarray]:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {tuple(key.key for key in path): np.asarray(leaf) for path, leaf in found}


def of_adapters(tree: dict) -> set[tuple[str, ...]]:
    return {path for path in leaves(tree) if not ADAPTERS.isdisjoint(path)}


def test_what_is_trained_and_what_stays(done, pretrained):
    before = leaves(dpjax.load(pretrained).variables["params"]["descriptor"])
    arrays, meta = load_checkpoint(done / "model.ckpt-4")
    after = leaves(arrays["params"]["descriptor"])
    assert meta["config"]["model"]["lora"] == LORA
    assert set(after) == set(before) | of_adapters(arrays["params"]["descriptor"])
    for path, array in before.items():
        if not is_trained(path):
            np.testing.assert_array_equal(after[path], array)
    moved = {path for path, array in before.items() if np.any(after[path] != array)}
    assert moved and all(map(is_trained, moved))
    # the only layer of the only block gives degrees that no energy depends on, by the order it has there
    second = {path for path in after if {"B_by_l", "B_m0"} & set(path)}
    assert second and all(np.any(after[path]) for path in second)


def test_the_report_says_what_is_new(done):
    lines = [line.split() for line in (done / "finetune.out").read_text().splitlines() if not line.startswith("#")]
    origins = {name: (origin, note) for name, _, origin, *note in lines}
    name = "params.descriptor.blocks.0.so2_conv.pre_focus_mix"
    assert origins[f"{name}.weight"] == ("pretrained", [])
    assert origins[f"{name}.A_by_l"] == ("fresh", ["adapter"])


@pytest.mark.slow
def test_checkpoints_are_read_as_models_without_adapters(done, system):
    arrays, _ = load_checkpoint(done / "model.ckpt-4")
    pot = dpjax.load(done)
    assert pot.config.lora is None and not of_adapters(pot.variables["params"])
    wanted = merged(arrays["params"]["descriptor"], 1.5)
    jax.tree.map(np.testing.assert_array_equal, pot.variables["params"]["descriptor"], wanted)
    dpjax.save(pot, done / "merged.dp")
    jax.tree.map(np.testing.assert_array_equal, dpjax.load(done / "merged.dp").variables, pot.variables)


def test_the_best_checkpoint_is_one_without_adapters(done, system):
    (best,) = done.glob("best.ckpt-*")
    step = int(best.name.split("-")[1].split(".")[0])
    arrays, meta = load_checkpoint(best)
    assert not of_adapters(arrays["params"]) and set(arrays) == {"step", "params", "stats"}
    assert meta["config"]["model"]["lora"] is None
    rows = [line.split() for line in (done / "val.log").read_text().splitlines() if not line.startswith("#")]
    logged = {int(row[0]): float(row[2]) for row in rows}[step]  # as the run measured it with adapters, meV/atom
    part = system / "set.000"
    coord, box, energy = (np.load(part / f"{name}.npy") for name in ("coord", "box", "energy"))
    types = np.loadtxt(system / "type.raw", dtype=int)
    found = dpjax.load(best).evaluate(coord.reshape(len(coord), -1, 3), types, box.reshape(-1, 3, 3))["energy"][:, 0]
    error = 1e3 * np.sqrt(np.mean(((found - energy.ravel()) / len(types)) ** 2))
    np.testing.assert_allclose(error, logged, rtol=1e-4)


def test_a_restart_ends_with_the_same_numbers(done, system, pretrained, tmp_path):
    dpjax.train(inputs(system), tmp_path, restart=done / "model.ckpt-2")
    first, again = (load_checkpoint(path / "model.ckpt-4")[0] for path in (done, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("lora", [None, {"rank": 2}, {"rank": 3, "alpha": 4.5}])
def test_a_restart_with_other_adapters(done, system, tmp_path, lora):
    with pytest.raises(ConfigError, match="model/lora: found .*, but the model to start from has"):
        dpjax.train(inputs(system, lora=lora), tmp_path, restart=done / "model.ckpt-2")


def test_a_start_from_a_run_with_adapters(done, system, tmp_path):
    """Its corrections are in the weights, and new ones begin; the model section may be that of the other model."""
    config = inputs(system, {"training/numb_steps": 0})
    dpjax.train(config, tmp_path / "own", init_model=done)
    theirs = dpjax.load(done).variables
    jax.tree.map(np.testing.assert_array_equal, dpjax.load(tmp_path / "own").variables, theirs)
    assert of_adapters(load_checkpoint(tmp_path / "own" / "model.ckpt-0")[0]["params"])
    dpjax.train(config, tmp_path / "script", init_model=done, use_pretrain_script=True)
    assert json.loads((tmp_path / "script" / "out.json").read_text())["model"]["lora"] == LORA
    dpjax.train(inputs(system, {"training/numb_steps": 0}, lora=None), tmp_path / "plain", init_model=done)
    jax.tree.map(np.testing.assert_array_equal, dpjax.load(tmp_path / "plain").variables, theirs)


def test_a_start_from_nothing_is_pointed_out(system, tmp_path, caplog):
    dpjax.train(inputs(system, {"training/numb_steps": 0}), tmp_path)
    assert "model/lora: no model to correct is given" in caplog.text


@pytest.mark.slow
def test_members_of_an_ensemble_have_adapters_of_their_own(system, pretrained, tmp_path):
    """With HybridMuon, which treats the factors as matrices."""
    optimizer = {"type": "HybridMuon"}
    edits = {"training/numb_steps": 2, "dpjax/ensemble": 2, "validating": {}, "optimizer": optimizer}
    dpjax.train(inputs(system, edits, finetune_head="RANDOM"), tmp_path, finetune=pretrained)
    arrays, _ = load_checkpoint(tmp_path / "model.ckpt-2")
    found = leaves(arrays["params"]["descriptor"])
    before = leaves(dpjax.load(pretrained).variables["params"]["descriptor"])
    for path, array in found.items():
        if path not in before or is_trained(path):
            continue
        np.testing.assert_array_equal(array, np.stack([before[path]] * 2))
    name = ("blocks", "0", "so2_conv", "so2_linears", "0")
    assert np.all(found[*name, "A_m0"][0] != found[*name, "A_m0"][1])
    one = dpjax.load(f"{tmp_path}#1")
    (weight,) = (leaf for path, leaf in leaves(one.variables["params"]).items() if path[-1] == "weight_m0")
    a, b = (found[*name, factor][1] for factor in ("A_m0", "B_m0"))
    np.testing.assert_allclose(weight, before[*name, "weight_m0"] + 1.5 * (b @ a).T, rtol=1e-13)
    assert np.any(b)


@pytest.mark.slow
def test_the_best_averages_are_a_model_without_adapters(system, pretrained, tmp_path):
    validating = {"full_validation": False, "ema_full_validation": True, "validation_freq": 1, "full_val_start": 0}
    edits = {
        "training/numb_steps": 2,
        "training/enable_ema": True,
        "validating": validating | {"validation_metric": "E:RMSE"},
    }
    dpjax.train(inputs(system, edits), tmp_path, finetune=pretrained)
    (best,) = tmp_path.glob("best_ema.ckpt-*")
    step = int(best.name.split("-")[1].split(".")[0])
    arrays, meta = load_checkpoint(best)
    assert not of_adapters(arrays["params"]) and meta["config"]["model"]["lora"] is None
    if step == 2:
        averages = load_checkpoint(tmp_path / "model.ckpt_ema-2")[0]["params"]["descriptor"]
        jax.tree.map(np.testing.assert_array_equal, arrays["params"]["descriptor"], merged(averages, 1.5))
