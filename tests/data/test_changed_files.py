"""Data files that are replaced in the middle of a run are reported, never mixed in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dpjax.data import label_requirements, open_system
from dpjax.errors import DataError
from tests.data.test_hdf5 import write_group
from tests.data.writing import TYPE_MAP, random_set, write_system

ENERGY = label_requirements(("energy", "force", "virial"))


def touched_later(path: Path) -> None:
    """As after a change long enough later for every file system."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def assert_reported(system, file: Path) -> None:
    with pytest.raises(DataError, match="changed while the training reads it") as caught:
        system.arrays([1], ["coord", "force"])
    assert str(file) in str(caught.value)
    with pytest.raises(DataError, match="changed while"):
        system.content_hash()


@pytest.mark.parametrize("how", ["longer", "same size", "shorter", "gone", "renamed over"])
def test_npy(tmp_path, how):
    folder = write_system(tmp_path / "s", random_set(4))
    system = open_system(folder, TYPE_MAP, ENERGY)
    assert system.arrays([1], ["force"])["force"].shape == (1, 3, 3)
    file = folder / "set.000" / "force.npy"
    if how == "gone":
        file.unlink()
    elif how == "renamed over":
        np.save(tmp_path / "new.npy", np.zeros((4, 9)))
        (tmp_path / "new.npy").rename(file)
    else:
        np.save(file, np.zeros(({"longer": 5, "same size": 4, "shorter": 2}[how], 9)))
    if file.exists():
        touched_later(file)
    assert_reported(system, file)


def test_a_file_whose_header_is_as_before_but_whose_rows_are_gone(tmp_path):
    folder = write_system(tmp_path / "s", random_set(4))
    system = open_system(folder, TYPE_MAP, ENERGY)
    file = folder / "set.000" / "force.npy"
    status = file.stat()
    with open(file, "r+b") as stream:
        stream.truncate(140)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert_reported(system, file)


def test_hdf5(tmp_path):
    system = open_system(write_group(tmp_path / "a.h5", "s", random_set(4)), TYPE_MAP, ENERGY)
    assert system.arrays([1], ["force"])["force"].shape == (1, 3, 3)
    (tmp_path / "a.h5").unlink()
    write_group(tmp_path / "a.h5", "s", random_set(4, seed=1))
    touched_later(tmp_path / "a.h5")
    assert_reported(system, tmp_path / "a.h5")
    again = open_system(Path(f"{tmp_path}/a.h5#/s"), TYPE_MAP, ENERGY)
    assert again.arrays([1], ["energy"])["energy"][0, 0] == random_set(4, seed=1)["energy"][1]
