"""Trainings for the NVNMD hardware: both stages, their files, and what they start from."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config import load
from dpjax.errors import ConfigError, ModelError
from dpjax.formats.nvnmd import read_dictionary
from dpjax.interfaces.nvnmd import full_input, load_files, train_in_stages
from tests.training import tiny

N_ATOM = 6
TYPES = np.where(np.arange(N_ATOM) % 3 == 1, 0, 1)


def short_input(folder, version: int, edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """An input of ``train-nvnmd``, for three steps on a few atoms."""
    system = folder / "system"
    data = tiny.config([system if system.exists() else tiny.system(system, N_ATOM)], edits)
    sel = {0: [12, 20], 1: 30}[version]
    data["nvnmd"] = {"version": version, "max_nnei": 128, "net_size": 128, "sel": sel, "rcut": 3.0, "rcut_smth": 1.0}
    data["nvnmd"]["type_map"] = data.pop("model")["type_map"]
    data["training"] |= {"numb_steps": 3, "disp_freq": 1}
    return data


def frames() -> dict[str, Any]:
    return {"coord": tiny.positions(N_ATOM, 2, seed=9), "atype": TYPES, "cell": np.stack([tiny.CELL] * 2)}


def leaves(pot: dpjax.Potential, part: str) -> list[np.ndarray]:
    return jax.tree.leaves(pot.variables["params"][part])


@pytest.mark.parametrize(
    ("version", "edits"),
    [pytest.param(*case, marks=pytest.mark.slow) for case in ((0, tiny.ENERGY_ONLY), (0, {}), (1, {}))],
    ids=["0-energies", "0", "1"],
)
def test_both_stages(version, edits, tmp_path):
    given = short_input(tmp_path, version, edits)
    train_in_stages(given, "s1", tmp_path)
    first = dpjax.load(tmp_path / "nvnmd_cnn")
    assert not first.config.nvnmd.quantizes
    hardware = read_dictionary(tmp_path / "nvnmd_cnn" / "config.npy")
    assert 0.5 < hardware["dscp"]["dmin"] < 3.0
    assert hardware["ctrl"]["VERSION"] == version

    train_in_stages(given, "s2", tmp_path)
    second = dpjax.load(tmp_path / "nvnmd_qnn")
    assert second.config.nvnmd.quantize_descriptor
    for ours, theirs in zip(leaves(second, "descriptor"), leaves(first, "descriptor"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(leaves(second, "fitting_net"), leaves(first, "fitting_net"), strict=True)
    ]
    assert all(changed)

    own = full_input(given, "s2", tmp_path / "nvnmd_cnn")
    tables = tmp_path / "nvnmd_cnn" / "map.npy"
    again = load_files(own["model"], own["nvnmd"], tmp_path / "nvnmd_qnn", tables=tables)
    like_first = load_files(own["model"], own["nvnmd"], tmp_path / "nvnmd_cnn", tables=tables)
    force = bool(not edits)
    want, got, before, rounded = (pot.evaluate(**frames(), atomic=force) for pot in (second, again, first, like_first))
    np.testing.assert_allclose(got["energy"], want["energy"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(rounded["energy"], before["energy"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(rounded["force"], before["force"], rtol=0, atol=5e-3)
    assert np.abs(want["energy"] - before["energy"]).max() > 2e-3  # the second stage has trained


def test_a_stage_without_the_first(tmp_path):
    with pytest.raises(ModelError, match=r"nvnmd_cnn.*\.npy: no such file"):
        train_in_stages(short_input(tmp_path, 0, tiny.ENERGY_ONLY), "s2", tmp_path)


def test_what_is_wrong_with_the_input_of_a_stage(tmp_path):
    given = short_input(tmp_path, 0)
    with pytest.raises(ConfigError, match="stage: found 's3', expected s1 or s2"):
        train_in_stages(given, "s3", tmp_path)
    with pytest.raises(ConfigError, match="the second stage starts from the files of the first"):
        train_in_stages(given, "s2", tmp_path, restart=True)
    del given["nvnmd"]["rcut"]
    with pytest.raises(ConfigError, match="nvnmd: rcut missing"):
        train_in_stages(given, "s1", tmp_path)
    with pytest.raises(ConfigError, match="nvnmd: missing"):
        train_in_stages({}, "s1", tmp_path)


def test_two_models_to_start_from(tmp_path):
    given = full_input(short_input(tmp_path, 0, tiny.ENERGY_ONLY), "s1", tmp_path)
    given["nvnmd"] |= {"restore_descriptor": True, "weight_file": str(tmp_path / "none.npy")}
    with pytest.raises(ModelError, match="none.npy: no such file"):
        dpjax.train(given, tmp_path / "run")


def wrong(tmp_path, version: int, **edits: Any) -> str:
    """What a training says about an input with these values."""
    given = full_input(short_input(tmp_path, version), "s1", tmp_path)
    for path, value in edits.items():
        *parents, key = path.split("/")
        place = given
        for parent in parents:
            place = place[parent]
        place[key] = value
    with pytest.raises(ConfigError) as error:
        load(given)
    return str(error.value)


@pytest.mark.parametrize(
    ("version", "path", "value", "text"),
    [
        (0, "model/descriptor/neuron", [4, 8], "model/descriptor/neuron: found [4, 8], expected [8, 16, 32]"),
        (0, "model/descriptor/type_one_side", False, "model/descriptor/type_one_side: found false, expected true"),
        (0, "model/descriptor/sel", [200, 20], "model/descriptor/sel: found [200, 20], but nvnmd/max_nnei is 128"),
        (0, "model/descriptor/sel", "auto", "model/descriptor/sel: found 'auto'; give numbers"),
        (0, "model/descriptor/rcut", 8.5, "model/descriptor/rcut: found 8.5; the NVNMD hardware reaches 8 angstrom"),
        (
            0,
            "model/fitting_net/neuron",
            [128, 128],
            "model/fitting_net/neuron: found [128, 128], expected [128, 128, 128]",
        ),
        (0, "model/fitting_net/precision", "float32", 'found "float32", expected "float64"'),
        (0, "nvnmd/version", 1, 'model/descriptor/type: found "se_e2_a", expected "se_atten"'),
        (0, "model/pair_exclude_types", [[0, 1]], "model/pair_exclude_types: the NVNMD hardware has no such thing"),
        (1, "model/descriptor/attn_layer", 2, "model/descriptor/attn_layer: found 2, expected 0"),
        (1, "model/descriptor/tebd_input_mode", "concat", 'found "concat", expected "strip"'),
        (1, "model/descriptor/sel", 129, "model/descriptor/sel: found [129], but nvnmd/max_nnei is 128"),
    ],
)
def test_models_that_the_hardware_lacks(version, path, value, text, tmp_path):
    assert text in wrong(tmp_path, version, **{path: value})


def test_second_derivatives_of_steps_are_refused(tmp_path):
    given = full_input(short_input(tmp_path, 0), "s2", tmp_path)
    given["loss"] |= {"start_pref_h": 1, "limit_pref_h": 1}
    with pytest.raises(ConfigError, match="loss/start_pref_h: found 1, expected 0: a quantised energy has no second"):
        load(given)
