"""Labels of models of every output: names, sizes, file names, and files that hold the selected atoms alone."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.config.fittings import outputs
from dpjax.data import LabelSpec, label_requirements, load_systems, open_system, output_labels
from dpjax.errors import ConfigError, DataError
from tests.data.writing import TYPE_MAP, TYPES, data_section, random_set, write_system
from tests.shared import golden

OXYGEN, HYDROGEN = 0, 1
HYDROGENS = [number for number, kind in enumerate(TYPES) if kind == HYDROGEN]


def frames_with(n_frame: int = 2, **labels: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of one set with the labels given."""
    arrays = random_set(n_frame)
    return {name: arrays[name] for name in ("coord", "box")} | labels


def dipoles(n_frame: int, n_atom: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_frame, n_atom, 3))


def wanted(selected=None):
    return label_requirements(["atom_dipole"], outputs.DIPOLE, selected=selected)


@pytest.mark.parametrize(
    "output, labels",
    [
        (outputs.DIPOLE, {"dipole": 3, "atom_dipole": 3, "atom_weight": 1}),
        (outputs.POLARIZABILITY, {"polarizability": 9, "atom_polarizability": 9, "atom_weight": 1}),
        (outputs.density_of_states(7), {"dos": 7, "atom_dos": 7}),
        (outputs.named_property("band_gap", 4, True), {"band_gap": 4, "atom_band_gap": 4}),
    ],
)
def test_labels_follow_the_output(output, labels):
    specs = output_labels(output)
    assert {name: spec.size for name, spec in specs.items()} == labels
    for name, spec in specs.items():
        assert spec.per_atom == name.startswith("atom_")
        assert spec.aliases == ((name.replace("atom_", "atomic_"),) if spec.per_atom else ())
        assert spec.advice and not spec.required


def test_a_property_keeps_its_precision_and_may_be_called_like_a_label_of_energies():
    (spec,) = label_requirements(["energy"], outputs.named_property("energy", 2, False))
    assert spec.high_precision and spec.size == 2 and "property_name" in spec.advice
    assert not output_labels(outputs.density_of_states(3))["dos"].high_precision


def test_a_property_cannot_be_called_like_an_input():
    output = outputs.named_property("fparam", 2, False)
    assert len(label_requirements(["fparam"], output)) == 1
    with pytest.raises(ConfigError, match="property_name is 'fparam', but fparam.npy holds an input"):
        label_requirements(["fparam"], output, numb_fparam=1)


@pytest.mark.parametrize(
    "file, output",
    [
        ("npy_tensor", outputs.DIPOLE),
        ("npy_tensor", outputs.POLARIZABILITY),
        ("npy_property", outputs.named_property("band_gap", 1, False)),
    ],
)
def test_data_of_the_reference(file, output):
    want = np.load(golden("data", "arrays", f"{file}.npz"))
    specs = [spec for name, spec in output_labels(output).items() if name in want.files]
    system = open_system(golden("data", "formats", file), TYPE_MAP, specs)
    got = system.arrays(range(system.n_frame), [spec.name for spec in specs])
    assert len(got) == (3 if output.losses == ("tensor",) else 1)
    for name, values in got.items():
        assert system.found[name] and np.array_equal(values, want[name])


def test_both_names_of_a_file_even_in_one_system(tmp_path):
    first, second = dipoles(2, 3, 1), dipoles(1, 3, 2)
    sets = (frames_with(2, atomic_dipole=first.reshape(2, -1)), frames_with(1, atom_dipole=second.reshape(1, -1)))
    system = open_system(write_system(tmp_path / "s", *sets), TYPE_MAP, wanted())
    got = system.arrays([0, 1, 2], ["atom_dipole"])["atom_dipole"]
    assert np.array_equal(got, np.concatenate([first, second])[:, system.order])


def test_the_hash_is_of_the_numbers_not_of_the_name_of_the_file(tmp_path):
    values = dipoles(2, 3).reshape(2, -1)
    folders = [
        write_system(tmp_path / name, frames_with(**{name: values})) for name in ("atom_dipole", "atomic_dipole")
    ]
    hashes = {open_system(folder, TYPE_MAP, wanted()).content_hash() for folder in folders}
    assert len(hashes) == 1
    np.save(folders[1] / "set.000" / "atomic_dipole.npy", values + 1)
    assert open_system(folders[1], TYPE_MAP, wanted()).content_hash() not in hashes


