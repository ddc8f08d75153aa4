"""Models with virtual atoms: what frames they take, on the host and in programs that find neighbours themselves."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.errors import DataError, ModelError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.spread import SpreadPotential
from tests.contracts.cases import model, potential, se_a_mask
from tests.contracts.structures import make

SECTION = model(se_a_mask(sel=[4, 7]), fitting={"numb_aparam": 1, "use_aparam_as_mask": True})


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(SECTION)


def frame(virtual=(3, 7)):
    s = make("cluster")
    mask = np.ones((len(s.coord), 1))
    mask[list(virtual)] = 0.0
    return s, mask


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cell": np.eye(3)[None] * 9}, "cell of frame 0: .* 'se_a_mask' is for open boundaries"),
        ({"aparam": np.full((1, 11, 1), 2.0)}, "frame 0: aparam of atom 0 is 2; expected 1 for a real or 0"),
        ({"aparam": np.full((1, 11, 1), np.nan)}, "frame 0: aparam of atom 0 is nan; expected 1"),
    ],
)
def test_frames_that_are_refused(pot, change, text):
    s, mask = frame()
    with pytest.raises(DataError, match=text):
        pot.evaluate(**{"coord": s.coord[None], "atype": s.atype, "aparam": mask[None]} | change)


def test_a_mask_is_needed_for_descriptors_too(pot):
    s, _ = frame()
    with pytest.raises(ModelError, match="this model needs aparam"):
        pot.descriptor(s.coord[None], s.atype)


def test_slabs_are_refused(pot):
    with pytest.raises(ModelError, match="se_a_mask has no cut-off"):
        SpreadPotential(pot)


@pytest.mark.slow
def test_virtual_atoms_may_lie_on_one_point_and_add_a_constant(pot):
    s, mask = frame()
    real = mask[:, 0] == 1.0
    together = np.where(real[:, None], s.coord, 0.0)
    apart, joined = pot.evaluate([s.coord, together], [s.atype] * 2, aparam=[mask, mask])["energy"]
    np.testing.assert_allclose(apart, joined, atol=1e-13)
    without = pot.evaluate(s.coord[real][None], s.atype[real], aparam=mask[real][None], atomic=True)
    lone = pot.evaluate([np.zeros((1, 3))] * 2, [s.atype[[3]], s.atype[[7]]], aparam=[np.zeros((1, 1))] * 2)["energy"]
    np.testing.assert_allclose(apart, without["energy"][0] + sum(lone), atol=1e-12)


@pytest.mark.slow
def test_calculators_for_ase_see_all_atoms(pot):
    ase = pytest.importorskip("ase")
    s, mask = frame()
    atoms = ase.Atoms([pot.type_map[t] for t in s.atype], s.coord, calculator=DPCalculator(pot))
    atoms.arrays["aparam"] = mask
    want = pot.evaluate(s.coord[None], s.atype, aparam=mask[None])
    np.testing.assert_allclose(atoms.get_potential_energy(), want["energy"][0, 0], atol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), want["force"][0], atol=1e-12)
