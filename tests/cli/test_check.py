"""`dpjax check` and `dpjax doc-train-input`."""

from __future__ import annotations

import json

import pytest

from dpjax.cli.main import main
from tests.shared import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").glob("*.json"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_inputs_are_valid_and_say_what_they_are(path, capsys):
    header = json.loads(path.read_text())
    assert {"_data", "_command", "_expected"} <= set(header)
    assert f"--config configs/{path.name}" in header["_command"]
    assert main(["check", str(path)]) == 0
    normal = json.loads(capsys.readouterr().out)
    assert normal["model"]["descriptor"]["activation_function"] == "tanh"
    assert not [key for key in normal if key.startswith("_")]


def test_the_printed_input_is_a_fixed_point(tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert main(["check", str(CONFIGS[0]), "-o", str(first)]) == 0
    assert main(["check", str(first), "-o", str(second)]) == 0
    assert first.read_text() == second.read_text()
    assert f"wrote {second}" in capsys.readouterr().out


def test_a_misspelt_key_is_named_with_a_suggestion(tmp_path, capsys):
    config = json.loads(CONFIGS[0].read_text())
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


@pytest.mark.parametrize("out_type", ["rst", "json", "json_schema"])
def test_documentation_covers_every_section(out_type, capsys):
    assert main(["doc-train-input", "--out-type", out_type]) == 0
    text = capsys.readouterr().out
    for word in ("learning_rate", "rcut_smth", "start_pref_f", "numb_steps", "compilation_cache"):
        assert word in text
    if out_type != "rst":
        json.loads(text)
