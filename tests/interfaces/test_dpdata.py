"""The driver for dpdata."""

from __future__ import annotations

import importlib
import tomllib

import numpy as np
import pytest

import dpjax
from dpjax.errors import DataError
from dpjax.interfaces.deepmd import DeepPot
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make
from tests.shared import REPOSITORY

dpdata = pytest.importorskip("dpdata", reason="dpdata is not installed (extra `dpdata`)")
A = make("crystal", seed=1)


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(model(se_e2_a()))


def system(names: list[str], types, cell=A.cell):
    """A system of dpdata with two frames."""
    data = {
        "atom_names": names,
        "atom_types": np.asarray(types),
        "atom_numbs": [int(np.sum(types == t)) for t in range(len(names))],
    }
    data |= {"coords": np.stack([A.coord, A.coord + 0.01]), "cells": np.stack([cell, cell]), "orig": np.zeros(3)}
    return dpdata.System(data=data)


def test_the_entry_point():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["dpdata.plugins"]["dpjax"].split(":")
    driver = getattr(importlib.import_module(module), name)
    assert dpdata.driver.Driver.get_driver("dpjax") is driver


def test_what_the_model_is_asked(pot, monkeypatch):
    """Types by name, in whatever order the system has them; all frames in one call; no cell of open systems."""
    asked = []

    def evaluate(self, coords, cells, atom_types):
        asked.append((cells, atom_types))
        n_frame, n_atom, _ = coords.shape
        return np.arange(n_frame)[:, None], np.zeros((n_frame, n_atom, 3)), np.ones((n_frame, 9))

    monkeypatch.setattr(DeepPot, "eval", evaluate)
    swapped = system(["H", "O"], 1 - A.atype)
    found = swapped.predict(pot, driver="dpjax")
    assert found["energies"].tolist() == [0, 1] and found["virials"].shape == (2, 3, 3)
    swapped.data["nopbc"] = True
    swapped.predict(DeepPot(pot), driver="dpjax")
    [(cells, types), (none, _)] = asked
    np.testing.assert_array_equal(types, A.atype)
    assert cells.shape == (2, 3, 3) and none is None


@pytest.mark.slow
def test_predict(pot, tmp_path):
    """From a file."""
    from dpjax.interfaces import dpdata as plugin

    assert plugin.DPJaxDriver.label is dpdata.driver.Driver.get_driver("dpjax").label
    dpjax.save(pot, tmp_path / "model.dp")
    swapped = system(["H", "O"], 1 - A.atype)
    found = swapped.predict(dp=str(tmp_path / "model.dp"), driver="dpjax")
    want = pot.evaluate(swapped["coords"], A.atype, np.stack([A.cell] * 2))
    assert isinstance(found, dpdata.LabeledSystem) and found["atom_names"] == ["H", "O"]
    np.testing.assert_allclose(found["energies"], want["energy"][:, 0], rtol=1e-12)
    np.testing.assert_allclose(found["forces"], want["force"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found["virials"], want["virial"].reshape(2, 3, 3), rtol=0, atol=1e-10)
    swapped.data["nopbc"] = True
    [first, _] = swapped.predict(pot, driver="dpjax")["energies"]
    alone = pot.evaluate(swapped["coords"], A.atype)["energy"][0, 0]
    assert abs(first - alone) < 1e-11 and abs(first - found["energies"][0]) > 1e-3


def test_an_element_that_the_model_does_not_know(pot):
    with pytest.raises(DataError, match="the system has Na, which the model does not know; its types are O, H"):
        system(["O", "Na"], A.atype).predict(pot, driver="dpjax")
    assert system(["Na", "O", "H"], A.atype + 1).get_natoms() == 11
