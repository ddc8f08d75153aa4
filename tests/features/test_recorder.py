"""The plugin behind ``pytest --features``: what it sees, and what it makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dpjax.config import nvnmd, parse_loss, parse_model
from dpjax.config.schema import Component
from tests.contracts.cases import hybrid, linear, model, pairtab, se_atten, se_e2_a, se_e2_r
from tests.contracts.cases import nvnmd as hardware
from tests.features import recorder
from tests.shared import REPOSITORY, golden

rows = recorder.rows


@pytest.fixture
def notes(monkeypatch):
    found = recorder.Notes()
    monkeypatch.setattr(Component, "parse", recorder.noting_components(Component.parse, found))
    monkeypatch.setattr(nvnmd, "in_form", recorder.noting_hardware(nvnmd.in_form, found))
    return found


def seen(notes, *sections):
    with notes.during() as found:
        for section in sections:
            parse_model(section)
    return found


def test_components_and_options_come_from_the_section(notes):
    section = model(
        se_e2_a(exclude_types=[[0, 0]]), fitting={"type": "dipole", "numb_fparam": 2}, pair_exclude_types=[[1, 1]]
    )
    assert seen(notes, section) == {
        "model/standard",
        "descriptor/se_e2_a",
        "fitting/dipole",
        "option/descriptor/exclude_types",
        "option/fitting/numb_fparam",
        "option/model/pair_exclude_types",
    }


def test_defaults_ask_for_nothing(notes):
    assert seen(notes, model(se_atten())) == {"model/standard", "descriptor/se_atten", "fitting/ener"}


def test_parts_of_parts_are_seen(notes):
    inner = model(hybrid(se_e2_a(), se_e2_r()))
    wanted = {"model/linear_ener", "model/standard", "model/pairtab", "descriptor/hybrid"}
    assert seen(notes, linear(inner, pairtab())) == wanted | {
        "descriptor/se_e2_a",
        "descriptor/se_e2_r",
        "fitting/ener",
    }


def test_wrong_sections_are_not_components(notes):
    with notes.during() as found, pytest.raises(Exception, match="axis_neuron"):
        parse_model(model(se_e2_a(axis_neuron=99)))
    assert "descriptor/se_e2_a" not in found or "model/standard" not in found


def test_the_hardware_is_seen_where_a_model_takes_its_form(notes):
    config = parse_model(model(se_e2_a()))
    with notes.during() as found:
        nvnmd.in_form(config, None)
        assert not found
        nvnmd.in_form(config, hardware())
    assert found == {"option/model/nvnmd"}


def test_what_is_inside_counts_for_what_is_around_and_not_for_what_follows(notes):
    with notes.during() as outer:
        with notes.during() as inner:
            parse_loss({"type": "dos"})
        assert inner == {"loss/dos"}
    with notes.during() as after:
        pass
    assert outer == inner and not after


def test_files_of_numbers_are_told_from_inputs():
    assert recorder.holds_numbers(str(golden("losses", "ener.npz")))
    assert not recorder.holds_numbers(str(golden("pair_tables", "smooth.tab")))
    assert not recorder.holds_numbers(str(golden("config", "train_input_args.json")))
    assert not recorder.holds_numbers(str(REPOSITORY / "pyproject.toml")) and not recorder.holds_numbers(3)


def test_opened_files_are_noticed(notes):
    watcher = SimpleNamespace(notes=notes)
    with notes.during() as found:
        recorder.Recorder._on_event(watcher, "open", (str(golden("losses", "ener.npz")), "r", 0))
    assert found == {recorder.NUMBERS}


@pytest.mark.parametrize(
    "path, reads, kind",
    [
        ("tests/contracts/test_symmetry.py", False, "contract"),
        ("tests/contracts/test_symmetry.py", True, "contract"),
        ("tests/models/test_goldens.py", True, "golden"),
        ("tests/models/test_goldens.py", False, None),
        ("tests/training/test_run.py", False, "training"),
        ("tests/training/test_golden_steps.py", True, "golden"),
        ("tests/finetune/test_remap.py", False, "training"),
        ("tests/config/test_fuzz.py", True, None),
        ("tests/test_layout.py", False, None),
    ],
)
def test_kinds(path, reads, kind):
    assert rows.kind_of(path, reads) == kind


def test_every_use_has_its_tests():
    for name, places in rows.USES.items():
        assert all((REPOSITORY / place).exists() for place in places), f"{name}: {places}"
    assert rows.uses_of("tests/interfaces/test_jax_md.py") == {"use/JAX-MD"}
    assert not rows.uses_of("tests/interfaces/test_nothing.py")


def test_a_fixture_with_models_of_many_kinds_is_about_none_of_them():
    few = {"descriptor/hybrid", "descriptor/se_e2_a", "descriptor/se_e2_r", "fitting/ener", recorder.NUMBERS}
    assert recorder.of_one_subject(few) == few
    assert recorder.of_one_subject(few | {"descriptor/se_e3"}) == {recorder.NUMBERS}


@pytest.mark.parametrize("name", ["tests/a.py::test", "tests/a.py::test[x]", "tests/a.py::test[x@y]"])
def test_groups_of_workers_are_no_part_of_a_name(name):
    assert recorder.without_group(name) == recorder.without_group(f"{name}@tests/a.py") == name


def test_later_runs_take_the_place_of_earlier_ones(tmp_path):
    path = tmp_path / "new" / "features.json"
    passed, failed = ({"outcome": outcome, "rows": {"use": ["use/ASE"]}} for outcome in ("passed", "failed"))
    recorder.write(path, {"a": passed, "b": failed})
    recorder.write(path, {"b": passed, "c": failed})
    assert json.loads(path.read_text()) == {"a": passed, "b": passed, "c": failed}
    assert [p.name for p in path.parent.iterdir()] == ["features.json"]


@pytest.mark.slow
def test_a_run_is_recorded(tmp_path):
    """Fixtures, parameters, failures and workers, in a run of its own."""
    record = tmp_path / "features.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--features", str(record), "tests/schedules"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    tests = json.loads(record.read_text())
    assert {test["outcome"] for test in tests.values()} == {"passed"}
    kinds = {row for test in tests.values() for row in test["rows"].get("golden", ())}
    assert {"learning_rate/exp", "learning_rate/cosine", "learning_rate/wsd"} <= kinds
    assert np.all(["tests/schedules" in name for name in tests])
