"""Models with spins where users meet them: arguments of ``evaluate``, DeePMD-kit's classes, ASE, and what cannot take spins yet."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

import dpjax
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.finetune.sections import refuse_spins
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.deepmd import DeepPot
from dpjax.interfaces.deviation import model_deviation
from dpjax.interfaces.jax_md import neighbor_fn_and_energy
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make

SECTION = model(se_e2_a(sel=[30, 28]), spin={"use_spin": [True, False], "virtual_scale": 0.3})


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(SECTION)


@pytest.fixture(scope="module")
def structure():
    return make("crystal", spin=3)


@pytest.fixture(scope="module")
def want(pot, structure) -> dict:
    s = structure
    return pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None], atomic=True)


def test_outputs(want, structure):
    n_atom = len(structure.coord)
    shapes = {"energy": (1, 1), "force": (1, n_atom, 3), "force_mag": (1, n_atom, 3), "mask_mag": (1, n_atom, 1)}
    assert {name: want[name].shape for name in shapes} == shapes
    assert want["mask_mag"].dtype == bool
    np.testing.assert_array_equal(want["mask_mag"][0, :, 0], structure.atype == 0)
    assert not want["force_mag"][0, structure.atype == 1].any()
    assert np.abs(want["force_mag"][0, structure.atype == 0]).min() > 1e-6


def test_spins_of_types_without_spin_do_not_matter(pot, structure, want):
    s = structure
    spin = np.where((s.atype == 0)[:, None], s.spin, 7.0)
    again = pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=spin[None], atomic=True)
    for name in want:
        np.testing.assert_array_equal(again[name], want[name], err_msg=name)


def test_spins_that_do_not_fit(pot, structure):
    s, plain = structure, potential(model(se_e2_a()))
    with pytest.raises(ModelError, match=r"needs spin of shape \(n_frame, n_atom, 3\)"):
        pot.evaluate(s.coord[None], s.atype, s.cell[None])
    with pytest.raises(DataError, match="spin of frame 0: found shape"):
        pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None, 1:])
    with pytest.raises(DataError, match="spin of frame 0: found a number that is not finite"):
        pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=np.where(s.spin > 0, np.nan, 0.0)[None])
    with pytest.raises(ModelError, match="spin was given but this model has no such input"):
        plain.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])


def test_two_atoms_on_one_point_are_refused_all_the_same(pot, structure):
    coord = structure.coord.copy()
    coord[1] = coord[0]
    with pytest.raises(DataError, match="atoms 0 and 1 are on one point"):
        pot.evaluate(coord[None], structure.atype, structure.cell[None], spin=structure.spin[None])


def test_deep_pot(pot, structure, want):
    s, own = structure, DeepPot(pot)
    assert own.has_spin and own.use_spin == [True, False] and own.get_ntypes() == 2
    found = own.eval(s.coord[None], s.cell.reshape(1, 9), s.atype, atomic=True, spin=s.spin.ravel()[None])
    names = ("energy", "force", "virial", "atom_energy", "atom_virial", "force_mag", "mask_mag")
    for name, values in zip(names, found, strict=True):
        np.testing.assert_array_equal(values, want[name], err_msg=name)
    with pytest.raises(ModelError, match="features: not built yet for a model with spins"):
        own.eval_descriptor(s.coord[None], s.cell.reshape(1, 9), s.atype, spin=s.spin[None])


def test_ase(pot, structure):
    s = structure
    atoms = Atoms([("O", "H")[t] for t in s.atype], s.coord, cell=s.cell, pbc=True, calculator=DPCalculator(pot))
    with pytest.raises(ModelError, match="set_initial_magnetic_moments"):
        atoms.get_forces()
    rng = np.random.default_rng(0)
    for step in range(3):  # one list serves: first spins change, then positions, too
        spin = s.spin + 0.05 * step * rng.normal(size=s.spin.shape)
        atoms.set_initial_magnetic_moments(spin)
        atoms.positions += 0.02 * (step > 1) * rng.normal(size=s.coord.shape)
        now = pot.evaluate(atoms.positions[None], s.atype, s.cell[None], spin=spin[None])
        np.testing.assert_allclose(atoms.get_forces(), now["force"][0], atol=1e-11)
        np.testing.assert_allclose(atoms.calc.results["magnetic_forces"], now["force_mag"][0], atol=1e-11)
        np.testing.assert_allclose(atoms.get_potential_energy(), now["energy"][0, 0], atol=1e-11)
    assert atoms.calc.listed.searches == 1
    atoms.set_initial_magnetic_moments(None)  # vectors are not replaced by numbers in ASE
    atoms.set_initial_magnetic_moments(np.arange(len(s.atype)) / 5.0)  # along z
    along = np.zeros_like(s.spin)
    along[:, 2] = np.arange(len(s.atype)) / 5.0
    now = pot.evaluate(atoms.positions[None], s.atype, s.cell[None], spin=along[None])
    np.testing.assert_allclose(atoms.get_forces(), now["force"][0], atol=1e-11)


def test_deviation_of_models(pot, structure):
    s = structure
    other = potential(SECTION, seed=1)
    found = model_deviation([pot, other], s.coord[None], s.atype, s.cell[None], spin=s.spin[None])
    energies = [
        p.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])["energy"][0, 0] for p in (pot, other)
    ]
    np.testing.assert_allclose(found.energy, np.std(energies) / len(s.atype))


def test_what_cannot_take_spins_yet_says_so(pot, structure, tmp_path):
    s = structure
    with pytest.raises(ModelError, match="hessian: not built yet for a model with spins"):
        pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None], hessian=True)
    with pytest.raises(ModelError, match="an artifact: not built yet for a model with spins"):
        dpjax.export.save(pot, tmp_path / "model.dpx", platforms=("cpu",))
    with pytest.raises(ModelError, match="molecular dynamics .* not built yet for a model with spins"):
        neighbor_fn_and_energy(pot, s.cell.T, s.atype)
    with pytest.raises(ConfigError, match="model/spin: fine-tuning is not built yet"):
        refuse_spins(pot.config)
