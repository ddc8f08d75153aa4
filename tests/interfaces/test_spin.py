"""Models with spins where users meet them: arguments of ``evaluate``, DeePMD-kit's classes, ASE, and what cannot take spins yet."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import dpjax
from dpjax.compress.checks import check_compressible
from dpjax.errors import DataError, ModelError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.deepmd import DeepPot
from dpjax.interfaces.deviation import model_deviation
from dpjax.interfaces.feature_files import write_feature_files
from dpjax.interfaces.jax_md import neighbor_fn_and_energy
from dpjax.interfaces.md import Dynamics, Simulation
from dpjax.interfaces.structures import Structure
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make, rotation

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
    found = own.eval_descriptor(s.coord[None], s.cell.reshape(1, 9), s.atype, spin=s.spin[None])
    np.testing.assert_array_equal(found, pot.descriptor(s.coord[None], s.atype, s.cell[None], spin=s.spin[None]))


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


@pytest.mark.slow
def test_hessian_is_the_slope_of_the_forces(pot, structure):
    """Of positions at fixed spins, in the order of the atoms that are given; placeholders have zeros."""
    s = structure.take(np.arange(6))
    atype = np.where(np.arange(6) == 2, -1, s.atype)
    given = {"atype": atype, "spin": s.spin[None]}
    hessian = pot.evaluate(s.coord[None], cell=None, hessian=True, **given)["hessian"][0].reshape(6, 3, 6, 3)
    assert not hessian[2].any() and not hessian[:, :, 2].any()
    np.testing.assert_allclose(hessian, hessian.transpose(2, 3, 0, 1), atol=1e-12)
    np.testing.assert_allclose(hessian.sum(axis=2), 0.0, atol=1e-12)  # moving all atoms alike costs nothing
    moved = np.stack([s.coord + step * np.eye(18)[13].reshape(6, 3) for step in (1e-4, -1e-4)])
    force = pot.evaluate(moved, atype, spin=np.stack([s.spin, s.spin]))["force"]
    np.testing.assert_allclose(hessian[:, :, 4, 1], (force[1] - force[0]) / 2e-4, atol=1e-7)
    assert np.abs(hessian).max() > 1e-3


def test_features(pot, structure, tmp_path):
    """They follow spins, and turn with nothing; atoms of a file's system have them, too."""
    s = structure
    found = pot.features(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])
    turned = s.turned(rotation(np.random.default_rng(3)))
    again = pot.features(turned.coord[None], s.atype, turned.cell[None], spin=turned.spin[None])
    other = pot.features(s.coord[None], s.atype, s.cell[None], spin=-s.spin[None])
    for name in ("descriptor", "fitting_last_layer"):
        assert found[name].shape == (1, len(s.atype), pot.feature_width(name))
        np.testing.assert_allclose(again[name], found[name], atol=1e-12)
        assert np.abs(other[name] - found[name]).max() > 1e-4
    with pytest.raises(ModelError, match="needs spin of shape"):
        pot.descriptor(s.coord[None], s.atype, s.cell[None])
    [(_, path, shape)] = write_feature_files(pot, stored(s, tmp_path / "data"), tmp_path / "found")
    assert shape == found["descriptor"].shape
    np.testing.assert_allclose(np.load(path), found["descriptor"], atol=1e-12)


def stored(s, folder):
    """One frame as a data system."""
    (folder / "set.000").mkdir(parents=True)
    for name, value in (("coord", s.coord), ("box", s.cell), ("spin", s.spin)):
        np.save(folder / "set.000" / f"{name}.npy", value.reshape(1, -1))
    (folder / "type.raw").write_text("\n".join(map(str, s.atype)))
    (folder / "type_map.raw").write_text("O H")
    return folder


