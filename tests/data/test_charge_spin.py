"""``charge_spin.npy``: required without a default, checked when frames are read."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.data import LabelSpec, model_labels, open_system
from dpjax.errors import DataError
from tests.contracts.cases import dpa3, model
from tests.data.writing import TYPE_MAP, random_set, write_system


def labels(**options) -> tuple[LabelSpec, ...]:
    """The arrays to read for a model that takes charge and spin."""
    return model_labels(parse_model(model(dpa3(add_chg_spin_ebd=True, **options))), ["energy"])


def test_a_system_without_the_file_needs_a_default(tmp_path):
    folder = write_system(tmp_path / "s")
    with pytest.raises(
        DataError, match=r"charge_spin.npy is missing.*\(frames, 2\).*default_chg_spin.*add_chg_spin_ebd"
    ):
        open_system(folder, TYPE_MAP, labels())
    system = open_system(folder, TYPE_MAP, labels(default_chg_spin=[-1, 2]))
    assert system.inputs == ["charge_spin"] and not system.found["charge_spin"]
    np.testing.assert_array_equal(system.arrays([4, 0], ["charge_spin"])["charge_spin"], [[-1, 2]] * 2)


def test_the_file_comes_before_the_default(tmp_path):
    rows = np.array([[0, 1], [-1, 0], [2, 3]])
    folder = write_system(tmp_path / "s", random_set(3) | {"charge_spin": rows})
    system = open_system(folder, TYPE_MAP, labels(default_chg_spin=[5, 5]))
    np.testing.assert_array_equal(system.arrays([2, 1], ["charge_spin"])["charge_spin"], rows[[2, 1]])


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([100, 0], "the charge is 100; expected -100 to 99"),
        ([-101, 0], "the charge is -101; expected -100 to 99"),
        ([0, -1], "the spin is -1; expected 0 to 99"),
        ([0, 100], "the spin is 100; expected 0 to 99"),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path, row, text):
    first, second = random_set(3) | {"charge_spin": np.zeros((3, 2))}, random_set(2) | {"charge_spin": np.zeros((2, 2))}
    second["charge_spin"][1] = row
    system = open_system(write_system(tmp_path / "s", first, second), TYPE_MAP, labels())
    assert system.arrays([0, 3], ["charge_spin"])["charge_spin"].shape == (2, 2)
    with pytest.raises(DataError, match=rf"set.001/charge_spin.npy: frame 1 .*{text}"):
        system.arrays([0, 4], ["charge_spin"])


def test_digits_after_the_point_do_not_count(tmp_path):
    rows = np.array([[99.9, 99.9], [-100.9, -0.9]])
    system = open_system(write_system(tmp_path / "s", random_set(2) | {"charge_spin": rows}), TYPE_MAP, labels())
    np.testing.assert_array_equal(system.arrays([0, 1], ["charge_spin"])["charge_spin"], rows)


def test_frames_of_a_file_are_left_out_where_that_is_asked_for(tmp_path, caplog):
    ase = pytest.importorskip("ase", reason="ASE is not installed")
    from ase.io import write

    from dpjax.data import open_systems

    frames = [
        ase.Atoms("OH2", positions=np.eye(3) * (i + 1), info={"charge_spin": [c, 0]}) for i, c in enumerate((1, 200, 2))
    ]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    [system] = open_systems(tmp_path / "a.xyz", TYPE_MAP, labels()[1:], skip_bad_frames=True)
    assert "frame 1: the charge is 200; expected -100 to 99" in caplog.text
    assert system.arrays(range(system.n_frame), ["charge_spin"])["charge_spin"][:, 0].tolist() == [1, 2]
