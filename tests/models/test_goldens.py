"""Every output of the reference models, periodic, thin triclinic and open, against DeePMD-kit 3.2.0."""

from __future__ import annotations

import json

import pytest

import dpjax
from tests.models.reference import Reference
from tests.shared import golden, shared, shared_root

SHIPPED = sorted(path.name for path in golden("models").iterdir() if path.is_dir())

HEAVY = {  # to compile; their parts are in others, too
    "dpa3_chg_spin_explicit_over_default",
    "dpa2_three_body",
    "ener_aparam",
    "ener_atom_ener_partial",
    "hybrid_att_sea_rcut",
    "linear_att_pairtab",
    "hybrid_sea_ser",
    "se_atten_lmax2",
    "se_atten_not_smooth_sel_overflow",
    "se_atten_virtual_atoms",
    "se_e2_r_exclude_types",
}

# of the larger set, as far as they are built
DESCRIPTORS = {"se_e2_a", "se_e2_r", "se_e3", "se_e3_tebd", "se_atten", "se_atten_v2", "dpa2", "dpa3"}
FITTINGS = {"ener", "dos", "property", "polar", "dipole"}


def evaluate(reference: Reference) -> dict:
    return dpjax.load(reference.folder / "model.dp").evaluate(**reference.arguments(), atomic=True)


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in HEAVY)) for case in SHIPPED])
def test_shipped_reference_models(case):
    reference = Reference(golden("models", case))
    reference.compare(evaluate(reference))


def buildable() -> list[str]:
    """Cases of the larger set whose parts this version has."""
    folder = shared_root().joinpath("golden", "models")
    found = []
    for path in sorted(folder.glob("*/model.json")) if folder.is_dir() else ():
        section = json.loads(path.read_text())
        if all(map(is_built, section.get("models", [section]))):
            found.append(path.parent.name)
    return found


def is_built(section: dict) -> bool:
    """Whether a model, or a part of one, has parts that this version has."""
    kind = section.get("type", "standard")
    if kind != "standard":
        return kind == "pairtab"
    parts = section["descriptor"].get("list", [section["descriptor"]])
    descriptors = {part["type"] for part in parts}
    return descriptors <= DESCRIPTORS and section["fitting_net"].get("type", "ener") in FITTINGS


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in buildable() if case not in SHIPPED] or ["*"])
def test_all_reference_models(case):
    reference = Reference(shared("golden", "models", case))
    reference.compare(evaluate(reference))


def test_the_larger_set_is_found_whole():
    shared("golden", "models")
    assert len(buildable()) >= 220
    assert set(SHIPPED) <= set(buildable())
