"""`dpjax show`, `dpjax convert` and `dpjax freeze`."""

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
    stats = {"out_bias": np.array([[-3.0], [0.0]])}
    model = SimpleNamespace(
        type_map=["O", "H"], config=SimpleNamespace(raw=raw), variables={"params": params, "stats": stats}
    )
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


def test_show_observed_types(pot, capsys):
    assert main(["show", "model.dp", "observed-type"]) == 0
    assert capsys.readouterr().out == "observed-type: O (1 of 2 types, by their energy bias)\n"


def test_show_branches_of_a_single_model(pot, capsys):
    assert main(["show", "model.dp", "model-branch"]) == 1
    assert "single model without branches" in capsys.readouterr().err


def test_show_a_model_with_branches(pot, monkeypatch, capsys):
    """Without a head all of them."""
    from dpjax.cli import show
    from dpjax.interfaces import files

    names, loaded = ("water", "ice"), []
    monkeypatch.setattr(show, "branch_names", lambda path: names)
    monkeypatch.setattr(files, "branches", lambda path, aliases=True: (*names, "cold") if aliases else names)
    monkeypatch.setattr(dpjax, "load", lambda path, head=None: loaded.append(head) or pot)
    assert main(["show", "run", "model-branch", "type-map"]) == 0
    lines = ["model-branch: water ice (also cold)", "branch water", "type-map: O H", "branch ice", "type-map: O H"]
    assert capsys.readouterr().out.splitlines() == lines and loaded == ["water", "ice"]
    assert main(["show", "run", "model-branch"]) == 0 and main(["show", "run", "type-map", "--head", "ice"]) == 0
    assert capsys.readouterr().out.splitlines() == [lines[0], "type-map: O H"]


def test_show_the_stored_tree(pot, monkeypatch, capsys):
    from dpjax import interop

    layers = [{"@class": "Layer", "@variables": {"w": np.zeros((2, 3)), "b": None}, "use": True}]
    tree = {
        "@class": "Model",
        "type": "standard",
        "fitting": {"layers": layers, "empty": {}},
        "@variables": {"x": np.ones(2)},
    }
    monkeypatch.setattr(interop, "write_model", lambda config, variables: {"model": tree})
    assert main(["show", "model.dp", "serialization-tree"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "serialization-tree:",
        "  model [Model]: 8 numbers",
        "    fitting: 6 numbers",
        "      layers: 6 numbers",
        "        0 [Layer]: 6 numbers",
    ]


@pytest.mark.parametrize("name", ["convert", "convert-backend"])
def test_convert_loads_and_saves(pot, monkeypatch, capsys, name):
    saved = []
    monkeypatch.setattr(dpjax, "save", lambda *args: saved.append(args), raising=False)
    assert main([name, "model.dp", "model.yaml"]) == 0
    assert saved == [(pot, "model.yaml")]
    assert "wrote model.yaml" in capsys.readouterr().out


def test_convert_refuses_what_belongs_to_other_formats(pot, capsys):
    assert main(["convert", "model.dp", "model.yaml", "--atomic-virial"]) == 2
    assert "--atomic-virial: belongs to .pt2" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "written"), [("frozen_model", "frozen_model.dpx"), ("a/b.dpx", "a/b.dpx")])
def test_freeze_adds_the_ending(pot, monkeypatch, capsys, tmp_path, name, written):
    from dpjax import export

    def save(potential, path, platforms, hessian):
        (tmp_path / "file").touch()
        saved.append((potential, path, tuple(platforms), hessian))
        return tmp_path / "file"

    saved = []
    monkeypatch.setattr(export, "save", save)
    assert main(["freeze", "--checkpoint", "run", "-o", name]) == 0
    assert main(["freeze", "-c", "run", "-o", name, "--hessian", "--platforms", "cpu"]) == 0
    assert saved == [(pot, written, ("cpu", "cuda", "tpu"), False), (pot, written, ("cpu",), True)]


@pytest.mark.parametrize(
    "argv", [["-n", "o_energy"], ["--node-names", "x"], ["-w", "w.npy"], ["--lower-kind", "graph"]]
)
def test_freeze_refuses_options_of_other_backends(pot, capsys, argv):
    assert main(["freeze", *argv]) == 2
    assert f"dpjax freeze: error: {argv[0]}: " in capsys.readouterr().err
