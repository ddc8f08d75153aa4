"""`dpjax check` and `dpjax doc-train-input`."""

from __future__ import annotations

import json
import re

import pytest

from dpjax.cli.main import main
from tests.shared import REPOSITORY
from tests.training import tiny

CONFIGS = sorted((REPOSITORY / "configs").glob("*.json"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_inputs_are_valid_and_say_what_they_are(path, capsys):
    header = json.loads(path.read_text())
    assert {"_data", "_command", "_expect"} <= set(header)
    assert f"--config configs/{path.name}" in header["_command"]
    assert main(["check", str(path), "--print"]) == 0
    normal = json.loads(capsys.readouterr().out)
    models = [part for name, part in normal["model"].items() if name in ("qm_model", "qmmm_model")] or [normal["model"]]
    parts = [part for model in models for part in model["descriptor"].get("list", [model["descriptor"]])]
    filled = {part["activation_function"] for part in parts if "activation_function" in part} - {"silut:10.0", "silu"}
    assert filled <= {"tanh"}
    assert not [key for key in normal if key.startswith("_")]


def test_the_printed_input_is_a_fixed_point(tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for source, target in ((CONFIGS[0], first), (first, second)):
        assert main(["check", str(source), "--config-only", "-o", str(target)]) == 0
    assert first.read_text() == second.read_text()
    assert f"wrote {second}" in capsys.readouterr().out


def test_a_misspelt_key_is_named_with_a_suggestion(tmp_path, capsys):
    config = json.loads((REPOSITORY / "configs" / "water_se_e2_a.json").read_text())
    config["model"]["descriptor"]["rcut_smooth"] = 0.5
    path = tmp_path / "input.json"
    path.write_text(json.dumps(config))
    assert main(["check", str(path)]) == 1
    err = capsys.readouterr().err
    assert "rcut_smooth" in err
    assert "rcut_smth" in err
    assert "Traceback" not in err


def test_unwritable_output(tmp_path, capsys):
    assert main(["check", str(CONFIGS[0]), "-o", str(tmp_path / "no" / "x.json")]) == 1
    assert "cannot write the input" in capsys.readouterr().err


@pytest.fixture
def data(tmp_path):
    return tiny.system(tmp_path / "data")


def check(tmp_path, config: dict, *options: str) -> int:
    """The exit code of ``dpjax check`` on an input."""
    path = tmp_path / "input.json"
    path.write_text(json.dumps(config))
    return main(["check", str(path), *options])


def test_a_training_that_could_start(data, tmp_path, capsys):
    assert check(tmp_path, tiny.config([data], tiny.ENERGY_ONLY)) == 0
    out = capsys.readouterr().out
    words = [line.split(": ")[0] for line in out.splitlines()]
    assert words[:4] == ["input", "model", "loss", "training data"]
    assert words[4:8] == ["neighbours", "steps", "programs", "memory"]
    assert re.search(r", step \d+\.\d MiB,", out)
    assert "{" not in out


def test_the_water_example(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert main(["check", "configs/water_se_e2_a.json", "--no-compile"]) == 0
    out = capsys.readouterr().out
    assert "3 systems, 240 frames of 81 to 96 atoms; energy, force, virial\n" in out
    assert "step not estimated" in out


def test_a_missing_system(tmp_path, capsys):
    assert check(tmp_path, tiny.config([str(tmp_path / "absent")])) == 1
    assert "absent is not a directory" in capsys.readouterr().err


def test_a_missing_label(data, tmp_path, capsys):
    """In all systems it is an error, in some of them it is not."""
    other = tiny.system(tmp_path / "other", virial=False)
    assert check(tmp_path, tiny.config([other])) == 1
    [message] = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "virial.npy is missing" in message
    assert check(tmp_path, tiny.config([data, other]), "--no-compile") == 0
    said = capsys.readouterr()
    assert f"virial in 1 of 2, missing in {other}" in said.out
    assert "1 of 2 systems have no virial.npy" in said.err


def test_a_small_sel(data, tmp_path, capsys):
    assert check(tmp_path, tiny.config([data], {"model/descriptor/sel": [12, 1]}), "--no-compile") == 0
    said = capsys.readouterr()
    assert "sel is too small for H" in said.out
    assert "warning: model/descriptor/sel" in said.err


def test_nothing_is_written_but_what_is_asked_for(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tiny.config([data], {"training/stat_file": "statistics"})
    (tmp_path / "input.json").touch()
    before = sorted(tmp_path.rglob("*"))
    assert check(tmp_path, config, "--no-compile") == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert check(tmp_path, config, "--no-compile", "-o", "complete.json") == 0
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "complete.json"])
    assert json.loads((tmp_path / "complete.json").read_text())["training"]["stat_file"] == "statistics"


def test_what_is_not_built_is_refused_or_listed(tmp_path, capsys):
    config = tiny.config(["absent"], {"model/spin": {"use_spin": [True, False], "scheme": "native"}})
    assert check(tmp_path, config) == 1
    assert "model/spin/scheme" in capsys.readouterr().err
    assert check(tmp_path, config, "--config-only") == 0
    out = capsys.readouterr().out
    assert "not built yet in this version:\n  model/spin/scheme: " in out
    assert check(tmp_path, tiny.config(["absent"]), "--config-only") == 0
    assert "not built" not in capsys.readouterr().out


@pytest.mark.parametrize("out_type", ["rst", "json", "json_schema"])
def test_documentation_covers_every_section(out_type, capsys):
    assert main(["doc-train-input", "--out-type", out_type]) == 0
    text = capsys.readouterr().out
    for word in ("learning_rate", "rcut_smth", "start_pref_f", "numb_steps", "compilation_cache"):
        assert word in text
    if out_type != "rst":
        json.loads(text)
