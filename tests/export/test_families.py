"""Every family of descriptors and every output in an artifact: as in ``Potential.evaluate``, one program for each padded size."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dpjax
from dpjax.export import Artifact, save
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import CASES, hybrid, model, potential, se_e2_a, se_e3_tebd
from tests.export.frames import assert_close, expected, frame, only_fullest, padded_sizes

SECTIONS = {case.name: case.section for case in CASES} | {
    "hybrid-of-both-kinds": model(hybrid(se_e2_a(), se_e3_tebd(rcut=2.5)))
}
FAMILIES = [  # a section and its conventions, which only models with type vectors tell apart
    ("se_e3_tebd", "corrected"),
    ("se_e2_a-dipole-series", "corrected"),
    ("se_e3_tebd-property", "reference"),
    *(
        pytest.param(name, "corrected", marks=pytest.mark.slow)
        for name in (
            "se_e3",
            "se_e2_r",
            "hybrid",
            "hybrid-dipole",
            "se_e2_a-polar",
            "se_e2_r-property",
            "dpa3",
            "se_e2_a-spin",
        )
    ),
    *(
        pytest.param(name, "reference", marks=pytest.mark.slow)
        for name in (
            "se_atten",
            "hybrid-of-both-kinds",
            "se_atten-polar",
            "se_e3_tebd-strip",
            "se_atten_v2",
            "se_atten-dos",
            "dpa2",
            "dpa3-charge-spin",
            "dpa3-spin",
        )
    ),
]


def crowded(section: dict[str, Any]) -> dict[str, Any]:
    """The model with fewer places than there are neighbours in some frames and more in others; in the first part of a hybrid."""
    section = copy.deepcopy(section)
    part = section["descriptor"].get("list", [section["descriptor"]])[0]
    if part["type"] == "dpa3":
        part["repflow"] |= {"e_sel": 6, "a_sel": 4}
    elif part["type"] == "dpa2":
        part["repinit"]["nsel"], part["repformer"]["nsel"] = 6, 5
    else:
        part["sel"] = [3, 4] if isinstance(part["sel"], list) else 6
    return section


def in_artifact(name: str, conventions: str, tmp_path, monkeypatch) -> tuple[dpjax.Potential, Artifact]:
    made = potential(crowded(SECTIONS[name]))
    only_fullest(monkeypatch, made.config)
    pot = Potential(made.config, made.variables, conventions=conventions)
    return pot, Artifact(save(pot, tmp_path / "model.dpx"))


def frame_for(pot: dpjax.Potential, n_atom: int, **options) -> dict[str, Any]:
    """A frame with the inputs that the model takes."""
    return frame(n_atom, **pot.config.inputs, **options)


@pytest.mark.parametrize(("name", "conventions"), FAMILIES)
def test_equal_to_evaluate(name, conventions, tmp_path, monkeypatch):
    """Few atoms, virtual atoms of which one is the first, and two frames at once whose first atoms have different types."""
    pot, artifact = in_artifact(name, conventions, tmp_path, monkeypatch)
    few, virtual = (frame_for(pot, n_atom, periodic=False) for n_atom in (3, 24))
    one, other = (frame_for(pot, 24, seed=seed) for seed in (0, 1))
    virtual["atype"][[0, 7]] = -1
    other["atype"][0] = 1 - one["atype"][0]
    *want, first, second = expected(pot, [few, virtual, one, other])
    for given, result in zip((few, virtual), want, strict=True):
        assert_close(artifact.evaluate(**given, atomic=True), result, where=f"{len(given['atype'])} atoms")
    known = {padded_sizes(pot, given) for given in (few, virtual)}
    [program] = artifact._calls.values()
    assert artifact.programs == program._cache_size() == len(known)
    both = {name: np.concatenate([one[name], other[name]]) for name in one if name != "atype"}
    got = artifact.evaluate(**both, atype=np.stack([one["atype"], other["atype"]]), atomic=True)
    assert_close(got, {name: np.concatenate([first[name], second[name]]) for name in first}, where="two frames")
    assert artifact.programs == program._cache_size() == len(known) + 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "conventions"), FAMILIES)
def test_many_atoms(name, conventions, tmp_path, monkeypatch):
    pot, artifact = in_artifact(name, conventions, tmp_path, monkeypatch)
    for given in (frame_for(pot, 190), frame_for(pot, 300, periodic=False)):
        assert_close(artifact.evaluate(**given, atomic=True), expected(pot, [given])[0])
