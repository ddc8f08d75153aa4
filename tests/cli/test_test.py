"""`dpjax test`: what it prints and writes, and where it finds its systems."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from tests.interfaces.test_testing import Zero, write_system


@pytest.fixture
def model(monkeypatch):
    """A model of zeros behind `dpjax.load`."""
    monkeypatch.setattr(dpjax, "load", lambda path: Zero(), raising=False)
    return ["test", "-m", "model.dp"]


def test_table_json_details_and_pictures(model, tmp_path, capsys):
    labels = write_system(tmp_path / "a")
    write_system(tmp_path / "b", seed=1)
    prefix = tmp_path / "out" / "test"
    argv = ["-s", str(tmp_path), "-d", str(prefix), "--plot", str(prefix), "-o", f"{prefix}.json"]
    assert main([*model, *argv]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a'}: 3 frames of 3 atoms" in out
    assert "all 2 systems, 6 frames" in out
    assert f"{np.sqrt(np.mean(labels['force'] ** 2)):.4e}" in out
    content = json.loads((tmp_path / "out" / "test.json").read_text())
    assert content["model"] == "model.dp"
    assert len(content["systems"]) == 2
    for name in ("parity", "errors"):
        assert (tmp_path / "out" / f"test.{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "test.f.out").exists()


def test_one_system_needs_no_summary(model, tmp_path, capsys):
    write_system(tmp_path / "a")
    assert main([*model, "-s", str(tmp_path), "-n", "1"]) == 0
    out = capsys.readouterr().out
    assert "1 frames of 3 atoms" in out
    assert "weighted" not in out


def test_list_of_systems(model, tmp_path, capsys):
    write_system(tmp_path / "a")
    listing = tmp_path / "systems.txt"
    listing.write_text(f"# held back\n{tmp_path / 'a'}\n\n")
    assert main([*model, "-f", str(listing)]) == 0
    listing.write_text("# nothing\n")
    assert main([*model, "-f", str(listing)]) == 1
    assert "found no system" in capsys.readouterr().err


def test_systems_of_an_input_file(model, tmp_path, capsys):
    write_system(tmp_path / "train")
    write_system(tmp_path / "valid", n_frame=2)
    config = {
        "model": {"type_map": ["O", "H"], "descriptor": {"type": "se_e2_a", "sel": [4, 4]}, "fitting_net": {}},
        "learning_rate": {"start_lr": 0.001},
        "loss": {"start_pref_f": 1, "limit_pref_f": 1},
        "training": {"numb_steps": 1, "training_data": {"systems": [str(tmp_path / "train")]}},
    }
    path = tmp_path / "input.json"
    path.write_text(json.dumps(config))
    assert main([*model, "--train-data", str(path)]) == 0
    assert "3 frames" in capsys.readouterr().out
    assert main([*model, "--valid-data", str(path)]) == 1
    assert "validation_data is missing" in capsys.readouterr().err
    config["training"]["validation_data"] = {"systems": str(tmp_path / "valid")}
    path.write_text(json.dumps(config))
    assert main([*model, "--valid-data", str(path)]) == 0
    assert "2 frames" in capsys.readouterr().out


def test_bad_numbers_and_folders(model, tmp_path, capsys):
    assert main([*model, "-s", str(tmp_path), "-n", "-3"]) == 2
    assert "expected a whole number" in capsys.readouterr().err
    assert main([*model, "-s", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is not a directory" in capsys.readouterr().err
