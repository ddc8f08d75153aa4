"""The example of electrostatics at long range from its first command to a large box."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.interfaces.testing import test_model as compared
from tests.shared import REPOSITORY

LEVELS = {"energy": 1e-10, "force": 1e-9, "virial": 1e-9}


def config(name: str, steps: int) -> dict:
    """An input of ``configs`` with fewer steps and absolute paths."""
    found = json.loads((REPOSITORY / "configs" / f"{name}.json").read_text())
    training = found["training"]
    for part in ("training_data", "validation_data"):
        training[part]["systems"] = [str(REPOSITORY / path) for path in training[part]["systems"]]
    training |= {"numb_steps": steps, "save_freq": steps, "disp_freq": steps}
    found["learning_rate"]["decay_steps"] = max(1, steps // 20)
    return found


@pytest.mark.slow
def test_from_centroids_to_a_box_of_three_thousand_atoms(tmp_path):
    dipole, energy, valid = tmp_path / "dipole", tmp_path / "energy", REPOSITORY / "examples" / "dplr" / "valid"
    dpjax.train(config("water_dplr_dipole", 150), dipole)
    found = compared(dpjax.load(dipole), valid, atomic=True).systems[0].errors["atomic_dipole"].rmse
    assert found < 0.02  # a model that says 0 is wrong by 0.042 angstrom
    section = config("water_dplr", 300)
    section["model"]["modifier"]["model_name"] = str(dipole)
    dpjax.train(section, energy)
    pot = dpjax.load(energy)
    assert compared(pot, valid, 6).systems[0].errors["force"].rmse < 0.7  # forces are 0.91 eV/angstrom large

    arrays = {name: np.load(valid / "set.000" / f"{name}.npy").astype(float) for name in ("coord", "box")}
    times = np.array([4, 4, 2])
    images = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), -1).reshape(-1, 3)
    coord, cell = arrays["coord"][0].reshape(-1, 3), arrays["box"][0].reshape(3, 3)
    large = {
        "coord": (coord[None] + (images @ cell)[:, None]).reshape(1, -1, 3),
        "atype": np.tile(np.loadtxt(valid / "type.raw", dtype=int), len(images)),
        "cell": (cell * times[:, None])[None],
    }
    assert len(large["atype"]) == 3072
    out = {}
    for mesh in (False, True):
        pot.correction.mesh = mesh
        out[mesh] = pot.evaluate(**large)
    for name, tolerance in LEVELS.items():
        np.testing.assert_allclose(out[True][name], out[False][name], atol=tolerance * np.abs(out[False][name]).max())
    small = pot.evaluate(coord[None], large["atype"][:96], cell[None])
    scale = np.abs(small["force"]).max()  # the vectors summed for both cells are not quite the same
    np.testing.assert_allclose(out[False]["force"][0, :96], small["force"][0], atol=1e-4 * scale)
    np.testing.assert_allclose(out[False]["energy"] / len(images), small["energy"], rtol=1e-6)
