"""Model files as trees: what is written comes back, and damage is named."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.errors import ModelError, OutputError
from dpjax.formats import read_model_tree, write_model_tree
from tests.shared import golden

SHIPPED = golden("models", "ener_aparam", "model.dp")


def tree() -> dict:
    return {
        "model": {
            "type": "standard",
            "flags": [True, None, 1.5, "text"],
            "@variables": {"matrix": np.arange(6.0).reshape(2, 3), "absent": None, "single": np.float32([0.1, 1e-30])},
            "networks": [{"@variables": {"w": np.array(2.5)}}, {"@variables": {"w": np.zeros(0)}}],
        },
        "@variables": {},
    }


def assert_same(a, b):
    assert type(a) is type(b) or isinstance(a, (np.ndarray, np.generic)), (a, b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("name", ["m.dp", "m.yaml", "m.yml", "m.hlo"])
def test_a_tree_comes_back_bit_by_bit(tmp_path, name):
    write_model_tree(tmp_path / name, tree())
    assert_same(read_model_tree(tmp_path / name), tree())


def test_yaml_and_hdf5_hold_the_same_model(tmp_path):
    stored = read_model_tree(SHIPPED)
    write_model_tree(tmp_path / "model.yaml", stored)
    assert_same(read_model_tree(tmp_path / "model.yaml"), stored)


def test_writing_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "m.dp"
    path.write_bytes(b"old")
    write_model_tree(path, tree())
    assert [p.name for p in tmp_path.iterdir()] == ["m.dp"]
    assert_same(read_model_tree(path), tree())


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.dp"
    write_model_tree(path, tree())
    monkeypatch.setattr("dpjax.formats.dp._write_hdf5", _full_disk)
    with pytest.raises(OutputError, match="m.dp.*No space left"):
        write_model_tree(path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["m.dp"]
    assert_same(read_model_tree(path), tree())


def _full_disk(path, tree):
    path.write_bytes(b"part")
    raise OSError(28, "No space left on device")


def test_a_missing_folder_is_an_output_error(tmp_path):
    for name in ("m.dp", "m.yaml"):
        with pytest.raises(OutputError, match="writable folder"):
            write_model_tree(tmp_path / "nowhere" / name, tree())


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_dp_is_named(tmp_path, keep):
    path, content = tmp_path / "half.dp", SHIPPED.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match=r"half\.dp: not a readable DeePMD-kit model"):
        read_model_tree(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.yaml", "- 1\n- 2\n"),
        ("text.yaml", "just words"),
        ("broken.yaml", "a: [1, 2"),
        ("odd.yaml", "'@variables': {w: {'@is_variable': true, value: [1.0]}}"),
        ("text.dp", "not HDF5"),
        ("empty.dp", ""),
        ("empty.yaml", ""),
    ],
)
def test_other_content_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=name):
        read_model_tree(tmp_path / name)


def test_an_hdf5_file_of_another_kind_is_named(tmp_path):
    import h5py

    with h5py.File(tmp_path / "data.dp", "w") as file:
        file["energy"] = np.zeros(3)
    with pytest.raises(ModelError, match=r"data\.dp"):
        read_model_tree(tmp_path / "data.dp")


def test_missing_files_and_unknown_endings(tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        read_model_tree(tmp_path / "absent.dp")
    with pytest.raises(ModelError, match=r"unknown model format '\.pth'.*\.dp"):
        read_model_tree(tmp_path / "model.pth")
    with pytest.raises(ModelError, match="unknown model format"):
        write_model_tree(tmp_path / "model.txt", tree())
