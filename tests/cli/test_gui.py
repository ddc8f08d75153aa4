"""`dpjax gui`, and what DP-GUI gets from the entry points of dpjax."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from dargs import ArgumentEncoder

from dpjax.cli import gui
from dpjax.cli.dpgui import GROUP
from dpjax.cli.main import main
from dpjax.config import arguments
from tests.shared import REPOSITORY


@pytest.fixture
def served(monkeypatch):
    """Records how a stand-in for DP-GUI is started."""
    calls = []
    monkeypatch.setitem(sys.modules, "dpgui", SimpleNamespace(start_dpgui=lambda **how: calls.append(how)))
    monkeypatch.setattr(gui, "_registered", lambda: True)
    return calls


def test_it_starts(served, capsys):
    assert main(["gui"]) == 0
    assert main(["gui", "-p", "7000", "--bind_all"]) == 0
    assert served == [{"port": 6042, "bind_all": False}, {"port": 7000, "bind_all": True}]
    assert capsys.readouterr().err == ""


def test_an_installation_without_entry_points_is_told(served, monkeypatch, capsys):
    monkeypatch.setattr(gui, "_registered", lambda: False)
    assert main(["gui"]) == 0
    assert "pip install" in capsys.readouterr().err


def test_a_port_in_use(monkeypatch, capsys):
    def start(**how):
        raise OSError(98, "Address already in use")

    monkeypatch.setitem(sys.modules, "dpgui", SimpleNamespace(start_dpgui=start))
    assert main(["gui"]) == 1
    assert "cannot serve on port 6042: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_ports_are_checked(served, port, capsys):
    assert main(["gui", "-p", port]) == 2
    assert "expected a number from 1 to 65535" in capsys.readouterr().err


def test_without_dpgui_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dpgui", None)
    assert main(["gui"]) == 1
    assert "pip install 'dpjax[gui]'" in capsys.readouterr().err


def test_entry_points_give_the_encoded_sections():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][GROUP]
    assert set(points) == {"dpjax", "dpjax multi-task"}
    for name, value in points.items():
        made = EntryPoint(name, value, GROUP).load()()  # as DP-GUI does
        encoded = json.dumps(made, cls=ArgumentEncoder)
        assert encoded == json.dumps(arguments(multi_task="multi" in name), cls=ArgumentEncoder)
        assert {"model", "training", "dpjax"} <= {section["name"] for section in json.loads(encoded)}
