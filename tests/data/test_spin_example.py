"""The magnetic crystal in ``examples``: its labels are derivatives of one energy, and its files are what the script makes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.config import load
from dpjax.data import model_labels, open_system
from tests.shared import REPOSITORY, load_script

FOLDER = REPOSITORY / "examples" / "spin"
CONFIG = REPOSITORY / "configs" / "spin.json"
STEP = 1e-5

maker = load_script("make_spin_data")
TYPES = maker.crystal()[1]


@pytest.fixture(scope="module", params=[0, 1], ids=["strained", "thin"])
def frame(request):
    """Coordinates, cell, types and spins; of the crystal, and of two atoms in a cell thinner than the range of the model."""
    rng = np.random.default_rng(request.param)
    if request.param:
        cell = np.array([[2.4, 0.1, 0.0], [-0.3, 3.1, 0.2], [0.4, 0.0, 5.0]])
        coord = np.array([[0.0, 0.0, 0.0], [1.1, 1.4, 1.9]])
        return coord, cell, np.zeros(2, int), rng.normal(size=(2, 3))
    drawn = {name: array.astype(float) for name, array in maker.sample(rng).items()}
    return drawn["coord"], drawn["box"], TYPES, drawn["spin"]


def slopes(energy, shape) -> np.ndarray:
    """Minus the derivative of ``energy(change)`` by each component of a change of this shape."""
    out = np.zeros(shape)
    for place in np.ndindex(*shape):
        change = np.zeros(shape)
        change[place] = STEP
        out[place] = (energy(-change) - energy(change)) / (2 * STEP)
    return out


def test_forces_are_derivatives(frame):
    coord, cell, types, spin = frame
    out = maker.label(coord, cell, types, spin)
    found = slopes(lambda d: maker.label(coord + d, cell, types, spin)["energy"], coord.shape)
    np.testing.assert_allclose(out["force"], found, atol=1e-8)
    found = slopes(lambda d: maker.label(coord, cell, types, spin + d)["energy"], coord.shape)
    np.testing.assert_allclose(out["force_mag"][types == 0], found[types == 0], atol=1e-8)
    assert not out["force_mag"][types == 1].any()


def test_the_virial_is_a_derivative_at_fixed_spins(frame):
    """Minus dE / d strain_ba at [3 a + b], where rows of coordinates and cell are multiplied by 1 + strain."""
    coord, cell, types, spin = frame

    def energy(strain):
        whole = np.eye(3) + strain
        return maker.label(coord @ whole, cell @ whole, types, spin)["energy"]

    out = maker.label(coord, cell, types, spin)["virial"].reshape(3, 3)
    np.testing.assert_allclose(out, slopes(energy, (3, 3)).T, atol=1e-7)


def test_pair_terms_end_smoothly():
    r = maker.RANGE + np.array([-1e-4, 1e-4])
    for function in (lambda r: maker.bonds(r, (np.zeros(2, int), np.ones(2, int))), maker.exchange):
        value, slope = function(r)
        assert np.abs(value).max() < 1e-9 and np.abs(slope).max() < 1e-6
        assert value[1] == slope[1] == 0.0


@pytest.mark.parametrize("part", ["train", "valid"])
def test_the_files_are_what_the_script_makes(part):
    specs = model_labels(load(CONFIG).model, ("energy", "force", "force_mag", "virial"))
    system = open_system(FOLDER / part, maker.TYPE_MAP, specs)
    assert system.periodic and system.types.tolist() == TYPES.tolist()
    want = maker.frames(part)
    names = list(want[0])
    found = system.arrays(range(system.n_frame), names)
    assert system.n_frame == len(want) == maker.FRAMES[part]
    for name in names:
        rows = np.stack([row[name].ravel() for row in want])
        np.testing.assert_allclose(found[name].reshape(rows.shape), rows, rtol=1e-6, atol=1e-6, err_msg=name)


def test_the_data_are_small_and_spins_matter():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 300_000
    rows = maker.frames("valid")
    force = np.stack([row["force"] for row in rows])
    alone = [maker.labels_of(row | {"spin": 0 * row["spin"]})["force"] for row in rows]
    assert 0.10 < force.std() < 0.20 and 0.08 < (force - np.stack(alone)).std()
    assert 0.08 < np.stack([row["force_mag"] for row in rows])[:, TYPES == 0].std() < 0.16


@pytest.mark.slow
def test_a_few_steps_of_the_recipe_lower_both_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    given = {key: value for key, value in json.loads(CONFIG.read_text()).items() if not key.startswith("_")}
    given["training"] |= {"numb_steps": 200, "disp_freq": 20, "save_freq": 200}
    given["learning_rate"] |= {"decay_steps": 20, "stop_lr": 2e-3}  # magnetic forces fall last
    given["model"]["descriptor"] |= {"neuron": [4, 8], "axis_neuron": 4}
    given["model"]["fitting_net"] |= {"neuron": [20, 20]}
    result = dpjax.train(given, tmp_path / "run")
    rows = np.genfromtxt(tmp_path / "run" / "lcurve.out", names=True)
    assert rows["rmse_fr_val"][-1] < rows["rmse_fr_val"][0]
    assert rows["rmse_fm_val"][-1] < rows["rmse_fm_val"][0]
    sel = dpjax.load(result.checkpoint).config.descriptor.sel
    assert sel[:2] == sel[2:] and min(sel) >= 8
