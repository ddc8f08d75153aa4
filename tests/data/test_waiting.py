"""Long waits are told: lines in a log, nothing where nothing is wanted."""

from __future__ import annotations

import logging
import sys

from dpjax.data import waiting


def test_lines(monkeypatch, caplog):
    clock = iter(range(0, 1000, 9))  # seconds
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(waiting.shown("abcdefgh", 8, "opening systems")) == list("abcdefgh")
    assert [record.getMessage() for record in caplog.records][:1] == ["opening systems: 3 of 8"]
    assert 2 <= len(caplog.records) < 8


def test_nothing_is_shown_of_what_takes_no_time_or_is_not_wanted(monkeypatch, caplog):
    with caplog.at_level(logging.INFO):
        assert list(waiting.shown(range(5), 5, "x")) == [0, 1, 2, 3, 4]
        monkeypatch.setattr(waiting, "INTERVAL", -1.0)
        assert list(waiting.shown(range(5), 5, "x", show=False)) == [0, 1, 2, 3, 4]
    assert not caplog.records


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "DELAY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(waiting.shown(range(3), 3, "searching")) == [0, 1, 2]
    assert "searching" in capsys.readouterr().err
