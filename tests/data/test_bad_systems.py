"""Every mistake in data files has one error that names the file, what was found, what was expected and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.data import label_requirements, load_systems, open_system
from dpjax.errors import ConfigError, DataError
from tests.data.writing import TYPE_MAP, data_section, random_set, write_system

NAMES = ("energy", "force", "virial")
LABELS = label_requirements(NAMES)


@pytest.fixture
def folder(tmp_path):
    return write_system(tmp_path / "water")


def failure(folder, *, read: bool = False, labels=LABELS, type_map=TYPE_MAP) -> str:
    """The message of opening (and reading) a system."""
    with pytest.raises(DataError) as caught:
        system = open_system(folder, type_map, labels)
        if read:
            system.arrays(range(system.n_frame), ["coord", "box", *system.labels])
    return str(caught.value)


def assert_says(message: str, *parts: object) -> None:
    for part in parts:
        assert str(part) in message, message


def spoil(path, index, value):
    values = np.load(path)
    values[index] = value
    np.save(path, values)


def test_missing_type_raw(folder):
    (folder / "type.raw").unlink()
    assert_says(failure(folder), folder / "type.raw", "missing", "one integer type per atom")


@pytest.mark.parametrize("text, entry", [("0\nO\n1\n", "entry 2 is 'O'"), ("0 1.0 1", "'1.0'"), ("--1 0 0", "'--1'")])
def test_type_raw_with_something_else_than_integers(folder, text, entry):
    (folder / "type.raw").write_text(text)
    assert_says(failure(folder), folder / "type.raw", entry, "integers only", "type_map.raw")


def test_empty_type_raw(folder):
    (folder / "type.raw").write_text("\n")
    assert_says(failure(folder), folder / "type.raw", "empty")


@pytest.mark.parametrize("bad", [2, -1])
def test_type_index_outside_type_map_raw(folder, bad):
    (folder / "type.raw").write_text(f"0 1 {bad}")
    assert_says(failure(folder), folder / "type.raw", f"atom 2 has type {bad}", "expected 0 to 1", "O, H")


def test_unknown_element_names_the_models_type_map(folder):
    (folder / "type_map.raw").write_text("O Xx")
    assert_says(failure(folder), folder / "type_map.raw", "Xx", "type_map is: O, H", "model/type_map")


def test_unused_unknown_element_is_no_mistake(folder):
    (folder / "type_map.raw").write_text("O H Xx")
    assert open_system(folder, TYPE_MAP).n_frame == 5


def test_type_without_a_name_beyond_the_models_types(folder):
    (folder / "type_map.raw").unlink()
    assert_says(failure(folder, type_map=("O",)), "type 1", "type_map has 1 entries (O)", "type_map.raw")


def test_empty_type_map_raw(folder):
    (folder / "type_map.raw").write_text("")
    assert_says(failure(folder), folder / "type_map.raw", "empty")


@pytest.mark.parametrize("name, shape, expected", [
    ("coord", (3, 10), "(frames, 9)"), ("force", (3, 6), "(3, 9)"), ("energy", (3, 2), "(3, 1)"), ("box", (3, 3), "(3, 9)"),
])  # fmt: skip
def test_wrong_array_length(folder, name, shape, expected):
    file = folder / "set.000" / f"{name}.npy"
    np.save(file, np.zeros(shape))
    assert_says(failure(folder), file, f"shape {shape}", expected, "natoms = 3")


def test_frame_counts_differ_inside_a_set(folder):
    file = folder / "set.000" / "force.npy"
    np.save(file, np.zeros((2, 9)))
    assert_says(failure(folder), file, "2 frames", "coord.npy beside it has 3", "(3, 9)")


def test_label_in_one_set_only(folder):
    file = folder / "set.001" / "force.npy"
    file.unlink()
    assert_says(failure(folder), file, "missing", folder / "set.000" / "force.npy", "all sets")


@pytest.mark.parametrize("keep", [0, 5, 60, -8])
def test_truncated_npy(folder, keep):
    file = folder / "set.001" / "coord.npy"
    file.write_bytes(file.read_bytes()[:keep])
    assert_says(failure(folder), file, "bytes", "opy or convert it again")


def test_text_in_place_of_npy(folder):
    file = folder / "set.000" / "energy.npy"
    file.write_text("1.0 2.0 3.0")
    assert_says(failure(folder), file, "no readable .npy header")


def test_npy_of_strings(folder):
    file = folder / "set.000" / "energy.npy"
    np.save(file, np.array(["a", "b", "c"]))
    assert_says(failure(folder), file, "dtype <U1", "plain numbers")


def test_missing_coord(folder):
    file = folder / "set.001" / "coord.npy"
    file.unlink()
    assert_says(failure(folder), file, "missing", "(frames, 9)")


def test_missing_box_without_nopbc(folder):
    for number in range(2):
        (folder / f"set.{number:03d}" / "box.npy").unlink()
    assert_says(failure(folder), folder / "set.000" / "box.npy", "missing", folder / "nopbc", "not periodic")
    (folder / "nopbc").touch()
    assert not open_system(folder, TYPE_MAP, LABELS).periodic


def test_no_sets(folder):
    for number in range(2):
        (folder / f"set.{number:03d}").rename(folder / f"part{number}")
    assert_says(failure(folder), folder, "no set.* directories", "part0", "set.000/coord.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "name, column, place", [("coord", 7, "atom 2"), ("force", 3, "atom 1"), ("virial", 4, "component 4")]
)
def test_not_finite(folder, name, column, place, value):
    file = folder / "set.001" / f"{name}.npy"
    spoil(file, (1, column), value)
    assert_says(failure(folder, read=True), file, f"frame 1, {place}", value, "finite number")


def test_not_finite_energy_and_hessian(tmp_path):
    arrays = random_set(2) | {"hessian": np.zeros((2, 81))}
    arrays["hessian"][1, 30] = np.nan
    folder = write_system(tmp_path / "s", arrays)
    assert_says(failure(folder, read=True, labels=label_requirements(["hessian"])), "hessian.npy: frame 1, atom 1")
    spoil(folder / "set.000" / "energy.npy", 0, np.nan)
    assert_says(failure(folder, read=True), "energy.npy: frame 0, component 0")


def test_frames_that_are_not_read_are_not_checked(folder):
    spoil(folder / "set.001" / "coord.npy", (1, 0), np.nan)
    assert np.isfinite(open_system(folder, TYPE_MAP).arrays([0, 1, 2, 3], ["coord"])["coord"]).all()


@pytest.mark.parametrize("cell, kind", [
    (np.zeros(9), "zero cell"),
    ([5, 0, 0, 0, 5, 0, 5, 5, 0], "singular cell"),
    ([5, 0, 0, 0, 5, 0, 0, 0, 0], "singular cell"),
])  # fmt: skip
def test_cell_without_volume(folder, cell, kind):
    spoil(folder / "set.000" / "box.npy", 2, cell)
    assert_says(failure(folder, read=True), folder / "set.000" / "box.npy", "frame 2", kind, "nopbc")


def test_left_handed_and_very_flat_but_sound_cells_pass(folder):
    spoil(folder / "set.000" / "box.npy", 0, [0, 5, 0, 5, 0, 0, 0, 0, 5])
    spoil(folder / "set.000" / "box.npy", 1, [200, 0, 0, 0, 200, 0, 0, 0, 0.5])
    assert np.linalg.det(open_system(folder, TYPE_MAP).cell(0)) < 0


@pytest.mark.parametrize("name, key", [("force", "loss/start_pref_f"), ("energy", "loss/limit_pref_e")])
def test_missing_label_with_a_prefactor(folder, name, key):
    for number in range(2):
        (folder / f"set.{number:03d}" / f"{name}.npy").unlink()
    section = data_section([str(folder)])
    assert load_systems(section, TYPE_MAP, LABELS)[0].found[name] == 0.0
    with pytest.raises(DataError) as caught:
        load_systems(section, TYPE_MAP, LABELS, required={name})
    assert_says(
        str(caught.value), folder, f"{name}.npy is missing", f"set {key.replace('limit', 'start')}", key, "to 0"
    )


def test_label_needed_in_at_least_one_system(tmp_path):
    without = {key: value for key, value in random_set(2).items() if key != "virial"}
    write_system(tmp_path / "a", without)
    both = data_section([str(tmp_path / "a"), str(write_system(tmp_path / "b"))])
    with pytest.warns(UserWarning, match=r"1 of 2 systems have no virial.npy .*a\)"):
        assert [s.found["virial"] for s in load_systems(both, TYPE_MAP, LABELS, required_somewhere=["virial"])] == [
            0,
            1,
        ]
    with pytest.raises(DataError, match="loss/start_pref_v and loss/limit_pref_v to 0"):
        load_systems(data_section([str(tmp_path / "a")]), TYPE_MAP, LABELS, required_somewhere=["virial"])


def test_missing_model_inputs(folder):
    message = failure(folder, labels=label_requirements(NAMES, numb_fparam=2))
    assert_says(message, "fparam.npy is missing", "(frames, 2)", "numb_fparam", "default_fparam")
    assert_says(
        failure(folder, labels=label_requirements(NAMES, numb_aparam=1)),
        "aparam.npy is missing",
        "numb_aparam",
    )


def test_generalised_forces_without_coordinates():
    with pytest.raises(ConfigError, match="loss/numb_generalized_coord is 0"):
        label_requirements(["drdq"])


def test_mixed_system_needs_names(tmp_path):
    arrays = random_set(2) | {"real_atom_types": np.array([[0, 1, -1], [1, 1, 1]])}
    folder = write_system(tmp_path / "m", arrays, types=(0, 0, 0))
    assert open_system(folder, ("H", "O")).frame_types(0).tolist() == [1, 0, -1]
    spoil(folder / "set.000" / "real_atom_types.npy", (1, 2), 5)
    assert_says(failure(folder), "real_atom_types.npy", "frame 1, atom 2 has type 5", "expected -1 to 1")
    (folder / "type_map.raw").unlink()
    assert_says(failure(folder), folder / "type_map.raw", "missing", "mixed types")


def test_raw_text_says_what_to_do(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "type.raw").write_text("0 1 1")
    (raw / "coord.raw").write_text("0 0 0 1 0 0 0 1 0")
    with pytest.raises(DataError) as caught:
        load_systems(data_section([str(raw)]), TYPE_MAP, LABELS)
    assert_says(str(caught.value), raw, "raw text", "not trained from", "dpdata")


@pytest.mark.parametrize("name", ["train.lmdb", "data.h5", "data.h5#/water", "train.extxyz"])
def test_files_that_do_not_exist(tmp_path, name):
    pytest.importorskip("ase")
    with pytest.raises(DataError) as caught:
        load_systems(data_section([str(tmp_path / name)]), TYPE_MAP, LABELS)
    assert_says(str(caught.value), name.split("#")[0], "does not exist", "`systems`")
