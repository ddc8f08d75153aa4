"""The water with Wannier centroids in ``examples``, and the parts of the script behind it that need no quantum chemistry."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.config.fittings.outputs import DIPOLE
from dpjax.data import label_requirements, open_system, output_labels
from tests.shared import REPOSITORY, load_script

FOLDER = REPOSITORY / "examples" / "dplr"
WATER = REPOSITORY / "examples" / "water"

maker = load_script("make_dplr_data")


@pytest.fixture(scope="module", params=maker.SYSTEMS)
def frames(request):
    """Molecules (n_frame, n_water, 3 sites, 3), displacements of centroids (n_frame, n_water, 3) and all arrays of one system."""
    specs = (*label_requirements(("energy", "force", "virial")), *output_labels(DIPOLE, (0,)).values())
    system = open_system(FOLDER / request.param, ("O", "H"), specs)
    assert {name for name, found in system.found.items() if found} == {
        "coord", "box", "energy", "force", "virial", "atom_dipole",
    }  # fmt: skip
    folder = FOLDER / request.param / "set.000"
    arrays = {path.stem: np.load(path).astype(float) for path in folder.glob("*.npy")}
    n_frame = maker.SYSTEMS[request.param]
    assert len(arrays["coord"]) == n_frame
    return (
        request.param,
        arrays["coord"].reshape(n_frame, -1, 3, 3),
        arrays["atomic_dipole"].reshape(n_frame, -1, 3),
        arrays,
    )


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 400_000


def test_centroids_lie_in_their_molecules_between_oxygen_and_hydrogens(frames):
    _, molecules, displacement, _ = frames
    arms = molecules[:, :, 1:] - molecules[:, :, :1]
    normal = np.cross(arms[:, :, 0], arms[:, :, 1])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    middle = arms.sum(axis=2) / np.linalg.norm(arms.sum(axis=2), axis=-1, keepdims=True)
    assert np.abs((displacement * normal).sum(axis=-1)).max() < 5e-4
    along = (displacement * middle).sum(axis=-1)
    assert 0.03 < along.min() and along.max() < 0.12
    dipole = maker.CORES @ (molecules - molecules[:, :, :1]) - maker.ELECTRONS * displacement
    assert 0.4 < np.linalg.norm(dipole, axis=-1).mean() < 0.8  # e angstrom; 2 to 4 debye


def test_energies_and_forces_are_those_of_the_water(frames):
    name, _, _, arrays = frames
    theirs = {key: np.load(WATER / name / "set.000" / f"{key}.npy") for key in ("energy", "force", "coord")}
    n_frame = len(arrays["energy"])
    place = np.arange(n_frame) * len(theirs["energy"]) // n_frame
    for key, own in theirs.items():
        np.testing.assert_allclose(arrays[key], own[place], rtol=1e-6, atol=1e-5)


def test_the_centroid_is_that_of_the_dipole():
    molecule = np.array([[1.0, 2.0, 3.0], [1.9, 2.2, 3.1], [0.8, 2.9, 2.8]])
    place = molecule[0] + np.array([0.03, 0.05, -0.01])
    dipole = 6 * molecule[0] + molecule[1] + molecule[2] - 8 * place
    np.testing.assert_allclose(maker.centroid(molecule, dipole), place - molecule[0], atol=1e-14)


def test_fields_are_those_of_all_charges_within_the_cutoff():
    cell = np.array([[5.2, 0.0, 0.0], [0.8, 4.9, 0.0], [-0.5, 0.7, 6.1]])  # smaller than the cut-off
    rng = np.random.default_rng(0)
    arms = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    molecules = (
        (np.array([[0.1, 0.1, 0.1], [0.6, 0.5, 0.55]]) @ cell)[:, None] + arms + 0.05 * rng.normal(size=(2, 3, 3))
    )
    want = np.zeros((2, 3))
    for n in np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3):
        for centre in range(2):
            for other in range(2):
                for site, charge in enumerate(maker.CHARGES):
                    away = molecules[centre, 0] - molecules[other, site] - n @ cell
                    r = np.linalg.norm(away)
                    if (centre != other or n.any()) and r < maker.CUTOFF:
                        want[centre] += charge * maker.field_strength(r) * away / r
    np.testing.assert_allclose(maker.fields(molecules, cell), want, atol=1e-10)
    moved = molecules + (np.array([[2, -1, 0], [0, 0, 3]]) @ cell)[:, None] + 0.7
    np.testing.assert_allclose(maker.fields(moved, cell), want, atol=1e-10)
    assert maker.field_strength(np.array([maker.CUTOFF - 1e-9, maker.CUTOFF + 1.0])) == pytest.approx(
        [0.0, 0.0], abs=1e-7
    )
