"""Outputs of dpa4 models, periodic, thin triclinic and open, against DeePMD-kit, whose weights are read by name."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.optimizers.routing import route
from tests.shared import golden, shared, shared_root

TOLERANCE = {"energy": 1e-10, "atom_energy": 1e-10}  # relative to the largest number of the array, at least 1
OTHERS = 1e-9
EPS = {
    "energy": 2e-5,
    "atom_energy": 2e-5,
    "force": 2e-4,
}  # of the case "eps": DeePMD-kit's frames are not quite rotations there
SHIPPED = sorted(path.name for path in golden("dpa4").iterdir() if path.is_dir() and path.name != "dens")
ELSEWHERE = ("dens", "lora")  # cases with tests of their own: test_direct_forces.py, test_dpa4_lora.py


def others() -> list[str]:
    """Cases of the larger set."""
    found = sorted(path.parent.name for path in shared_root().glob("golden/dpa4/*/model.json"))
    return [case for case in found if case not in SHIPPED and not case.startswith(ELSEWHERE)]


def potential(folder: Path) -> dpjax.Potential:
    section, weights = json.loads((folder / "model.json").read_text()), np.load(folder / "weights.npz")
    return dpjax.interop.from_weights(section, dict(weights))


def check(folder: Path) -> None:
    """All situations in one call, which compiles once."""
    pot, arrays = potential(folder), dict(np.load(folder / "ref.npz"))
    situations = sorted({name.partition(".")[0] for name in arrays})
    assert {"ortho", "cluster"} <= set(situations)
    frames = [(situation, i) for situation in situations for i in range(len(arrays[f"{situation}.coord"]))]
    inputs = {
        name: [arrays[f"{situation}.{name}"][i] for situation, i in frames]
        for name in ("coord", "fparam", "aparam", "charge_spin")
        if f"ortho.{name}" in arrays
    }
    inputs["atype"] = [arrays[f"{situation}.atype"] for situation, _ in frames]
    inputs["cell"] = [arrays[f"{s}.box"][i] if arrays[f"{s}.pbc"] else None for s, i in frames]
    got = pot.evaluate(**inputs, atomic=True)
    described = {name: value for name, value in inputs.items() if name not in ("fparam", "aparam")}
    got["descriptor"] = pot.descriptor(**described)
    for name in ("energy", "force", "virial", "atom_energy", "atom_virial", "descriptor"):
        for (situation, i), values in zip(frames, got[name], strict=True):
            if f"{situation}.{name}" in arrays:
                compare(folder.name, f"{name} of {situation}, frame {i}", values, arrays[f"{situation}.{name}"], i)


def compare(case: str, what: str, got: np.ndarray, want: np.ndarray, frame: int) -> None:
    name = what.partition(" ")[0]
    error = np.abs(np.reshape(got, want[frame].shape) - want[frame]).max() / max(1.0, np.abs(want).max())
    limit = EPS.get(name, 2e-4) if case == "eps" else TOLERANCE.get(name, OTHERS)
    assert error <= limit, f"{what}: off by {error:.2e}, allowed {limit:.0e}"


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case != "base")) for case in SHIPPED])
def test_shipped_reference_models(case):
    check(golden("dpa4", case))


@pytest.mark.slow
@pytest.mark.parametrize("case", others() or ["*"])
def test_all_reference_models(case):
    check(shared("golden", "dpa4", case))


def test_the_larger_set_is_found_whole():
    shared("golden", "dpa4")
    assert len(others()) >= 48


def test_optimizers_treat_parameters_as_deepmd_kit_does():
    """Names decide whether HybridMuon takes a parameter for a matrix."""
    params = json.loads(golden("dpa4", "base", "params.json").read_text())
    pot = potential(golden("dpa4", "base"))
    own = dpjax.interop.flatten(dpjax.interop.write_model(pot.config, pot.variables)["model"])
    names = {name.partition(".")[2].replace("@variables.", ""): array for name, array in own.items()}
    for name, about in params.items():
        if not name.startswith("atomic_model.descriptor."):
            continue
        path = name.removeprefix("atomic_model.descriptor.")
        assert list(names[path].shape) == about["shape"], path
        wanted = {"adamw": "adam_decay"}.get(about["route"], about["route"])
        assert route(f"descriptor.{path}", names[path].shape, "slice") == wanted, path


def test_files_of_deepmd_kit_are_read():
    """Its PyTorch backend has the model inside another one, weights under dotted names and tables beside them."""
    pot = potential(golden("dpa4", "zbl_noattn"))
    model = dpjax.interop.write_model(pot.config, pot.variables)["model"]
    options = {key: model.pop(key) for key in ("bridging_method", "bridging_r_inner", "bridging_r_outer")}
    descriptor, fitting = model["descriptor"], model["fitting"]
    config = descriptor["config"]
    config["mixing_layers"] = config.pop("so2_layers")
    descriptor["config"] = config | {"grid_branch": [0, 0, 0], "inner_clamp_r_inner": 0.5, "use_spin": None}
    tables = {"mean": np.zeros(0), "blocks.0.post_so2_norm.expand_index": np.zeros(9), "version_tensor": np.array(1.2)}
    descriptor |= {
        "type": "SeZM",
        "@version": 1.2,
        "@variables": dpjax.interop.flatten(descriptor["@variables"]) | tables,
    }
    network = fitting["nets"]["networks"][0]
    network["@variables"] = dpjax.interop.flatten(network["@variables"])
    fitting["type"] = "sezm_ener"
    tree = {"type": "SeZM", "atomic_model": model | {"type": "sezm_atomic"}, "lora": None} | options
    config, variables = dpjax.interop.read_model({"model": tree})
    assert config.bridge == pot.config.bridge
    jax.tree.map(np.testing.assert_array_equal, pot.variables, variables)


def test_weights_of_another_model_are_refused():
    folder = golden("dpa4", "base")
    section, weights = json.loads((folder / "model.json").read_text()), dict(np.load(folder / "weights.npz"))
    section["descriptor"]["n_blocks"] = 1
    with pytest.raises(ModelError, match=r"names belong to nothing in the model: .*blocks\.1\."):
        dpjax.interop.from_weights(section, weights)


def test_the_older_form_is_refused():
    folder = golden("dpa4", "base")
    section, weights = json.loads((folder / "model.json").read_text()), dict(np.load(folder / "weights.npz"))
    weights["atomic_model.descriptor.version_tensor"] = np.array(1.0)
    with pytest.raises(ModelError, match=r"found version 1\.0 of dpa4"):
        dpjax.interop.from_weights(section, weights)


def test_files_keep_the_model(tmp_path):
    pot = potential(golden("dpa4", "zbl_noattn"))
    dpjax.save(pot, tmp_path / "model.dp")
    again = dpjax.load(tmp_path / "model.dp")
    assert again.config.bridge == pot.config.bridge
    jax.tree.map(np.testing.assert_array_equal, pot.variables, again.variables)
