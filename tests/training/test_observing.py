"""TensorBoard entries and profiles of a run."""

from __future__ import annotations

import json
import sys

import pytest

import dpjax
from dpjax.errors import ConfigError
from dpjax.training.lcurve import read_lcurve
from dpjax.training.observing import Board, Profile
from tests.training import tiny


def scalars(folder) -> dict[str, dict[int, float]]:
    """Tag -> step -> value of the event files."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in folder.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_a_run_with_both(tmp_path):
    """Entries of the first and every second step are those of the learning curve; the profile names the step's program."""
    pytest.importorskip("tensorboardX")
    edits = tiny.ENERGY_ONLY | {
        "training/tensorboard": True, "training/tensorboard_freq": 2, "training/tensorboard_log_dir": "board",
        "training/profiling": True, "training/profiling_file": "trace.json", "training/enable_profiler": True,
        "training/disp_freq": 1,
    }  # fmt: skip
    dpjax.train(tiny.config([tiny.system(tmp_path / "data")], edits), tmp_path / "run")
    entries = scalars(tmp_path / "run" / "board")
    assert set(entries) == {"Default/lr", "Default/loss", "Default/rmse", "Default/rmse_e", "Default/l2_ener_loss"}
    curve = read_lcurve(tmp_path / "run" / "lcurve.out")
    rows = dict(zip(curve["step"], curve["rmse_e_trn"], strict=True))
    assert entries["Default/rmse_e"] == pytest.approx({step: rows[step] for step in (1, 2, 4, 6)}, rel=5e-3)
    events = json.loads((tmp_path / "run" / "trace.json").read_text())["traceEvents"]
    assert any("train_step" in event.get("name", "") for event in events)
    assert list((tmp_path / "run" / "board" / "plugins" / "profile").rglob("*.xplane.pb"))


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"training/tensorboard: .*pip install .dpjax\[tensorboard\]"):
        Board(tmp_path, 1)


def test_a_profile_of_nothing_writes_nothing(tmp_path):
    with Profile(tmp_path / "trace.json", None) as profile:
        profile.step()
    assert not list(tmp_path.iterdir())
