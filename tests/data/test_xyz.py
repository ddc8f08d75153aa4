"""Extended XYZ files through ASE: units, the sign of the stress, systems by size, and mistakes named."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from dpjax.data import LabelSpec, label_requirements, load_systems
from dpjax.errors import DataError
from tests.data.writing import TYPE_MAP, data_section

pytest.importorskip("ase")
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write

ENERGY = label_requirements(("energy", "force", "virial"))
CELL = np.array([[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.2, -0.3, 7.0]])


def molecule(symbols: str = "OHH", seed: int = 0, periodic: bool = True, **results) -> Atoms:
    rng = np.random.default_rng(seed)
    n_atom = len(symbols)
    atoms = Atoms(list(symbols), rng.uniform(0, 4, (n_atom, 3)), cell=CELL if periodic else None, pbc=periodic)
    values = {"energy": rng.normal(), "forces": rng.normal(size=(n_atom, 3))} | results
    atoms.calc = SinglePointCalculator(atoms, **values)
    return atoms


def loaded(path, specs=ENERGY, **options):
    return load_systems(data_section([str(path)]), TYPE_MAP, specs, **options)


def test_arrays_are_those_of_ase(tmp_path):
    frames = [molecule(seed=i) for i in range(4)]
    ase_write(tmp_path / "a.extxyz", frames)
    (system,) = loaded(tmp_path / "a.extxyz")
    assert (system.name, system.n_frame, system.n_atom, system.mixed) == (f"{tmp_path}/a.extxyz", 4, 3, True)
    got = system.arrays([2, 0], ["coord", "box", "energy", "force"])
    for row, i in enumerate((2, 0)):
        np.testing.assert_allclose(got["coord"][row], frames[i].positions, atol=1e-7)
        np.testing.assert_allclose(got["box"][row], CELL.ravel(), atol=1e-7)
        np.testing.assert_allclose(got["energy"][row], frames[i].get_potential_energy(), atol=1e-7)
        np.testing.assert_allclose(got["force"][row], frames[i].get_forces(), atol=1e-7)
    assert system.frame_types(1).tolist() == [0, 1, 1] and system.found["virial"] == 0


def test_virial_is_minus_stress_times_volume(tmp_path):
    """ASE: stress = dE/d(strain) / volume, negative when the cell wants to expand; DeePMD: virial = -dE/d(strain)."""

    def energy(atoms: Atoms) -> float:
        return float(1.0 / atoms.get_distance(0, 1, mic=True))  # two atoms that repel each other

    atoms = molecule("OH", seed=3)
    strained = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            both = []
            for step in (1e-5, -1e-5):
                other = atoms.copy()
                strain = np.eye(3)
                strain[a, b] += step
                other.set_cell(atoms.cell @ strain, scale_atoms=True)
                both.append(energy(other))
            strained[a, b] = (both[0] - both[1]) / 2e-5
    stress = (strained + strained.T) / 2 / atoms.get_volume()
    atoms.calc = SinglePointCalculator(
        atoms, energy=energy(atoms), stress=stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    )
    ase_write(tmp_path / "a.xyz", [atoms], format="extxyz")
    (system,) = loaded(tmp_path / "a.xyz")
    virial = system.arrays([0], ["virial"])["virial"].reshape(3, 3)
    np.testing.assert_allclose(virial, -(strained + strained.T) / 2, atol=1e-6)
    assert np.trace(virial) > 0  # repulsion


def test_a_virial_comes_before_a_stress(tmp_path):
    atoms = molecule(stress=np.ones(6))
    atoms.info["virial"] = np.diag([1.0, 2.0, 3.0])
    ase_write(tmp_path / "a.xyz", [atoms], format="extxyz")
    (system,) = loaded(tmp_path / "a.xyz")
    assert system.arrays([0], ["virial"])["virial"].reshape(3, 3).diagonal().tolist() == [1, 2, 3]


def test_further_labels_under_their_names(tmp_path):
    atoms = molecule()
    atoms.info["fparam"] = np.array([300.0, 1.5])
    atoms.arrays["aparam"] = np.array([1.0, 2.0, 3.0])
    atoms.info["note"] = "a word"
    ase_write(tmp_path / "a.xyz", [atoms], format="extxyz")
    (system,) = loaded(tmp_path / "a.xyz", (*ENERGY, LabelSpec("fparam", size=2), LabelSpec("aparam", per_atom=True)))
    got = system.arrays([0], ["fparam", "aparam"])
    assert got["fparam"].tolist() == [[300.0, 1.5]] and got["aparam"].ravel().tolist() == [1, 2, 3]


def test_systems_by_size_and_cell(tmp_path):
    ase_write(
        tmp_path / "a.xyz",
        [molecule("OHH"), molecule("OHHH"), molecule("HHO", 2), molecule("OH", 1, False)],
        format="extxyz",
    )
    systems = loaded(tmp_path / "a.xyz")
    assert [(s.name.partition("#")[2], s.n_frame, s.periodic) for s in systems] == [
        ("2", 1, False),
        ("3", 2, True),
        ("4", 1, True),
    ]
    assert systems[1].frame_types(1).tolist() == [1, 1, 0]
    assert systems[0].cell(0) is None


def test_an_element_that_the_model_does_not_know(tmp_path):
    ase_write(tmp_path / "a.xyz", [molecule(), molecule("OHC", 1)], format="extxyz")
    (system,) = loaded(tmp_path / "a.xyz")
    with pytest.raises(DataError, match="a.xyz, frame 1.*atom 2 is C, unknown to the model"):
        system.frame_types(1)


def test_partly_periodic(tmp_path):
    atoms = molecule()
    atoms.pbc = (True, True, False)
    ase_write(tmp_path / "a.xyz", [atoms], format="extxyz")
    with pytest.raises(DataError, match="a.xyz, frame 0 is periodic in some directions only"):
        loaded(tmp_path / "a.xyz")[0].coord(0)


@pytest.mark.parametrize("spoil, text", [
    (lambda lines: lines[:-1], "ends inside frame 2, which begins in line 11"),
    (lambda lines: [*lines[:5], "three\n", *lines[6:]], "line 6: found 'three'; expected the number of atoms"),
    (lambda lines: [*lines[:2], "O 1.0 2.0\n", *lines[3:]], "frame 0 cannot be read by ASE"),
    (lambda lines: [], "holds no frame"),
])  # fmt: skip
def test_damaged_files(tmp_path, spoil, text):
    path = tmp_path / "a.xyz"
    ase_write(path, [molecule(seed=i) for i in range(3)], format="extxyz")
    with open(path) as stream:
        lines = stream.readlines()
    path.write_text("".join(spoil(lines)))
    with pytest.raises(DataError) as caught:
        for system in loaded(path):
            system.arrays(range(system.n_frame), ["coord"])
    assert str(path) in str(caught.value) and text in str(caught.value)


def test_a_bad_frame_is_left_out_if_asked(tmp_path, caplog):
    path = tmp_path / "a.xyz"
    ase_write(path, [molecule(seed=i) for i in range(3)], format="extxyz")
    path.write_text(path.read_text().replace("H ", "H x", 1))
    with caplog.at_level(logging.WARNING):
        (system,) = loaded(path, skip_bad_frames=True)
    assert system.n_frame == 2 and "1 of 3 frames are left out" in caplog.text


def test_hash_and_replaced_file(tmp_path):
    path = tmp_path / "a.xyz"
    ase_write(path, [molecule()], format="extxyz")
    (system,) = loaded(path)
    assert system.content_hash() == loaded(path)[0].content_hash()
    ase_write(path, [molecule(), molecule(seed=1)], format="extxyz")
    with pytest.raises(DataError, match="a.xyz: the file changed while the training reads it"):
        system.content_hash()
