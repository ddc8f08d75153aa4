"""Artifacts that several tests use, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjax.export import save
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import CASES, model, potential, se_atten, se_e2_a

EVERYTHING = model(  # every input and exclusion, and fewer places than there are neighbours
    se_e2_a(sel=[3, 5, 0], type_one_side=False, resnet_dt=True, exclude_types=[[0, 0]], env_protection=0.1),
    fitting={"numb_fparam": 2, "numb_aparam": 1, "dim_case_embd": 2, "atom_ener": [-3.0, None, None]},
    type_map=["O", "H", "X"],
    pair_exclude_types=[[1, 1]],
    atom_exclude_types=[2],
)


MIXED = model(se_atten(sel=7), type_map=["O", "H", "X"], atom_exclude_types=[2])


@pytest.fixture(scope="package")
def potentials():
    """Models by name: ``plain``, ``everything`` with all options of inputs and exclusions, and ``mixed`` with type vectors."""
    mixed = potential(MIXED)
    return {
        "plain": potential(CASES[0].section),
        "everything": potential(EVERYTHING),
        "mixed": Potential(mixed.config, mixed.variables, conventions="reference"),
    }


@pytest.fixture(scope="package")
def artifacts(potentials, tmp_path_factory):
    """Their artifacts by name; only the plain one is for all platforms, which takes time."""
    folder = tmp_path_factory.mktemp("artifacts")
    others = {name: save(pot, folder / f"{name}.dpx", ("cpu",)) for name, pot in potentials.items() if name != "plain"}
    return {"plain": save(potentials["plain"], folder / "plain.dpx"), **others}


@pytest.fixture(scope="package")
def plain(artifacts):
    """The artifact of the plain model."""
    return artifacts["plain"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One worker gets all files whose tests use the artifacts: writing these takes longer than most of the tests."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    users = {item.path for item in here if "artifacts" in item.fixturenames}
    for item in here:
        if item.path in users:
            item.add_marker(pytest.mark.xdist_group("export-artifacts"))
