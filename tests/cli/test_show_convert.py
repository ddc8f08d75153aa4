"""`dpjax show` and `dpjax convert`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main


@pytest.fixture
def pot(monkeypatch):
    """A model of nine parameters behind `dpjax.load`."""
    raw = {"descriptor": {"type": "se_e2_a", "rcut": 6.0}, "fitting_net": {"type": "ener"}}
    params = {"descriptor": {"net": {"matrix": np.zeros((2, 3))}}, "fitting": {"bias": np.zeros(3)}}
    model = SimpleNamespace(type_map=["O", "H"], config=SimpleNamespace(raw=raw), variables={"params": params})
    monkeypatch.setattr(dpjax, "load", lambda path: model, raising=False)
    return model


def test_show_everything(pot, capsys):
    assert main(["show", "model.dp"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["type-map"] == "O H"
    assert json.loads(lines["descriptor"]) == {"type": "se_e2_a", "rcut": 6.0}
    assert json.loads(lines["fitting-net"]) == {"type": "ener"}
    assert lines["size"] == "9 parameters (descriptor 6, fitting 3)"


def test_show_what_is_asked_for(pot, capsys):
    assert main(["show", "model.dp", "size", "type-map"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["size", "type-map"]
    assert main(["show", "model.dp", "colour"]) == 2
    assert "found 'colour', expected one of type-map" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["convert", "convert-backend"])
def test_convert_loads_and_saves(pot, monkeypatch, capsys, name):
    saved = []
    monkeypatch.setattr(dpjax, "save", lambda *args: saved.append(args), raising=False)
    assert main([name, "model.dp", "model.yaml"]) == 0
    assert saved == [(pot, "model.yaml")]
    assert "wrote model.yaml" in capsys.readouterr().out
