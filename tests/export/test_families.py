"""Every family of descriptors in an artifact: equal to ``Potential.evaluate``, one program for each set of padded sizes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dpjax.export import Artifact, save, writer
from dpjax.export.program import ENTRIES
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import CASES, potential
from tests.export.frames import assert_close, expected, frame, padded_sizes

FAMILIES = (  # names of contract cases
    "se_e2_r",
    "se_e3",
)


def crowded(section: dict[str, Any]) -> dict[str, Any]:
    """The model with fewer places than there are neighbours in some frames and more in others; in the first part of a hybrid."""
    section = copy.deepcopy(section)
    part = section["descriptor"].get("list", [section["descriptor"]])[0]
    part["sel"] = [3, 4] if isinstance(part["sel"], list) else 6
    return section


def frames() -> list[dict]:
    """Few atoms and many, with and without a cell and with virtual atoms, of which one is the first."""
    with_virtual = frame(24, periodic=False)
    with_virtual["atype"][[0, 7]] = -1
    return [frame(3, periodic=False), frame(24), with_virtual, frame(190)]


@pytest.mark.parametrize("conventions", ["corrected", "reference"])
@pytest.mark.parametrize("name", FAMILIES)
def test_equal_to_evaluate(name, conventions, tmp_path, monkeypatch):
    [section] = [case.section for case in CASES if case.name == name]
    made = potential(crowded(section))
    pot = Potential(made.config, made.variables, conventions=conventions)
    if conventions == "reference" and not pot.model.takes_first:
        pytest.skip("the conventions do not differ for this model")
    monkeypatch.setattr(writer, "ENTRIES", ENTRIES[2:])  # with all outputs; one of them saves time
    model = Artifact(save(pot, tmp_path / "model.dpx"))
    given = frames()
    for i, (arguments, want) in enumerate(zip(given, expected(pot, given), strict=True)):
        assert_close(model.evaluate(**arguments, atomic=True), want, where=f"frame {i}")
    known = {padded_sizes(pot, arguments) for arguments in given}
    assert model.programs == model._calls["atomic"]._cache_size() == len(known) <= 4
