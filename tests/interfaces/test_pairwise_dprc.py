"""DPRc models in ASE and JAX-MD, and where they are refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from tests.contracts.cases import dprc, potential, se_atten
from tests.contracts.structures import make

NUMBERS = np.array([0.0, 0, 0, 1, 1, 2, 2, 3, 3, 4, -1])
SECTION = dprc(se_atten(attn_layer=0), se_atten(attn_layer=0, rcut=2.6))


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(SECTION)


@pytest.fixture(scope="module")
def want(pot):
    s = make("crystal")
    return s, pot.evaluate(s.coord[None], s.atype, s.cell[None], aparam=NUMBERS[None, :, None])


@pytest.mark.slow
def test_a_calculator_takes_the_numbers_from_the_atoms(pot, want):
    ase = pytest.importorskip("ase")
    from dpjax.interfaces.ase import DPCalculator

    s, out = want
    atoms = ase.Atoms([("O", "H")[t] for t in s.atype], s.coord, cell=s.cell, pbc=True)
    atoms.set_array("aparam", NUMBERS)
    atoms.calc = DPCalculator(pot)
    np.testing.assert_allclose(atoms.get_potential_energy(), out["energy"][0, 0], atol=1e-11)
    np.testing.assert_allclose(atoms.get_forces(), out["force"][0], atol=1e-11)
    atoms.set_array("aparam", np.minimum(NUMBERS, 1.0))
    assert abs(atoms.get_potential_energy() - out["energy"][0, 0]) > 1e-6


@pytest.mark.slow
def test_the_list_of_jax_md_has_skins(pot, want):
    pytest.importorskip("jax_md")
    from dpjax.interfaces.jax_md import neighbor_fn_and_energy

    s, out = want
    with jax.enable_x64(True):
        neighbor_fn, energy_fn = neighbor_fn_and_energy(
            pot, s.cell.T, s.atype, fractional_coordinates=False, aparam=NUMBERS[:, None]
        )
        neighbors = neighbor_fn.allocate(s.coord)
        energy, slope = jax.value_and_grad(lambda x: energy_fn(x, neighbor=neighbors))(s.coord)
    np.testing.assert_allclose(energy, out["energy"][0, 0], atol=1e-11)
    np.testing.assert_allclose(-slope, out["force"][0], atol=1e-11)


def test_slabs_are_refused(pot):
    from dpjax.interfaces.spread import SpreadPotential

    with pytest.raises(ModelError, match="counts the fragments of the whole frame"):
        SpreadPotential(pot)
