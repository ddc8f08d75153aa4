"""`dpjax show-options`."""

from __future__ import annotations

import json

import pytest

import dpjax.config
from dpjax.cli import show_options
from dpjax.cli.main import main
from dpjax.config import meaning

ROWS = [
    meaning.Meaning("model/type_map", meaning.EFFECTIVE),
    meaning.Meaning("model[standard]/use_srtab", meaning.PENDING, "the pair table"),
    meaning.Meaning("training/enable_compile", meaning.NOT_APPLICABLE, "steps are always compiled"),
    meaning.Meaning("training/seed", meaning.EFFECTIVE),
    meaning.Meaning("training/save_dir", meaning.REFUSED, "a folder of their own", newer=True),
]


@pytest.fixture
def rows(monkeypatch):
    """A short table behind `dpjax.config.options_table`."""
    monkeypatch.setattr(dpjax.config, "options_table", lambda: ROWS)


def test_the_words_are_those_of_the_table():
    assert show_options.STATUSES == (meaning.EFFECTIVE, meaning.PENDING, meaning.REFUSED, meaning.NOT_APPLICABLE)


def test_columns_and_counts(rows, capsys):
    assert main(["show-options"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model/type_map", "effective"]
    assert lines[1].split(maxsplit=2) == ["model[standard]/use_srtab", "pending", "the pair table"]
    assert len({line.find(row.status) for line, row in zip(lines, ROWS)}) == 1
    assert lines[-1] == (
        "4 options: 2 effective, 1 pending, 0 refused, 1 not applicable; "
        "1 more, newer in DeePMD-kit 3.2: 0 effective, 0 pending, 1 refused, 0 not applicable"
    )


def test_filters(rows, capsys):
    assert main(["show-options", "training", "--status", "not applicable"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["training/enable_compile", "1"]
    assert lines[-1] == "1 options: 0 effective, 0 pending, 0 refused, 1 not applicable"


def test_json(rows, capsys):
    assert main(["show-options", "training/s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"path": "training/seed", "status": "effective", "reason": "", "newer": False},
        {"path": "training/save_dir", "status": "refused", "reason": "a folder of their own", "newer": True},
    ]


def test_mistakes(rows, capsys):
    assert main(["show-options", "trainig"]) == 2
    assert "Did you mean `training`?" in capsys.readouterr().err
    assert main(["show-options", "--status", "built"]) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_the_real_table(capsys):
    assert main(["show-options"]) == 0
    *lines, counts = capsys.readouterr().out.splitlines()
    assert len(lines) == len(dpjax.config.options_table())
    assert " options: " in counts
