"""`dpjax train` and `scripts/train.py` hand their arguments to `dpjax.train`."""

from __future__ import annotations

import json
import runpy
import sys

import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.training.run import TrainResult
from tests.shared import REPOSITORY


@pytest.fixture
def calls(monkeypatch):
    """Records calls of `dpjax.train` instead of training."""
    made = []

    def train(*args, **kwargs):
        made.append((args, kwargs))
        return TrainResult({}, None, 0, 0.0, 0)

    monkeypatch.setattr(dpjax, "train", train, raising=False)
    return made


def test_a_run_that_a_signal_ended_has_the_exit_code_of_the_signal(monkeypatch):
    result = TrainResult({}, None, 3, 1.0, 1, stopped="SIGTERM")
    monkeypatch.setattr(dpjax, "train", lambda *args, **kwargs: result, raising=False)
    assert main(["train", "in.json"]) == 128 + 15


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["in.json"], {"output": ".", "restart": None, "init_model": None}),
        (["--config", "in.json", "-o", "run"], {"output": "run", "restart": None, "init_model": None}),
        (["in.json", "--restart"], {"output": ".", "restart": True, "init_model": None}),
        (["in.json", "-r", "model.ckpt-10"], {"output": ".", "restart": "model.ckpt-10", "init_model": None}),
        (["in.json", "-i", "model.dp"], {"output": ".", "restart": None, "init_model": "model.dp"}),
    ],
)
def test_arguments_reach_the_library(calls, argv, expected):
    assert main(["train", *argv]) == 0
    assert calls == [(("in.json",), expected)]


def test_the_script_is_the_command(calls, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", "in.json", "--output", "run"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(REPOSITORY / "scripts" / "train.py"), run_name="__main__")
    assert stop.value.code == 0
    assert calls == [(("in.json",), {"output": "run", "restart": None, "init_model": None})]


def test_restart_and_init_model_exclude_each_other(calls, capsys):
    assert main(["train", "in.json", "--restart", "-i", "model.dp"]) == 2
    assert "not allowed with" in capsys.readouterr().err
    assert calls == []


def test_checkpoints_go_by_the_beginning_of_their_name(calls, tmp_path, monkeypatch):
    from dpjax.checkpoints import CheckpointStore

    monkeypatch.setattr(CheckpointStore, "steps", lambda store: [10, 200] if store.prefix == "model.ckpt" else [])
    (tmp_path / "model.ckpt-200").mkdir()
    prefix = str(tmp_path / "model.ckpt")
    assert main(["train", "in.json", "--restart", prefix]) == 0
    assert main(["train", "in.json", "--init-model", prefix]) == 0
    assert main(["train", "in.json", "--restart", f"{prefix}-200"]) == 0
    assert [c[1]["restart"] for c in calls] == [f"{prefix}-200", None, f"{prefix}-200"]
    assert calls[1][1]["init_model"] == f"{prefix}-200"


def test_a_model_with_gaps_must_be_given(calls, capsys):
    assert main(["train", "in.json", "--force-load"]) == 2
    assert main(["train", "in.json", "--force-load", "--restart"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("dpjax: error: --force-load: starts from a model that lacks some arrays")
    assert err.count("\n") == 2 and calls == []
    assert main(["train", "in.json", "--force-load", "-i", "model.dp"]) == 0
    assert calls[0][1]["init_model"] == "model.dp" and calls[0][1]["force_load"] is True


def test_messages_of_one_process(calls, capsys):
    assert main(["train", "in.json", "-m", "master"]) == 0
    assert main(["train", "in.json", "--mpi-log", "collect"]) == 2
    assert "--mpi-log: of several processes only the first" in capsys.readouterr().err
    assert len(calls) == 1


def test_output_names_a_folder(calls, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "in.json", "-o", "out.json"]) == 2
    assert "DIR/out.json" in capsys.readouterr().err
    (tmp_path / "run").touch()
    assert main(["train", "in.json", "-o", "run"]) == 2
    (tmp_path / "out.json").mkdir()
    assert main(["train", "in.json", "-o", "out.json"]) == 0
    assert [c[1]["output"] for c in calls] == ["out.json"]


def test_skipping_the_neighbour_count_needs_numbers_in_sel(calls, capsys, tmp_path):
    config = json.loads((REPOSITORY / "configs" / "water_se_e2_a.json").read_text())
    path = tmp_path / "input.json"
    path.write_text(json.dumps(config))
    assert main(["train", str(path), "--skip-neighbor-stat"]) == 0
    config["model"]["descriptor"]["sel"] = "auto:1.2"
    path.write_text(json.dumps(config))
    assert main(["train", str(path), "--skip-neighbor-stat"]) == 1
    assert 'sel is "auto:1.2"' in capsys.readouterr().err
    assert len(calls) == 1
