"""Checkpoints in folders of their own, and how many of them stay."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError, OutputError
from dpjax.training.run import saver_of
from tests.training import tiny

STRUCTURE = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0]])[None], np.array([0, 1, 1])


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "system")


def inputs(system, edits=None) -> dict:
    folders = {
        "training/save_dir": "nets", "training/save_freq": 1, "training/ckpt_keep_ratio": 0.4, "training/enable_ema": True,
        "training/validation_data": {"systems": [str(system)]},
        "validating": {"full_validation": True, "validation_freq": 2, "full_val_start": 0, "save_best_dir": "good/ones"},
    }  # fmt: skip
    return tiny.config([system], tiny.ENERGY_ONLY | folders | (edits or {}))


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.slow
def test_checkpoints_in_folders_of_their_own_are_found_and_set_aside(system, tmp_path):
    result = dpjax.train(inputs(system), tmp_path)
    kept = [f"model.ckpt{kind}-{step}" for kind in ("", "_ema") for step in (4, 5, 6)]  # 3 of 6, the next above 0.4
    assert names(tmp_path / "nets") == sorted(["checkpoint", *kept])
    assert result.checkpoint == tmp_path / "nets" / "model.ckpt-6"
    best = names(tmp_path / "good" / "ones")
    assert len(best) == 1 and best[0].startswith("best.ckpt-")
    assert not [name for name in names(tmp_path) if "ckpt" in name or name == "checkpoint"]
    energy = dpjax.load(result.checkpoint).evaluate(*STRUCTURE)["energy"]
    for folder in (tmp_path, tmp_path / "nets"):
        assert dpjax.load(folder).evaluate(*STRUCTURE)["energy"] == energy
    longer = inputs(system, {"training/numb_steps": 7})
    assert int(load_checkpoint(dpjax.train(longer, tmp_path, restart=True).checkpoint)[0]["step"]) == 7
    dpjax.train(inputs(system, {"training/numb_steps": 0}), tmp_path)
    aside = names(tmp_path / "nets" / "previous-1")
    assert {"checkpoint", "model.ckpt-7", "lcurve.out", "val.log"} < set(aside) and best[0][:9] in str(aside)
    assert names(tmp_path / "good" / "ones") == []


def test_a_model_is_found_by_the_output_folder_where_its_name_has_a_folder(system, tmp_path):
    edits = {"training/save_dir": None, "training/save_ckpt": "sub/m", "training/numb_steps": 0}
    dpjax.train(inputs(system, edits), tmp_path)
    assert dpjax.load(tmp_path).evaluate(*STRUCTURE)["energy"].shape == (1, 1)


def test_how_many_stay(system, tmp_path):
    def keep(edits: dict, steps: int) -> tuple[int, int]:
        saver = saver_of(load(inputs(system, edits)).training, tmp_path, steps)
        return saver.store.keep, saver.averages.keep

    assert keep({"training/save_freq": 3, "training/ckpt_keep_ratio": 0.5}, 10) == (2, 2)
    assert keep({"training/ckpt_keep_ratio": 0.001}, 10) == (1, 1)
    assert keep({"training/ckpt_keep_ratio": None, "training/max_ckpt_keep": 4}, 10) == (4, 3)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5])
def test_a_part_of_the_run_that_is_none(system, ratio):
    with pytest.raises(ConfigError, match=f"training/ckpt_keep_ratio: found {ratio}; it is a part of the run"):
        load(inputs(system, {"training/ckpt_keep_ratio": ratio}))


@pytest.mark.parametrize("key", ["training/save_dir", "validating/save_best_dir"])
def test_a_folder_that_cannot_be_made_is_noticed_before_the_data_are_read(system, tmp_path, key):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=rf"{tmp_path}/file/x: cannot write .* Change {key}"):
        dpjax.train(inputs(tmp_path / "no data", {key: "file/x"}), tmp_path)