@pytest.mark.parametrize("n_frame", [1, 2, 3])
def test_files_of_the_selected_atoms_alone(tmp_path, n_frame):
    few = dipoles(n_frame, len(HYDROGENS))
    everything = np.zeros((n_frame, len(TYPES), 3))
    everything[:, HYDROGENS] = few
    sets = (frames_with(n_frame, atomic_dipole=few.reshape(n_frame, -1)), frames_with(2, atom_dipole=dipoles(2, 3)))
    system = open_system(write_system(tmp_path / "s", *sets), TYPE_MAP, wanted((HYDROGEN,)))
    got = system.arrays(range(n_frame + 2), ["atom_dipole"])["atom_dipole"]
    assert np.array_equal(got[:n_frame], everything[:, system.order])
    assert np.array_equal(got[n_frame:], dipoles(2, 3)[:, system.order])


def test_selected_types_are_those_of_the_model_not_of_the_files(tmp_path):
    folder = write_system(tmp_path / "s", frames_with(2, atom_dipole=dipoles(2, len(HYDROGENS)).reshape(2, -1)))
    system = open_system(folder, ("H", "O"), wanted((0,)))
    got = system.arrays([0, 1], ["atom_dipole"])["atom_dipole"]
    assert np.array_equal(got, np.concatenate([dipoles(2, 2), np.zeros((2, 1, 3))], axis=1))


def test_a_system_without_selected_atoms(tmp_path):
    folder = write_system(tmp_path / "s", frames_with(2, atom_dipole=np.zeros((2, 0))), types=(0, 0, 0))
    system = open_system(folder, TYPE_MAP, wanted((HYDROGEN,)))
    assert not system.arrays([0, 1], ["atom_dipole"])["atom_dipole"].any()


def test_files_of_other_widths(tmp_path):
    folder = write_system(tmp_path / "s", frames_with(2, atomic_dipole=np.zeros((2, 3))))
    with pytest.raises(DataError, match=r"atomic_dipole.npy has shape \(2, 3\).*\(2, 9\).*or \(2, 6\) for the 2 atoms"):
        open_system(folder, TYPE_MAP, wanted((HYDROGEN,)))
    with pytest.raises(DataError, match=r"expected \(frames, 3\*natoms\) = \(2, 9\) with natoms = 3\. Compare"):
        open_system(folder, TYPE_MAP, wanted())


def test_mixed_systems_hold_all_atoms(tmp_path):
    types = np.array([[0, 1, -1], [1, 1, 0]])
    arrays = frames_with(2, atom_dipole=dipoles(2, 2).reshape(2, -1), real_atom_types=types)
    folder = write_system(tmp_path / "s", arrays, types=(0, 0, 0))
    with pytest.raises(DataError, match=r"does not fit 9 values per frame; expected \(frames, 3\*natoms\)"):
        open_system(folder, TYPE_MAP, wanted((HYDROGEN,)))


def test_messages_name_all_files_that_were_looked_for(tmp_path):
    sets = (frames_with(1, atomic_dipole=np.zeros((1, 9))), frames_with(1))
    folder = write_system(tmp_path / "s", *sets)
    half = r"set.001/atom_dipole.npy \(or atomic_dipole.npy\) is missing although .*set.000/atomic_dipole.npy exists"
    with pytest.raises(DataError, match=half):
        open_system(folder, TYPE_MAP, wanted())
    bare = write_system(tmp_path / "t", frames_with(1))
    missing = r"atom_dipole.npy \(or atomic_dipole.npy\) is missing.*set loss/pref_atomic to 0"
    with pytest.raises(DataError, match=missing):
        load_systems(data_section([str(bare)]), TYPE_MAP, wanted(), required_somewhere=["atom_dipole"])
    write_system(tmp_path / "u", frames_with(1, atomic_dipole=np.zeros((1, 9))))
    both = data_section([str(bare), str(tmp_path / "u")])
    with pytest.warns(UserWarning, match=r"1 of 2 systems have no atom_dipole.npy \(or atomic_dipole.npy\)"):
        load_systems(both, TYPE_MAP, wanted(), required_somewhere=["atom_dipole"])


def test_a_value_that_is_not_finite_names_the_file_and_the_atom_in_it(tmp_path):
    values = dipoles(2, 3).reshape(2, -1)
    values[1, 7] = np.nan
    folder = write_system(tmp_path / "s", frames_with(2, atomic_dipole=values))
    system = open_system(folder, TYPE_MAP, wanted((OXYGEN,)))
    with pytest.raises(DataError, match=r"set.000/atomic_dipole.npy: frame 1, atom 2"):
        system.arrays([0, 1], ["atom_dipole"])


def test_file_names_in_words():
    assert LabelSpec("a").file_names == "a.npy"
    assert LabelSpec("a", aliases=("b",)).file_names == "a.npy (or b.npy)"
