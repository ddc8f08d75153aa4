"""Dictionaries in files of NVNMD: what DeePMD-kit writes is read, and no code of a file runs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dpjax.errors import ModelError, OutputError
from dpjax.formats.nvnmd import read_dictionary, write_dictionary

CONTENT = {"a": np.arange(6.0).reshape(2, 3), "b": [1, [2.5, "x"]], "c": {"d": np.float64(0.1), "e": True, "f": None}}


def test_a_file_of_numpy_is_read(tmp_path):
    np.save(tmp_path / "theirs.npy", [CONTENT])  # as DeePMD-kit does
    write_dictionary(tmp_path / "new" / "ours.npy", CONTENT)
    for path in (tmp_path / "theirs.npy", tmp_path / "new" / "ours.npy"):
        found = read_dictionary(path)
        np.testing.assert_array_equal(found.pop("a"), CONTENT["a"])
        assert found == {key: value for key, value in CONTENT.items() if key != "a"}
    assert np.load(tmp_path / "new" / "ours.npy", allow_pickle=True)[0].keys() == CONTENT.keys()


def test_json(tmp_path):
    write_dictionary(tmp_path / "x.json", {"a": [1, 2]})
    assert read_dictionary(tmp_path / "x.json") == {"a": [1, 2]}


class Evil:
    """A pickle that would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_of_a_file_runs(tmp_path):
    entry = np.empty(1, object)
    entry[0] = {"a": Evil(tmp_path / "made")}
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        pickle.dump(entry, file)
    with pytest.raises(ModelError, match=r"x.npy: not a dictionary of arrays .*open, which is no array"):
        read_dictionary(tmp_path / "x.npy")
    assert not (tmp_path / "made").exists()


def test_what_is_no_such_file(tmp_path):
    with pytest.raises(ModelError, match="none.npy: no such file"):
        read_dictionary(tmp_path / "none.npy")
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(
        ModelError, match=r"numbers.npy: not a dictionary of arrays \(it holds numbers of shape \(3,\)\)"
    ):
        read_dictionary(tmp_path / "numbers.npy")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ModelError, match="text.npy: not a dictionary"):
        read_dictionary(tmp_path / "text.npy")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ModelError, match="list.json: found list, expected a dictionary"):
        read_dictionary(tmp_path / "list.json")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        write_dictionary(tmp_path / "file" / "x.npy", {})
