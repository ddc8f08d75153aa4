"""Charge and spin of frames at every door: given, left to the default, missing, wrong."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import DataError, ModelError
from dpjax.interfaces.deepmd import DeepPot, calc_model_devi
from dpjax.interfaces.deviation import model_deviation
from dpjax.interfaces.testing import test_model as run_test
from tests.contracts.cases import dpa3, model, potential, se_e2_a
from tests.contracts.structures import make
from tests.interfaces.quick import quick
from tests.training import tiny

CHARGED = {"add_chg_spin_ebd": True, "concat_output_tebd": True}
DEFAULT = [1.0, 2.0]
S = make("crystal")


def section(**options) -> dict:
    """A model of one small layer."""
    return model(dpa3({"nlayers": 1, "update_angle": False}, **CHARGED, **options))


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return quick(potential(section(default_chg_spin=DEFAULT)))


@pytest.fixture(scope="module")
def strict(pot) -> dpjax.Potential:
    """The same without a default."""
    return dpjax.Potential(potential(section()).config, pot.variables)


def frames(n: int = 3) -> dict[str, np.ndarray]:
    """The same structure several times."""
    return {"coord": np.stack([S.coord] * n), "atype": S.atype, "cell": np.stack([S.cell] * n)}


def test_the_default_is_taken_where_nothing_is_given(pot):
    out = pot.evaluate(**frames(), charge_spin=[[0, 2], [-1, 3], DEFAULT])
    assert len(np.unique(out["energy"])) == 3
    default = pot.evaluate(**frames())
    assert np.ptp(default["energy"]) < 1e-11
    for name in ("energy", "force", "virial"):
        np.testing.assert_array_equal(default[name][2], out[name][2])
    cut = pot.evaluate(**frames(), charge_spin=np.array([[-0.9, 2.9], [-1.5, 3.2], [1.99, 2.0]]))
    np.testing.assert_array_equal(cut["energy"], out["energy"])


def test_what_is_missing_or_wrong_is_named(pot, strict):
    with pytest.raises(ModelError, match=r"needs charge_spin of shape \(n_frame, 2\).* no default_chg_spin"):
        strict.evaluate(**frames())
    with pytest.raises(ModelError, match="needs charge_spin"):
        strict.descriptor(**frames())
    with pytest.raises(ModelError, match="charge_spin was given but this model has no such input"):
        potential(model(se_e2_a())).evaluate(**frames(), charge_spin=np.zeros((3, 2)))
    for row, text in (
        ([100, 0], "the charge is 100; expected -100 to 99"),
        ([0, -1.0], "the spin is -1; expected 0 to 99"),
        ([np.nan, 0], "the charge is nan; expected -100 to 99"),
        ([0, np.inf], "the spin is inf; expected 0 to 99"),
    ):
        for door in (pot.evaluate, pot.frames, pot.features):
            with pytest.raises(DataError, match=f"charge_spin of frame 1: {text}"):
                door(**frames(), charge_spin=[[0, 0], row, [0, 0]])
    with pytest.raises(DataError, match=r"charge_spin: found shape \(3,\), expected \(3, 2\)"):
        pot.evaluate(**frames(), charge_spin=[0, 1, 2])


def test_the_appended_vector_is_that_of_the_type_and_of_the_charge_and_spin(strict):
    own = strict.variables["params"]["descriptor"]
    charges = own["charge_spin"]
    rows = [charges["chg_embedding"]["layer"]["matrix"][97], charges["spin_embedding"]["layer"]["matrix"][4]]
    mixed = np.concatenate(rows) @ charges["mix_cs_mlp"]["matrix"] + charges["mix_cs_mlp"]["bias"]
    want = own["type_embedding"]["layer"]["matrix"][S.atype] + mixed / (1.0 + np.exp(-mixed))
    found = strict.descriptor(**frames(1), charge_spin=[[-3, 4]])
    np.testing.assert_allclose(found[0, :, -6:], want, rtol=0, atol=1e-13)


def test_the_classes_of_deepmd_kit(pot, strict):
    dp, need = DeepPot(pot), DeepPot(strict)
    assert (dp.has_chg_spin_ebd(), dp.has_default_chg_spin(), dp.get_dim_chg_spin()) == (True, True, 2)
    assert (need.has_chg_spin_ebd(), need.has_default_chg_spin(), need.get_dim_chg_spin()) == (True, False, 2)
    want = pot.evaluate(**frames(), charge_spin=[[0, 2]] * 3)["energy"]
    given = frames()
    where = given["coord"].reshape(3, -1), given["cell"].reshape(3, 9), S.atype
    for charge_spin in ([0, 2], [[0, 2]] * 3):
        np.testing.assert_array_equal(dp.eval(*where, charge_spin=charge_spin)[0], want)
    with pytest.raises(DataError, match=r"charge_spin: found shape \(3,\), expected \(3, 2\) or \(2,\)"):
        dp.eval(*where, charge_spin=[0, 1, 2])


def test_deviations_are_those_of_models_with_this_charge_and_spin(pot):
    other = jax.tree.map(np.array, pot.variables)
    other["params"]["descriptor"]["charge_spin"]["chg_embedding"]["layer"]["matrix"][100] += 1.0  # of neutral frames
    pots = [pot, pot.with_variables(other)]
    found = model_deviation(pots, **frames(), charge_spin=[[0, 2], [1, 2], [2, 2]])
    assert found.energy[0] > 1e-6
    assert not found.energy[1:].any()
    given = frames()
    table = calc_model_devi(given["coord"], given["cell"], S.atype, [DeepPot(p) for p in pots], charge_spin=[0, 2])
    assert (table[:, -1] > 1e-6).all()


def test_data_with_and_without_charges_are_tested(pot, tmp_path):
    types = S.atype
    rows = np.array([[0, 2], [-1, 3], [0, 2]])
    given = frames()
    for name, charge_spin in (("a", rows), ("b", None)):
        out = pot.evaluate(**given, charge_spin=charge_spin)
        values = {"coord": given["coord"], "box": given["cell"], "energy": out["energy"], "force": out["force"]}
        values = {key: value.reshape(3, -1) for key, value in values.items()}
        tiny.write(tmp_path / name, types, [values | ({} if charge_spin is None else {"charge_spin": rows})])
    report = run_test(pot, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert report.errors["energy"].rmse < 1e-9
    assert report.errors["force"].rmse < 1e-9
    (tmp_path / "a" / "set.000" / "charge_spin.npy").unlink()
    assert run_test(pot, str(tmp_path / "a")).errors["energy"].rmse > 1e-4


def test_the_calculator_follows_the_info_of_atoms(pot):
    ase = pytest.importorskip("ase", reason="ASE is not installed")
    from dpjax.interfaces.ase import DPCalculator

    want = pot.evaluate(**frames(), charge_spin=[[0, 2], [-1, 3], DEFAULT])["energy"][:, 0]
    atoms = ase.Atoms(np.array(["O", "H"])[S.atype], positions=S.coord, cell=S.cell, pbc=True)
    atoms.calc = DPCalculator(quick(pot))
    infos = {"charge_spin": [0, 2]}, {"charge": -1, "spin": 3}, {}
    for info, energy in zip(infos, want, strict=True):
        atoms.info = info
        np.testing.assert_allclose(atoms.get_potential_energy(), energy, rtol=0, atol=1e-11)
    assert atoms.calc.listed.searches == 1
    for info in ({"charge": 0}, {"charge_spin": [0, 1], "charge": 0}, {"charge_spin": [0, 1], "charge": 0, "spin": 2}):
        atoms.info = info
        with pytest.raises(ModelError, match="give this model a charge and a spin"):
            atoms.get_potential_energy()
    atoms.info = {"charge": 0, "spin": 100}
    with pytest.raises(DataError, match="the spin is 100"):
        atoms.get_potential_energy()


@pytest.mark.slow
def test_structures_that_move_in_jax_md(pot):
    pytest.importorskip("jax_md", reason="JAX-MD is not installed")
    from dpjax.interfaces.jax_md import neighbor_fn_and_energy
    from dpjax.interfaces.md import Dynamics, Simulation
    from dpjax.interfaces.structures import Structure

    want = pot.evaluate(**frames(), charge_spin=[[0, 2], [-1, 3], DEFAULT])
    with jax.enable_x64(True):
        for given, energy in zip(([0, 2], None), want["energy"][[0, 2], 0], strict=True):
            functions = neighbor_fn_and_energy(pot, S.cell.T, S.atype, fractional_coordinates=False, charge_spin=given)
            neighbors = functions[0].allocate(S.coord)
            np.testing.assert_allclose(functions[1](S.coord, neighbors), energy, rtol=0, atol=1e-11)
        cells = [S.cell.T] * 2
        many, energy_fn = neighbor_fn_and_energy(pot, cells, [S.atype] * 2, charge_spin=[[0, 2], [-1, 3]])
        coord = np.concatenate([S.coord] * 2)
        each = energy_fn.each(coord, many.allocate(coord))
        np.testing.assert_allclose(each, want["energy"][:2, 0], rtol=0, atol=1e-11)
    symbols, mass = tuple("OH"[t] for t in S.atype), np.where(S.atype == 0, 16.0, 1.0)
    start = Structure(symbols, S.atype, S.coord, S.cell, (True,) * 3, mass, None)
    moving = Simulation(pot, start, Dynamics("nve", temperature=1.0), charge_spin=[-1, 3])
    np.testing.assert_allclose(moving.observe()["potential"], want["energy"][1, 0], rtol=0, atol=1e-10)


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_charged_frame(pot):
    given = frames(1) | {"charge_spin": [[0, 2]]}
    out, h = pot.evaluate(**given, hessian=True), 1e-4
    step = np.zeros_like(S.coord)
    step[3, 1] = h
    up, down = (pot.evaluate(**given | {"coord": (S.coord + sign * step)[None]})["force"][0] for sign in (1, -1))
    np.testing.assert_allclose(out["hessian"][0, 10], -(up - down).ravel() / (2 * h), rtol=0, atol=1e-6)
