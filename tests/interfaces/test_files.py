"""``dpjax.load``, ``build`` and ``save``: where a potential may come from, and what is said when it cannot."""

from __future__ import annotations

import json
import re
import shutil

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError, ModelError, OutputError
from tests.training import tiny

FRAME = {"coord": tiny.positions(6, 1, 3), "atype": [0, 1, 1, 0, 1, 1], "cell": tiny.CELL[None]}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """The output folder of a training without steps: a model with the statistics of its data."""
    folder = tmp_path_factory.mktemp("trained")
    dpjax.train(tiny.config([tiny.system(folder / "system")], {"training/numb_steps": 0}), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def model(output):
    return dpjax.load(output)


def variables(potential) -> list[tuple[str, bytes, str]]:
    """Every array of a potential: name, bytes, dtype."""
    leaves = jax.tree_util.tree_leaves_with_path(potential.variables)
    return [(jax.tree_util.keystr(path), np.asarray(x).tobytes(), str(np.asarray(x).dtype)) for path, x in leaves]


@pytest.mark.parametrize("name", ["model.dp", "model.yaml", "model.yml"])
def test_a_trained_model_saved_and_loaded_is_the_same(model, tmp_path, name):
    dpjax.save(model, tmp_path / name)
    again = dpjax.load(tmp_path / name)
    assert variables(again) == variables(model)
    assert again.type_map == model.type_map == ["O", "H"]
    assert again.rcut == model.rcut == 3.0
    assert again.config.descriptor.sel == (12, 20)


def test_a_training_is_loaded_from_its_folder_or_its_checkpoint(output):
    assert variables(dpjax.load(output)) == variables(dpjax.load(str(output / "model.ckpt-0")))


def test_the_folder_of_a_training_with_another_prefix(output, tmp_path):
    shutil.copytree(output / "model.ckpt-0", tmp_path / "water-7")
    (tmp_path / "checkpoint").write_text("water-7\n")
    assert variables(dpjax.load(tmp_path)) == variables(dpjax.load(output))


def test_conventions(model, output, tmp_path):
    """Own models are "corrected", DeePMD-kit's files "reference"; who loads them has the last word."""
    dpjax.save(model, tmp_path / "model.dp")
    assert dpjax.build(tiny.config([])["model"]).conventions == model.conventions == "corrected"
    assert dpjax.load(tmp_path / "model.dp").conventions == "reference"
    assert dpjax.load(tmp_path / "model.dp", conventions="corrected").conventions == "corrected"
    assert dpjax.load(output, conventions="reference").conventions == "reference"
    with pytest.raises(ModelError, match="conventions: found 'right', expected 'corrected' or 'reference'"):
        dpjax.load(output, conventions="right")


def test_lower_precision(model, output):
    low = dpjax.load(output, dtype="float32")
    want, got = model.evaluate(**FRAME), low.evaluate(**FRAME)
    for name in ("energy", "force", "virial"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-4, atol=1e-5)
    assert np.any(got["force"] != want["force"])
    assert {x.dtype for x in jax.tree.leaves(low.variables["params"])} == {np.dtype("float32")}
    assert low.config.descriptor.precision == low.config.fitting_net.precision == "float32"
    with pytest.raises(ConfigError, match="precision 'float31' is unknown"):
        dpjax.load(output, dtype="float31")


def test_device(model, output):
    placed = dpjax.load(output, device=jax.devices()[1])
    np.testing.assert_array_equal(placed.evaluate(**FRAME)["force"], model.evaluate(**FRAME)["force"])


def test_single_models_have_no_heads(output):
    with pytest.raises(ModelError, match=rf"head 'water': {re.escape(str(output))} holds a single model"):
        dpjax.load(output, head="water")


def _missing(path):
    return path / "none.dp", "no such model file"


def _missing_folder(path):
    return path / "none", "no such file or folder"


def _unknown_suffix(path):
    (path / "model.bin").write_bytes(b"x")
    return path / "model.bin", r"expected a file ending in \.dp.* or a checkpoint folder"


def _not_hdf5(path):
    (path / "model.dp").write_bytes(b"not HDF5")
    return path / "model.dp", "not a readable DeePMD-kit model"


def _not_yaml(path):
    (path / "model.yaml").write_text("{")
    return path / "model.yaml", "not a readable DeePMD-kit model"


def _empty_folder(path):
    return path, "found no file 'checkpoint'"


def _pointer_to_nothing(path):
    (path / "checkpoint").write_text("model.ckpt-5\n")
    return path, "expected a checkpoint named model.ckpt-<step>; steps found here: none"


@pytest.mark.parametrize(
    "make", [_missing, _missing_folder, _unknown_suffix, _not_hdf5, _not_yaml, _empty_folder, _pointer_to_nothing]
)
def test_what_cannot_be_loaded(tmp_path, make):
    path, pattern = make(tmp_path)
    with pytest.raises(ModelError, match=pattern) as caught:
        dpjax.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["arrays", "meta"])
def test_a_damaged_checkpoint(output, tmp_path, part):
    path = tmp_path / "model.ckpt-0"
    shutil.copytree(output / "model.ckpt-0", path)
    for file in (path / part).rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:3])
    with pytest.raises(ModelError, match="this checkpoint is damaged") as caught:
        dpjax.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_save_names_what_it_can_write(model, tmp_path):
    with pytest.raises(ModelError, match=r"model\.bin: unknown model format '\.bin'; the name must end in one of \.dp"):
        dpjax.save(model, tmp_path / "model.bin")
    with pytest.raises(OutputError, match="model.dp"):
        dpjax.save(model, tmp_path / "none" / "model.dp")


def test_build_is_seeded():
    section = tiny.config([])["model"]
    del section["descriptor"]["seed"], section["fitting_net"]["seed"]
    assert variables(dpjax.build(section, seed=3)) == variables(dpjax.build(section, seed=3))
    assert variables(dpjax.build(section, seed=3)) != variables(dpjax.build(section, seed=4))


def test_build_needs_numbers_for_sel():
    section = tiny.config([])["model"]
    section["descriptor"]["sel"] = "auto:1.2"
    with pytest.raises(ConfigError, match=r"model/descriptor/sel: .*auto:1\.2") as caught:
        dpjax.build(section)
    assert "neighbor-stat" in str(caught.value)


def test_a_checkpoint_describes_the_model_in_the_words_of_the_input(output):
    """What was trained can be built again from ``out.json``."""
    section = json.loads((output / "out.json").read_text())["model"]
    assert dpjax.build(section).config == dpjax.load(output).config
