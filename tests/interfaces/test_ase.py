"""The ASE calculator: numbers of ``evaluate`` while its list is reused, any boundaries, few programs, clear refusals."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress

import dpjax
from dpjax.errors import DataError, DPError, ModelError, NonFiniteError
from dpjax.interfaces.ase import DP, DPCalculator
from dpjax.neighbors import search
from tests.contracts.bench import Bench
from tests.contracts.cases import CASES, Case, model, potential, se_atten, se_e2_a
from tests.contracts.structures import Structure, make
from tests.interfaces.quick import quick

PARAMETERS = {"numb_fparam": 2, "numb_aparam": 1}
ENERGIES = [case for case in CASES if case.output.total == "energy"]
QUICK = ("hybrid",)  # `make test` sees se_e2_a and se_atten in the other tests


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Reference: one program on exact tables."""
    return Bench(ENERGIES[0])


@pytest.fixture(scope="module")
def shared(bench) -> DPCalculator:
    return DPCalculator(bench.potential)


@pytest.fixture
def calc(shared) -> DPCalculator:
    """One for all tests, so that they share its programs; counts start anew."""
    shared.listed.searches = 0
    return shared


@pytest.fixture
def fast(bench) -> dpjax.Potential:
    """The same potential for tests that need sizes of their own."""
    return quick(potential(bench.case.section))


def atoms_of(s: Structure, pbc=True) -> Atoms:
    symbols = np.array(["O", "H"])[s.atype]
    atoms = Atoms(symbols, positions=s.coord, cell=s.cell, pbc=False if s.cell is None else pbc)
    if s.fparam is not None:
        atoms.info["fparam"] = s.fparam
    if s.aparam is not None:
        atoms.set_array("aparam", s.aparam)
    if s.charge_spin is not None:
        atoms.info["charge_spin"] = s.charge_spin
    if s.spin is not None:
        atoms.set_initial_magnetic_moments(s.spin)
    return atoms


def now(s: Structure, atoms: Atoms) -> Structure:
    """The structure where the atoms are."""
    return s.replace(coord=atoms.positions.copy(), cell=atoms.cell.array.copy() if s.cell is not None else None)


def assert_as_evaluated(atoms: Atoms, want: dict[str, np.ndarray]) -> None:
    """Everything the calculator gives, that of atoms first: it brings the rest along."""
    np.testing.assert_allclose(atoms.get_potential_energies(), want["atom_energy"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_potential_energy(), want["energy"][0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), want["force"], rtol=0, atol=1e-9)
    if not atoms.cell.rank:  # nothing to divide a virial by
        return
    stress = -want["virial"].reshape(3, 3) / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stress(voigt=False), (stress + stress.T) / 2, rtol=0, atol=1e-9)
    own = -want["atom_virial"].reshape(-1, 3, 3) / atoms.get_volume()
    stresses = atoms.get_stresses()
    np.testing.assert_allclose(voigt_6_to_full_3x3_stress(stresses), (own + own.swapaxes(1, 2)) / 2, rtol=0, atol=1e-9)
    np.testing.assert_allclose(stresses.sum(axis=0), atoms.get_stress(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=() if c.name in QUICK else pytest.mark.slow) for c in ENERGIES]
)
def test_numbers_are_those_of_evaluate_while_the_list_is_reused(case: Case):
    bench = Bench(case)
    s, rng, near = bench.structure(), np.random.default_rng(0), set()
    atoms = atoms_of(s)
    atoms.calc = calc = DPCalculator(quick(bench.potential), skin=1.2)
    for _ in range(3):
        assert_as_evaluated(atoms, bench(now(s, atoms))[0])
        near.add(search(atoms.positions, s.atype, 2, bench.model.rcut, now(s, atoms).cell).count.tobytes())
        atoms.positions += rng.uniform(-0.1, 0.1, s.coord.shape)
    assert case.whole or len(near) > 1, "no neighbour came or went, so nothing was tested"
    if s.cell is not None:
        atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)  # a strain of one per cent is within the skin
    assert_as_evaluated(atoms, bench(now(s, atoms))[0])
    assert calc.listed.searches == 1
    atoms.positions += rng.uniform(-0.7, 0.7, s.coord.shape)
    assert_as_evaluated(atoms, bench(now(s, atoms))[0])
    assert calc.listed.searches == 2


CROWDED = {"sections": se_e2_a(sel=[3, 4]), "one-section": se_atten(sel=6)}


