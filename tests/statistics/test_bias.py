"""Output bias and input normalisation against plain formulas and DeePMD-kit's numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpjax.config import DataConfig
from dpjax.data import label_requirements, load_systems
from dpjax.statistics import atomic_bias, energy_bias, parameter_normalisation, prefer_atomic
from tests.shared import shared

COUNTS = np.array([[2, 4, 0], [3, 5, 1], [1, 7, 2], [6, 1, 1], [2, 2, 2]])
ENERGIES = np.array([[-10.0], [-3.0], [2.5]])


def test_exact_energies_are_recovered():
    bias, spread = energy_bias(COUNTS, COUNTS @ ENERGIES)
    np.testing.assert_allclose(bias, ENERGIES, rtol=1e-12)
    assert spread.shape == (3, 1)
    assert spread.max() < 1e-12


def test_noisy_energies_minimise_the_squares():
    energy = COUNTS @ ENERGIES + np.random.default_rng(0).normal(size=(5, 1))
    bias, spread = energy_bias(COUNTS, energy)
    np.testing.assert_allclose(COUNTS.T @ (energy - COUNTS @ bias), 0.0, atol=1e-9)
    np.testing.assert_allclose(spread[0], (energy - COUNTS @ bias).std(axis=0))


def test_one_composition_shares_the_energy_by_numbers():
    """All frames alike: minimum norm spreads the mean energy as the numbers of atoms."""
    bias, _ = energy_bias(np.array([[64, 128]] * 4), np.full((4, 1), -100.0))
    np.testing.assert_allclose(bias, [[-100.0 * 64 / (64**2 + 128**2)], [-100.0 * 128 / (64**2 + 128**2)]])


def test_preset_energies_stay_and_the_rest_is_fitted():
    bias, _ = energy_bias(COUNTS, COUNTS @ ENERGIES, preset=[None, -2.0, None])
    rest = np.linalg.lstsq(COUNTS[:, [0, 2]], COUNTS @ ENERGIES + 2.0 * COUNTS[:, [1]], rcond=None)[0]
    np.testing.assert_allclose(bias, [rest[0], [-2.0], rest[1]], rtol=1e-12)


def test_types_left_out_of_the_model_count_as_no_atoms():
    counts = COUNTS.copy()
    bias, _ = energy_bias(counts, COUNTS @ ENERGIES, exclude=[1])
    np.testing.assert_array_equal(counts, COUNTS)  # the caller's array stays
    kept = np.linalg.lstsq(COUNTS[:, [0, 2]], COUNTS @ ENERGIES, rcond=None)[0]
    np.testing.assert_allclose(bias, [kept[0], [0.0], kept[1]], atol=1e-12)


def test_a_large_rcond_drops_small_singular_values():
    energy = COUNTS @ ENERGIES
    u, s, vt = np.linalg.svd(COUNTS, full_matrices=False)
    keep = s > 0.5 * s[0]
    assert 0 < keep.sum() < 3
    bias, _ = energy_bias(COUNTS, energy, rcond=0.5)
    np.testing.assert_allclose(bias, (vt[keep].T / s[keep]) @ u[:, keep].T @ energy, rtol=1e-12)


def test_atomic_labels_win_where_there_are_any():
    atype, values = np.array([0, 2, 0, 2, 2]), np.arange(5.0)[:, None]
    mean, spread = atomic_bias(atype, values, 3)
    np.testing.assert_allclose(mean, [[1.0], [np.nan], [8 / 3]])
    np.testing.assert_allclose(spread, [[1.0], [np.nan], [values[[1, 3, 4]].std()]])
    fitted = np.full((3, 1), 7.0), np.full((3, 1), 9.0)
    bias, wide = prefer_atomic(fitted, (mean, spread))
    np.testing.assert_allclose(bias[:, 0], [1.0, 7.0, 8 / 3])
    np.testing.assert_allclose(wide[1, 0], 9.0)


def test_parameters_are_normalised_and_constants_protected():
    values = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    mean, inverse = parameter_normalisation(values, 0.01)
    np.testing.assert_allclose(mean, [4.0, 5.0])
    np.testing.assert_allclose(inverse, [1.0 / values[:, 0].std(), 100.0])


# --- DeePMD-kit's numbers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index():
    return json.loads(shared("golden", "training", "stats", "index.json").read_text())


def arrays(name: str):
    return np.load(shared("golden", "training", "stats", name))


def bias_case(index, name: str) -> dict:
    return next(c for c in index["energy_bias"] if c["case"] == name)


@pytest.mark.parametrize(
    "case", ["water_default", "water_rcond_1e-3", "water_preset_O", "water_preset_H", "water_preset_both"]
)
def test_bias_of_water_equals_the_reference(case, index):
    spec = bias_case(index, case)
    names = tuple(str(shared("data", "water", f"data_{i}")) for i in range(2))
    systems = load_systems(DataConfig(systems=names), ("O", "H"), label_requirements(("energy",)))
    drawn = [np.asarray(row["frames"]) for row in index["frames_drawn"]]
    energy = np.concatenate([s.arrays(frames, ["energy"])["energy"] for s, frames in zip(systems, drawn)])
    preset, rcond = (spec["options"].get(name) for name in ("atom_ener", "rcond"))
    bias, spread = energy_bias(np.tile([64, 128], (len(energy), 1)), energy, preset=preset, rcond=rcond)
    np.testing.assert_allclose(bias, spec["bias"], rtol=1e-8)
    np.testing.assert_allclose(spread, spec["std"], rtol=1e-8)


MIXED = {
    "mixed_composition": ("natoms", "energy"),
    "mixed_composition_rcond_0p5": ("natoms", "energy"),
    "mixed_composition_intensive": ("natoms", "energy"),
    "mixed_composition_assigned": ("natoms", "energy"),
    "absent_type": ("natoms_missing_type1", "energy_missing_type1"),
    "vector_output": ("natoms", "vector_output"),
}


@pytest.mark.parametrize("case", MIXED)
def test_bias_of_mixed_compositions_equals_the_reference(case, index):
    spec, data = bias_case(index, case), arrays("energy_bias_inputs.npz")
    counts, energy = (data[name] for name in MIXED[case])
    options = spec["options"]
    preset = [None if np.isnan(row[0]) else row[0] for row in options.get("assigned_bias", [[np.nan]] * 3)]
    bias, spread = energy_bias(
        counts, energy, preset=preset, rcond=options.get("rcond"), intensive=options.get("intensive", False)
    )
    np.testing.assert_allclose(bias, spec["bias"], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(spread[0], spec["std"], rtol=1e-8, atol=1e-12)


def test_atomic_labels_equal_the_reference(index):
    spec = bias_case(index, "atomic_labels_win")
    labels = arrays("energy_bias_atomic.npz")["atom_energy"].reshape(-1, 1)
    types = np.loadtxt(shared("data", "water", "data_0", "type.raw"), dtype=int)
    mean, spread = atomic_bias(np.tile(np.sort(types), 5), labels, 2)
    np.testing.assert_allclose(mean, spec["bias"], rtol=1e-8)
    np.testing.assert_allclose(spread, spec["std"], rtol=1e-8)


def test_parameters_equal_the_reference(index):
    data = arrays("param_inputs.npz")
    for spec in index["parameter_statistics"]:
        for name in ("fparam", "aparam"):
            values = data[name].reshape(-1, data[name].shape[-1])
            mean, inverse = parameter_normalisation(values, spec["data_stat_protect"])
            np.testing.assert_allclose(mean, spec[f"{name}_avg"], rtol=1e-8)
            np.testing.assert_allclose(inverse, spec[f"{name}_inv_std"], rtol=1e-8)
