"""``dpjax.train`` as a function: what it takes, returns and leaves as it was."""

from __future__ import annotations

import json
import logging

import jax
import numpy as np
import pytest
import yaml

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.errors import ConfigError, DataError
from tests.training import tiny

PREFETCH = "dpjax-prefetch"


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "system")


@pytest.fixture(scope="module")
def trained(system, tmp_path_factory):
    return dpjax.train(tiny.config([system]), tmp_path_factory.mktemp("out"))


def parameters(result) -> list[np.ndarray]:
    return jax.tree.leaves(load_checkpoint(result.checkpoint)[0]["params"])


def test_double_precision_does_not_depend_on_the_callers_settings(system, trained, tmp_path):
    """64-bit types are on for the training, in all its threads, and as before afterwards."""
    with jax.enable_x64(False):
        result = dpjax.train(tiny.config([system]), tmp_path)
        assert not jax.config.jax_enable_x64
        assert jax.numpy.zeros(1).dtype == np.float32
    for a, b in zip(parameters(trained), parameters(result), strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_array_equal(a, b)


def test_settings_of_jax_are_put_back(system, tmp_path):
    names = [
        "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_x64",
        "jax_numpy_rank_promotion", "jax_default_matmul_precision",
    ]  # fmt: skip
    before = {name: getattr(jax.config, name) for name in names}
    level = logging.getLogger().level
    dpjax.train(tiny.config([system], {"training/numb_steps": 0}), tmp_path)
    assert {name: getattr(jax.config, name) for name in names} == before
    assert logging.getLogger().level == level


def test_the_input_is_not_changed(system, tmp_path):
    config = tiny.config([system], {"training/numb_steps": 0, "model/descriptor/sel": "auto"})
    copy = tiny.edited(config, None)
    dpjax.train(config, tmp_path)
    assert config == copy


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_input_files(system, trained, tmp_path, suffix, monkeypatch):
    """A file says what a dict says; relative paths start from the current folder, output goes there by default."""
    config = tiny.config([system.name], {"dpjax/progress": "none"})
    folder = tmp_path / "inputs"
    folder.mkdir()
    path = folder / f"input.{suffix}"
    path.write_text(json.dumps(config) if suffix == "json" else yaml.safe_dump(config))
    work = tmp_path / "work"
    work.mkdir()
    (work / system.name).symlink_to(system)
    monkeypatch.chdir(work)
    result = dpjax.train(path)
    assert (work / "out.json").is_file()
    for a, b in zip(parameters(trained), parameters(result), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_prefetch_changes_nothing(system, trained, tmp_path, prefetch):
    result = dpjax.train(tiny.config([system], {"dpjax/prefetch": prefetch}), tmp_path)
    for a, b in zip(parameters(trained), parameters(result), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_neighbour_tables_on_disk_change_nothing(system, trained, tmp_path):
    config = tiny.config([system], {"dpjax/neighbor_cache": str(tmp_path / "neighbors")})
    for name in ("written", "read"):
        result = dpjax.train(config, tmp_path / name)
        assert list((tmp_path / "neighbors").iterdir())
        for a, b in zip(parameters(trained), parameters(result), strict=True):
            np.testing.assert_array_equal(a, b)


def test_errors_are_dpjax_errors(tmp_path):
    with pytest.raises(DataError, match="none is not a directory"):
        dpjax.train(tiny.config([tmp_path / "none"]), tmp_path / "out")
    with pytest.raises(ConfigError, match="training/training_data"):
        dpjax.train(tiny.config([], {"training/training_data": tiny.REMOVE}), tmp_path / "out")


def test_no_thread_stays(trained):
    import threading

    assert PREFETCH not in [thread.name for thread in threading.enumerate()]