@pytest.mark.parametrize("name", [pytest.param("sections", marks=pytest.mark.slow), "one-section"])
def test_sel_keeps_the_nearest_of_now(name, caplog):
    bench = Bench(Case(name, model(CROWDED[name])))
    bench.layout = dataclasses.replace(bench.layout, nbrs=(20, 28) if name == "sections" else (48,))
    s, rng = bench.structure(), np.random.default_rng(3)
    atoms = atoms_of(s)
    atoms.calc = calc = DPCalculator(quick(bench.potential), skin=0.8)
    for _ in range(3):
        np.testing.assert_allclose(atoms.get_forces(), bench(now(s, atoms))[0]["force"], rtol=0, atol=1e-9)
        atoms.positions += rng.uniform(-0.06, 0.06, s.coord.shape)
    assert calc.listed.searches == 1
    said = [r.message for r in caplog.records if r.name == "dpjax.interfaces.listed" and "left out" in r.message]
    assert said
    assert all("within 3 angstrom" in text for text in said)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False)], ids=["slab", "wire"])
def test_boundaries_in_some_directions(calc, bench, pbc):
    s = make("crystal")
    atoms = atoms_of(s, pbc=pbc)
    atoms.calc = calc
    far = np.where(np.array(pbc)[:, None], s.cell, 8 * s.cell)  # images so far away that none is seen
    want = bench(s.replace(cell=far))[0]
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, want["force"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(atoms.get_potential_energy(), want["energy"][0], rtol=0, atol=1e-10)
    assert np.abs(forces - bench(s)[0]["force"]).max() > 1e-3
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms), atol=1e-7)
    atoms.cell[~np.array(pbc)] = 0.0  # a cell need not span a volume
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-12)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_forces_and_stress_are_derivatives(calc):
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-7)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-7)
    assert calc.listed.searches <= 1


def test_the_cell_is_looked_at_also_where_it_changes_in_place(calc, bench):
    s = make("crystal")
    atoms = atoms_of(s)
    atoms.calc = calc
    atoms.get_forces()
    atoms.cell[0, 0] += 0.7
    np.testing.assert_allclose(atoms.get_forces(), bench(now(s, atoms))[0]["force"], rtol=0, atol=1e-9)


def test_an_atom_more_within_the_bucket_compiles_nothing(fast, bench, caplog):
    caplog.set_level("INFO", "dpjax.interfaces.listed")
    s = make("crystal", numbers=(9, 17))  # places: 9 and 32
    atoms = atoms_of(s)
    atoms.set_cell(1.5 * s.cell, scale_atoms=True)
    atoms.calc = calc = DPCalculator(fast)
    atoms.get_forces()
    more = s.replace(coord=np.vstack([atoms.positions, atoms.positions[0] + 1.0]), atype=np.append(s.atype, 1))
    for other in (more, now(s, atoms), now(s, atoms).take(range(1, 26))):
        moved = atoms_of(other.replace(cell=atoms.cell.array.copy()))
        moved.calc = calc
        np.testing.assert_allclose(moved.get_forces(), bench(now(other, moved))[0]["force"], rtol=0, atol=1e-9)
    assert len(calc.listed.programs) == calc.listed._program._cache_size() == 1
    assert calc.listed.searches == 4
    assert len([r for r in caplog.records if "compiled" in r.message]) == 1


@pytest.mark.slow
def test_more_neighbors_than_there_is_room_for(fast, bench, caplog):
    caplog.set_level("INFO", "dpjax.interfaces.listed")
    s = make("crystal")
    atoms = atoms_of(s)
    atoms.calc = calc = DPCalculator(fast, skin=3.0)
    atoms.set_cell(1.3 * s.cell, scale_atoms=True)
    atoms.get_forces()
    atoms.set_cell(s.cell, scale_atoms=True)  # the list holds all pairs that come near
    np.testing.assert_allclose(atoms.get_forces(), bench(now(s, atoms))[0]["force"], rtol=0, atol=1e-9)
    assert calc.listed.searches == 1
    assert any("the program is compiled for" in r.message for r in caplog.records)


def test_parameters_and_their_changes():
    """That they are the right numbers is seen where all cases are compared with ``evaluate``."""
    pot = quick(potential(model(se_e2_a(), fitting=PARAMETERS)))
    s = make("crystal", fparam=2, aparam=1)
    atoms = atoms_of(s)
    atoms.calc = calc = DPCalculator(pot)
    energies = []
    for change in (0.0, 0.3):
        atoms.info["fparam"] = s.fparam + change
        energies.append(atoms.get_potential_energy())
    assert energies[0] != energies[1]
    atoms.info["fparam"][0] += 1.0  # in place
    assert atoms.get_potential_energy() != energies[1]
    atoms.info["aparam"] = atoms.arrays.pop("aparam")[:, 0]
    energy = atoms.get_potential_energy()
    atoms.info["aparam"] = atoms.info["aparam"] + 1.0
    assert atoms.get_potential_energy() != energy
    assert calc.listed.searches == 1
    del atoms.info["fparam"]
    with pytest.raises(ModelError, match="needs fparam"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    "info", [{"charge": 1}, {"spin": 2}, {"charge_spin": [0, 1]}], ids=lambda info: next(iter(info))
)
def test_charge_and_spin_are_refused(calc, info):
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    atoms.info.update(info)
    with pytest.raises(ModelError, match="no input for charge and spin"):
        atoms.get_potential_energy()
    atoms.info = {"charge": 0, "spin": 1}  # what every model describes
    atoms.get_potential_energy()


