"""Models in LAMMPS, by the script that users run; ``PEER`` names an environment with DeePMD-kit 3.2.0, LAMMPS and MPI."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import dpjax
import dpjax.errors
from tests.contracts.cases import CASES, potential
from tests.interop.test_peer import peer_python

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "lammps_check.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lammps_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def arguments(script, monkeypatch, *words: str):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    return script.parse()


def pot(name: str = "se_e2_a") -> dpjax.Potential:
    return potential(next(case for case in CASES if case.name == name).section)


def test_the_frame_is_turned_not_changed(script, monkeypatch):
    args = arguments(script, monkeypatch, "--repeat", "1", "2", "1", "--frame", "3")
    start = script.prepare(pot(), args)
    system = script.open_systems(args.data, ["O", "H"])[0]
    cell = system.cell(3) * np.array([1, 2, 1])[:, None]
    assert np.abs(np.triu(start.cell, 1)).max() == 0
    np.testing.assert_allclose(start.cell @ start.cell.T, cell @ cell.T, atol=1e-10)
    frac = start.coord @ np.linalg.inv(start.cell)
    assert frac.min() >= 0 and frac.max() < 1
    first = system.coord(3) @ np.linalg.inv(cell)
    gaps = frac[: len(first)] - first
    np.testing.assert_allclose(gaps - np.round(gaps), 0, atol=1e-10)
    momentum = start.mass[start.atype] @ start.velocity
    np.testing.assert_allclose(momentum, 0, atol=1e-8)
    text = script.data_file(start).splitlines()
    assert "192 atoms" in text and text.index("Velocities") - text.index("Atoms # atomic") == 192 + 3


def test_mistakes_are_told(script, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("PEER", raising=False)
    for words, text in (([], "--peer DIR or the variable PEER"), (["--peer", str(tmp_path)], "found no dp")):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
        assert script.main() == 2
        assert text in capsys.readouterr().err
    with pytest.raises(dpjax.errors.ModelError, match="not energies"):
        script.require_plain(pot("se_e2_r-property"))
    with pytest.raises(dpjax.errors.ModelError, match="frame or atomic parameters"):
        script.require_plain(pot("se_e2_a-parameters"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_e2_a", "se_atten"])
def test_lammps_gives_the_same_trajectory(name, script, monkeypatch, tmp_path):
    peer = Path(peer_python()).parents[1]
    if not os.access(peer / "bin" / "mpirun", os.X_OK):
        pytest.skip(f"PEER={peer} has no mpirun")
    dpjax.save(pot(name), tmp_path / "given.dp")
    output = tmp_path / "differences.json"
    words = [
        str(tmp_path / "given.dp"),
        "--peer",
        str(peer),
        "--steps",
        "20",
        "--timestep",
        "0.1",
        "--output",
        str(output),
    ]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words, "--work", str(tmp_path)])
    assert script.main() == 0
    rows = json.loads(output.read_text())["rows"]
    assert {row["ranks"] for row in rows} == {1, 2} and len(rows) == 12
