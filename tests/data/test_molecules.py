"""The molecules in ``examples``, and the parts of the script behind them that need no quantum chemistry."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dpjax.config.fittings.outputs import DIPOLE, POLARIZABILITY, density_of_states, named_property
from dpjax.data import LabelSpec, find_systems, label_requirements, open_system, output_labels
from tests.shared import REPOSITORY, load_script

SCRIPT = REPOSITORY / "scripts" / "make_molecules_data.py"
FOLDER = REPOSITORY / "examples" / "molecules"
SYSTEMS = [FOLDER / path for path in find_systems(["train", "valid"], base=FOLDER)]
LEVELS = np.array([-12.3, -7.01, 2.2])  # eV


maker = load_script(SCRIPT.stem)
N_DOS = len(maker.GRID)
SPACING = maker.GRID[1] - maker.GRID[0]


def labels_of_outputs() -> list[LabelSpec]:
    outputs = (DIPOLE, POLARIZABILITY, density_of_states(N_DOS), named_property("gap", 1, True))
    return [spec for output in outputs for spec in output_labels(output).values()]


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def frames(request):
    """Name, types and all arrays of one system."""
    specs = (*label_requirements(("energy", "force")), *labels_of_outputs())
    system = open_system(request.param, maker.TYPE_MAP, specs)
    assert not system.periodic
    found = {name for name, flag in system.found.items() if flag}
    assert found == {"coord", "energy", "force", "dipole", "polarizability", "gap", "dos", "atom_dos"}
    return request.param, system.types, system.arrays(range(system.n_frame), found)


def test_every_molecule_is_in_both_parts_with_as_many_frames_as_the_script_makes():
    names = [f"{part}/{molecule}" for part in maker.FRAMES for molecule in maker.MOLECULES]
    assert sorted(path.relative_to(FOLDER).as_posix() for path in SYSTEMS) == sorted(names)
    for path in SYSTEMS:
        want = maker.FRAMES[path.parent.name] * len(maker.TEMPERATURES)
        assert open_system(path, maker.TYPE_MAP).n_frame == want


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 1_500_000


def test_polarizabilities_are_symmetric_and_not_negative(frames):
    tensors = frames[2]["polarizability"].reshape(-1, 3, 3)
    assert np.array_equal(tensors, tensors.swapaxes(1, 2))
    assert np.linalg.eigvalsh(tensors).min() > -1e-5  # zero across the plane of water


def test_densities_of_states_count_orbitals_and_are_sums_over_atoms(frames):
    _, types, arrays = frames
    basis = np.array([1, 4, 4, 4])[types].sum()  # valence s of H; s and p of C, N, O
    electrons = np.array([1, 4, 5, 6])[types].sum()
    counted = arrays["dos"].sum(axis=1) * SPACING
    assert counted.max() < basis + 1e-5
    assert counted.min() > electrons / 2
    assert counted.mean() > 0.85 * basis  # the highest empty orbitals lie above the window
    assert np.allclose(arrays["atom_dos"].sum(axis=1), arrays["dos"], atol=1e-6)


def test_forces_on_a_free_molecule_cancel_and_lower_the_energy(frames):
    _, _, arrays = frames
    assert np.abs(arrays["force"].sum(axis=1)).max() < 1e-4
    assert 0.3 < arrays["force"].std() < 3.0
    assert 0 < np.ptp(arrays["energy"]) < 2.0


def test_sizes_of_dipoles_and_gaps(frames):
    path, types, arrays = frames
    size = np.linalg.norm(arrays["dipole"], axis=1)
    assert 0.2 < size.min() and size.max() < 1.2
    assert 2.5 < arrays["gap"].min() and arrays["gap"].max() < 18
    if path.name == "water":
        oxygen = maker.TYPE_MAP.index("O")
        to_hydrogen = arrays["coord"][:, types != oxygen].mean(axis=1) - arrays["coord"][:, types == oxygen][:, 0]
        cosine = np.sum(arrays["dipole"] * to_hydrogen, axis=1) / size / np.linalg.norm(to_hydrogen, axis=1)
        assert cosine.min() > 0.95  # from the negative oxygen to the hydrogens
        assert 0.35 < size.mean() < 0.60  # e angstrom; measured 0.386, GFN2-xTB at equilibrium 0.476


def test_no_direction_is_preferred():
    """Over many frames turned at random the mean of a unit vector is small."""
    dipoles = np.concatenate([np.load(path / "set.000" / "dipole.npy") for path in SYSTEMS])
    mean = (dipoles / np.linalg.norm(dipoles, axis=1, keepdims=True)).mean(axis=0)
    assert np.abs(mean).max() < 4 / np.sqrt(3 * len(dipoles))


def test_a_gaussian_has_its_weight_as_area():
    weights = np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 1.5]])
    curves = maker.broaden(LEVELS, weights)
    assert np.allclose(curves.sum(axis=1) * SPACING, weights.sum(axis=0), rtol=1e-7)
    centre = (curves[0] * maker.GRID).sum() / curves[0].sum()
    assert centre == pytest.approx((weights[:, 0] * LEVELS).sum() / weights[:, 0].sum())


def test_populations_divide_every_orbital_among_the_atoms():
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(5, 5))
    overlap = np.eye(5) + 0.02 * (mix + mix.T)
    inverse_root = np.linalg.inv(np.linalg.cholesky(overlap)).T
    orbitals = inverse_root @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    atom_of = np.array([0, 0, 1, 2, 2])
    shares = maker.populations(orbitals, overlap, atom_of)
    assert shares.shape == (5, 3)
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.allclose(shares.sum(axis=0), [2, 1, 2])  # a full shell: as many electron pairs as basis functions
    assert maker.populations(np.eye(5), np.eye(5), atom_of).tolist() == np.eye(3)[atom_of].tolist()


def test_polarizability_of_a_known_response_is_found():
    rng = np.random.default_rng(2)
    dipole, linear = rng.normal(size=3), rng.normal(size=(3, 3))
    linear += linear.T
    second, third = rng.normal(size=(2, 3))

    def dipole_in(field):
        return dipole + linear @ field + second * (field @ field) + third * field.sum() ** 3

    found = maker.polarizability(dipole_in)
    assert np.array_equal(found, found.T)
    assert np.allclose(found, linear, atol=10 * maker.FIELD**2)  # even powers cancel, odd ones remain


def test_random_rotations_keep_lengths_and_handedness():
    rng = np.random.default_rng(3)
    turned = np.stack([maker.random_rotation(rng) for _ in range(400)])
    assert np.allclose(turned @ turned.swapaxes(1, 2), np.eye(3))
    assert np.allclose(np.linalg.det(turned), 1)
    assert np.abs(turned.mean(axis=0)).max() < 4 / np.sqrt(3 * 400)


def test_every_trajectory_has_a_seed_of_its_own():
    seeds = {tuple(trajectory.seed) for trajectory in maker.TRAJECTORIES}
    assert len(seeds) == len(maker.TRAJECTORIES) == 24


def test_a_written_system_is_read_back(tmp_path):
    rng = np.random.default_rng(4)
    sizes = {"coord": 9, "energy": 1, "force": 9, "dos": N_DOS, "atom_dos": 3 * N_DOS}
    rows = [{name: rng.normal(size=size) for name, size in sizes.items()} for _ in range(2)]
    maker.write_system(tmp_path / "water", ("O", "H", "H"), rows)
    specs = (*label_requirements(("energy", "force")), *labels_of_outputs())
    system = open_system(tmp_path / "water", maker.TYPE_MAP, specs)
    read = system.arrays([0, 1], ["coord", "energy", "dos", "atom_dos"])
    assert not system.periodic
    assert system.types.tolist() == [0, 0, 3]
    assert np.array_equal(read["energy"], [row["energy"] for row in rows])  # float64 stays
    assert np.allclose(read["dos"], [row["dos"] for row in rows], rtol=1e-6)
    oxygen_last = [row["atom_dos"].reshape(3, N_DOS)[[1, 2, 0]] for row in rows]
    assert np.allclose(read["atom_dos"], oxygen_last, rtol=1e-6)


def test_the_script_says_what_to_install(tmp_path, monkeypatch, capsys):
    """Without tblite nothing is written, and one line says why."""
    output = tmp_path / "molecules"
    monkeypatch.setattr(maker, "find_spec", lambda name: None if name == "tblite" else object())
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(output)])
    with pytest.raises(SystemExit) as stopped:
        maker.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 1
    assert said.count("\n") == 1
    assert "tblite" in said and "pip install 'dpjax[data]'" in said
    assert not output.exists()


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setattr(maker, "find_spec", lambda name: None if name == "tblite" else object())
    assert maker.missing_libraries().startswith("tblite not found")
    monkeypatch.setattr(maker, "find_spec", lambda name: object())
    assert maker.missing_libraries() == ""