def test_mistakes_are_named(calc):
    pot = calc.potential
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    atoms.get_forces()
    atoms.positions[2, 0] = np.nan
    with pytest.raises(DataError, match="coordinates of atom 2"):
        atoms.get_forces()
    atoms = Atoms("OHNe", positions=np.eye(3), calculator=calc)
    with pytest.raises(DataError, match="atom 2 is Ne, which the model does not know; it has O, H"):
        atoms.get_forces()
    with pytest.raises(DataError, match="type_dict: found 2 for Ne"):
        DPCalculator(pot, type_dict={"Ne": 2})
    with pytest.raises(DataError, match="skin: found -1"):
        DPCalculator(pot, skin=-1)
    with pytest.raises(TypeError, match="skn"):
        DPCalculator(pot, skn=1)
    with pytest.raises(ModelError, match=r"give it to dpjax\.load"):
        DPCalculator(pot, head="water")
    with pytest.raises(ModelError, match="predicts global_dipole"):
        DPCalculator(dpjax.build(model(se_e2_a(), fitting={"type": "dipole"})))
    with pytest.raises(ModelError, match="neighbor_list"):
        DP(pot, neighbor_list=object())


def test_atoms_that_fall_onto_each_other_are_no_number(calc):
    atoms = atoms_of(make("crystal"))
    atoms.positions[1] = atoms.positions[0] + [0.4, 0, 0]
    atoms.calc = calc
    atoms.get_forces()
    atoms.positions[1] = atoms.positions[0]  # the list still serves
    with pytest.raises(NonFiniteError, match="atoms on one point"):
        atoms.get_forces()


def test_deepmd_s_calculator(calc, tmp_path):
    dpjax.save(calc.potential, tmp_path / "model.dp")
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    atoms.numbers = np.where(atoms.numbers == 8, 16, 9)
    atoms.calc = DP(model=tmp_path / "model.dp", label="water", type_dict={"S": 0, "F": 1})
    assert atoms.calc.potential.conventions == "reference"
    atoms.calc.listed = calc.listed  # and its programs
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-12)
    virial = atoms.calc.results["virial"]
    np.testing.assert_allclose(-(virial + virial.T) / 2 / atoms.get_volume(), stress, rtol=0, atol=1e-12)
    assert atoms.calc.label == "water"
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


@pytest.mark.slow
def test_single_precision(calc):
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    want = atoms.get_forces()
    atoms.calc = DPCalculator(calc.potential, dtype="float32")
    error = np.abs(atoms.get_forces() - want).max()
    assert 0 < error < 1e-5 * max(1.0, np.abs(want).max())


def test_calculators_of_one_potential_share_programs(calc):
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    forces = atoms.get_forces()
    atoms.calc = DPCalculator(calc.potential)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-12)  # lists may have other widths
    assert atoms.calc.listed._program is calc.listed._program


def test_relaxation_and_molecular_dynamics(calc):
    atoms = atoms_of(make("crystal"))
    atoms.calc = calc
    start = atoms.get_potential_energy()
    BFGS(atoms, logfile=None, maxstep=0.05).run(fmax=0.0, steps=8)
    assert atoms.get_potential_energy() < start
    rng = np.random.default_rng(1)
    atoms.set_velocities(rng.normal(size=(len(atoms), 3)) * 0.02)
    before, kinetic = atoms.get_total_energy(), atoms.get_kinetic_energy()
    VelocityVerlet(atoms, 0.2 * units.fs).run(40)
    assert abs(atoms.get_total_energy() - before) < 1e-3 * abs(atoms.get_kinetic_energy() - kinetic)
    assert calc.listed.searches < 10


def test_without_ase(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase", None)
    monkeypatch.delitem(sys.modules, "dpjax.interfaces.ase")
    with pytest.raises(DPError, match=r"pip install 'dpjax\[ase\]'"):
        importlib.import_module("dpjax.interfaces.ase")