def test_jax_md(pot, structure):
    """Energies, forces, magnetic forces and virials, with spins of the start, one of which is zero, and with such that change."""
    s = structure.replace(
        spin=np.where(np.arange(len(structure.spin))[:, None] == np.argmin(structure.atype), 0.0, structure.spin)
    )
    want = pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])
    with jax.enable_x64(True):
        fractions = jnp.asarray(s.coord @ np.linalg.inv(s.cell) % 1.0)
        neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, s.cell.T, s.atype, spin=s.spin)
        neighbors = neighbor_fn.allocate(fractions)
        evaluated = jax.jit(lambda R, neighbors, spin: energy_fn.evaluate(R, neighbors, spin=spin))
        out = evaluated(fractions, neighbors, jnp.asarray(s.spin))
        for name in ("energy", "force", "force_mag", "virial"):
            np.testing.assert_allclose(np.ravel(out[name]), np.ravel(want[name]), atol=1e-10, err_msg=name)
        rng = np.random.default_rng(1)
        moved = (fractions + 0.005 * rng.normal(size=fractions.shape)) % 1.0  # some come back on the other side
        spin = s.spin + 0.1 * rng.normal(size=s.spin.shape)
        now = pot.evaluate((np.asarray(moved) @ s.cell)[None], s.atype, s.cell[None], spin=spin[None])
        out = evaluated(moved, neighbors, jnp.asarray(spin))
        for name in ("energy", "force", "force_mag", "virial"):
            np.testing.assert_allclose(np.ravel(out[name]), np.ravel(now[name]), atol=1e-10, err_msg=name)
        far = evaluated(moved, neighbors, jnp.asarray(-3.0 * spin))  # virtual atoms moved more than half the skin
        assert np.isnan(out["energy"] * far["energy"]) and np.isnan(far["force_mag"]).any()
        assert "farther" in neighbor_fn.diagnose(moved, neighbors, spin=-3.0 * spin).reasons
        with pytest.raises(DataError, match=r"spin: found shape \(3,\), expected"):
            energy_fn(moved, neighbors, spin=np.ones(3))
    with pytest.raises(ModelError, match="needs spin of shape"):
        neighbor_fn_and_energy(pot, s.cell.T, s.atype)


@pytest.mark.slow
def test_spins_that_move_in_jax_md(pot, structure):
    """A state with spins: they relax along the magnetic force, in chunks on the device, and the energy falls."""
    s = structure
    with jax.enable_x64(True):
        neighbor_fn, energy_fn = neighbor_fn_and_energy(
            pot, s.cell.T, s.atype, spin=s.spin, fractional_coordinates=False
        )
        start = Magnet(jnp.asarray(s.coord), jnp.asarray(s.spin))
        neighbors = neighbor_fn.allocate(start.position)

        def apply(state, neighbor):
            down = energy_fn.magnetic_force(state.position, neighbor, spin=state.spin)
            return Magnet(state.position, state.spin + 0.05 * down)

        end, used = neighbor_fn.run(apply, start, neighbors, 20)
        energy = energy_fn(end.position, used, spin=end.spin)
        real = pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=np.asarray(end.spin)[None])
        np.testing.assert_allclose(energy, real["energy"][0, 0], rtol=1e-11)
        first = pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])
        assert real["energy"] < first["energy"]
        assert np.abs(np.asarray(end.spin) - s.spin)[s.atype == 0].max() > 1e-3
        np.testing.assert_array_equal(np.asarray(end.spin)[s.atype == 1], s.spin[s.atype == 1])


class Magnet(NamedTuple):
    """A state whose spins move."""

    position: jax.Array
    spin: jax.Array


@pytest.mark.slow
def test_jax_md_with_many_structures(pot):
    """Side by side, one of them open and with a placeholder; forces from JAX's own derivative."""
    one, two = make("crystal", spin=3), make("cluster", spin=3, seed=2)
    types = [one.atype, np.where(np.arange(len(two.atype)) == 3, -1, two.atype)]
    with jax.enable_x64(True):
        neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, [one.cell.T, None], types, spin=[one.spin, two.spin])
        R = jnp.asarray(np.concatenate([one.coord, two.coord]))
        neighbors = neighbor_fn.allocate(R)
        energies = energy_fn.each(R, neighbors)
        force, magnetic = energy_fn.force(R, neighbors), energy_fn.magnetic_force(R, neighbors)
    frames = [one.coord, two.coord], types, [one.cell, None]
    want = pot.evaluate(*frames, spin=[one.spin, two.spin])
    np.testing.assert_allclose(energies, np.ravel(want["energy"]), atol=1e-10)
    np.testing.assert_allclose(force, np.concatenate(want["force"]), atol=1e-10)
    np.testing.assert_allclose(magnetic, np.concatenate(want["force_mag"]), atol=1e-10)


def test_what_cannot_take_spins_says_so(pot, structure):
    s = structure
    still = Structure(
        tuple("OH"[t] for t in s.atype), s.atype, s.coord, s.cell, (True,) * 3, np.ones(len(s.atype)), None
    )
    with pytest.raises(ModelError, match="dpjax md.* not built yet for a model with spins"):
        Simulation(pot, still, Dynamics(temperature=300.0))
    with pytest.raises(ModelError, match="compression: not built yet for a model with spins"):
        check_compressible(pot.config)
