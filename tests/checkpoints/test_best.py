"""The best checkpoints: which stay, what they are called, and what a kill leaves."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.checkpoints import BestCheckpoints, Record, folder, load_checkpoint
from dpjax.errors import OutputError


def arrays(step: int) -> dict:
    return {"step": np.int32(step), "params": {"w": np.full(2, float(step))}}


def offer(best: BestCheckpoints, metric: float, step: int):
    return best.offer(Record(metric, step), arrays(step), {"step": step})


def names(path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_the_best_stay_in_order(tmp_path):
    best = BestCheckpoints(tmp_path, keep=2)
    assert offer(best, 0.5, 10).name == "best.ckpt-10.t-1"
    assert offer(best, 0.7, 20).name == "best.ckpt-20.t-2"
    assert offer(best, 0.9, 30) is None
    assert offer(best, 0.3, 40).name == "best.ckpt-40.t-1"
    assert names(tmp_path) == ["best.ckpt-10.t-2", "best.ckpt-40.t-1"]
    assert offer(best, 0.4, 50).name == "best.ckpt-50.t-2"
    assert names(tmp_path) == ["best.ckpt-40.t-1", "best.ckpt-50.t-2"]
    assert load_checkpoint(tmp_path / "best.ckpt-50.t-2")[0]["params"]["w"].tolist() == [50.0, 50.0]


def test_of_equal_errors_the_earlier_is_the_better(tmp_path):
    best = BestCheckpoints(tmp_path)
    offer(best, 0.5, 10)
    assert offer(best, 0.5, 20) is None


def test_a_restart_goes_on_with_its_records(tmp_path):
    best = BestCheckpoints(tmp_path, keep=2)
    offer(best, 0.5, 10)
    records = best.records
    offer(best, 0.2, 20)  # by a run that was left: the restart begins before it
    again = BestCheckpoints(tmp_path, keep=2, records=records)
    assert names(tmp_path) == ["best.ckpt-10.t-1"]
    assert again.records == [Record(0.5, 10)]
    assert (
        BestCheckpoints(tmp_path, keep=2, records=[*records, Record(0.1, 99)]).records == records
    )  # gone: not counted


def test_a_kill_between_two_renames_is_mended(tmp_path):
    best = BestCheckpoints(tmp_path, keep=2)
    offer(best, 0.5, 10)
    offer(best, 0.7, 20)
    (tmp_path / "best.ckpt-10.t-1").rename(tmp_path / "best.ckpt-10.new")
    (tmp_path / "best.ckpt-20.t-2").rename(tmp_path / "best.ckpt-20.t-1")
    BestCheckpoints(tmp_path, keep=2, records=best.records)
    assert names(tmp_path) == ["best.ckpt-10.t-1", "best.ckpt-20.t-2"]


def test_a_full_disk_leaves_the_others(tmp_path, monkeypatch):
    best = BestCheckpoints(tmp_path)
    offer(best, 0.5, 10)

    def full(path, arrays, meta):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write", full)
        with pytest.raises(OutputError, match=r"best.ckpt-20: could not save .*No space left.*validating/save_best"):
            offer(best, 0.1, 20)
    assert names(tmp_path) == ["best.ckpt-10.t-1"]
    assert best.records == [Record(0.5, 10)]
