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


def test_shuffled_frames(model, tmp_path, capsys):
    labels = write_system(tmp_path / "a", n_frame=50)["energy"]
    draws = ["-s", str(tmp_path), "-n", "5", "--shuffle-test", "-d", str(tmp_path / "x")]
    rows = []
    for seed in ("7", "7", "-8"):
        assert main([*model, *draws, "-r", seed]) == 0
        rows.append(np.loadtxt(tmp_path / "x.e.out")[:, 0])
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert set(rows[0]) <= set(labels[:, 0])
    assert not np.array_equal(rows[0], labels[:5, 0])
    capsys.readouterr()
    assert main([*model, *draws]) == 0
    assert "frames are shuffled with seed" in capsys.readouterr().out


def test_a_seed_without_shuffling_is_refused(model, tmp_path, capsys):
    assert main([*model, "-s", str(tmp_path), "-r", "1"]) == 2
    assert "--shuffle-test" in capsys.readouterr().err


def test_atomic_energies_need_labels(model, tmp_path, capsys):
    write_system(tmp_path / "a")
    assert main([*model, "-s", str(tmp_path), "--atomic"]) == 1
    assert "atom_ener" in capsys.readouterr().err


def test_the_set_prefix_is_fixed(model, tmp_path, capsys):
    write_system(tmp_path / "a")
    assert main([*model, "-s", str(tmp_path), "-S", "set"]) == 0
    assert main([*model, "-s", str(tmp_path), "--set-prefix", "batch"]) == 2
    assert "--set-prefix: sets of frames are folders" in capsys.readouterr().err


def test_a_branch_reaches_the_loader(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(dpjax, "load", lambda path, head: asked.append((path, head)) or Zero(), raising=False)
    write_system(tmp_path / "a")
    assert main(["test", "-m", "model.dp", "--model-branch", "water", "-s", str(tmp_path)]) == 0
    assert asked == [("model.dp", "water")]


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
