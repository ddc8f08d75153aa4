"""The classes of ``deepmd.infer`` here: arguments and return values; their numbers are those of ``Potential.evaluate``."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.formats import read_model_tree, write_model_tree
from dpjax.interfaces.deepmd import (
    DeepDipole,
    DeepDOS,
    DeepEval,
    DeepPolar,
    DeepPot,
    DeepPotential,
    DeepProperty,
    calc_model_devi,
)
from dpjax.interfaces.deepmd.inputs import read_inputs
from dpjax.interfaces.deviation import model_deviation
from tests.contracts.cases import model, potential, se_atten, se_e2_a
from tests.contracts.structures import make
from tests.training import tiny

A = make("crystal", seed=1)
COORD = np.stack([A.coord, A.coord + 0.01])
CELL = np.stack([A.cell, A.cell])
NO_SIZES = {"dim_fparam": 0, "dim_aparam": 0}


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(model(se_e2_a(), fitting={"numb_fparam": 2, "default_fparam": [0.5, -1.0]}))


@pytest.fixture(scope="module")
def dp(pot) -> DeepPot:
    return DeepPot(pot)


def test_energies(pot, dp):
    want = pot.evaluate(COORD, A.atype, CELL, np.zeros((2, 2)), atomic=True)
    flat = COORD.reshape(2, -1), CELL.reshape(2, 9), A.atype.tolist()
    found = dp.eval(*flat, True, [0.0, 0.0])
    names = ("energy", "force", "virial", "atom_energy", "atom_virial")
    assert len(found) == 5
    for name, values in zip(names, found):
        np.testing.assert_array_equal(values, want[name])
    types = np.stack([A.atype] * 2)
    in_portions = DeepPot(pot, auto_batch_size=15)
    mixed = in_portions.eval(
        COORD.tolist(), CELL.tolist(), types, atomic=True, fparam=np.zeros((2, 2)), mixed_type=True
    )
    for one, other in zip(found, mixed):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)
    with pytest.raises(ModelError, match="charge_spin was given"):
        dp.eval(*flat, charge_spin=np.zeros((2, 2)))
    with pytest.raises(ModelError, match="efield was given"):
        dp.eval(*flat, efield=np.zeros((2, 11, 3)))
    with pytest.raises(TypeError, match="colour"):
        dp.eval(*flat, colour=1)


def test_portions():
    inputs = read_inputs(np.zeros((5, 4, 3)), None, [0, 0, 1, 1], False, **NO_SIZES)
    sizes = {atoms: [part.n_frame for part in inputs.portions(atoms)] for atoms in (None, 1, 8, 100)}
    assert sizes == {None: [5], 1: [1] * 5, 8: [2, 2, 1], 100: [5]}
    none = read_inputs(np.zeros((0, 12)), np.zeros((0, 9)), [0, 0, 1, 1], False, **NO_SIZES)
    assert [part.coord.shape for part in none.portions(8)] == [(0, 4, 3)]


def test_parameters_for_all_or_for_each():
    sizes = {"dim_fparam": 2, "dim_aparam": 1}

    def given(**parameters):
        return read_inputs(np.zeros((2, 9)), None, np.zeros(3, int), False, **sizes, **parameters).parameters

    assert given(fparam=[1, 2])["fparam"].tolist() == [[1, 2], [1, 2]]
    assert given(aparam=[5])["aparam"].tolist() == [[[5]] * 3] * 2
    assert given(aparam=[1, 2, 3])["aparam"][1, :, 0].tolist() == [1, 2, 3]
    assert given(aparam=np.arange(6))["aparam"][1, :, 0].tolist() == [3, 4, 5]
    with pytest.raises(DataError, match=r"fparam: found shape \(3,\), expected \(2, 2\) or \(2,\)"):
        given(fparam=[1, 2, 3])
    with pytest.raises(ModelError, match=r"fparam was given .*get_dim_fparam\(\) is 0"):
        read_inputs(np.zeros((1, 3)), None, [0], False, **NO_SIZES, fparam=[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 10)), None, [0, 0, 0], False), "found 20 numbers, expected a multiple of 9 for 3 atoms"),
        ((np.zeros((2, 9)), None, np.zeros((2, 3), int), False), "types of every frame need mixed_type=True"),
        ((np.zeros((2, 9)), None, [0, 0, 0], True), r"found shape \(3,\), expected \(n_frame, n_atom\) with mixed_type"),
        ((np.zeros((2, 9)), None, np.zeros((3, 3), int), True), "found 3 frames, expected 2 as in coords"),
        ((np.zeros((2, 9)), np.zeros(9), [0, 0, 0], False), r"cells: found shape \(9,\), expected the numbers of \(2, 3, 3\)"),
        ((np.zeros((2, 9)), None, [0.0, 0.0, 1.0], False), "found float64, expected integers"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_frames(arguments, message):
    with pytest.raises(DataError, match=message):
        read_inputs(*arguments, **NO_SIZES)


def test_facts(dp):
    facts = {
        name: getattr(dp, f"get_{name}")()
        for name in ("rcut", "ntypes", "type_map", "sel_type", "dim_fparam", "dim_aparam")
    }
    assert facts == {
        "rcut": 3.0,
        "ntypes": 2,
        "type_map": ["O", "H"],
        "sel_type": [0, 1],
        "dim_fparam": 2,
        "dim_aparam": 0,
    }
    assert dp.has_default_fparam() and not (dp.has_efield or dp.has_spin or dp.use_spin or dp.has_hessian)
    size = dp.get_model_size()
    assert size["total"] == size["descriptor"] + size["fitting-net"] > 0
    assert dp.get_observed_types() == {"type_num": 2, "observed_type": ["H", "O"]}
    assert dp.get_model_def_script()["descriptor"]["type"] == "se_e2_a"
    assert dp.serialize()["type_map"] == ["O", "H"] and dp.get_model() is dp.potential.model
    with dp as same:
        assert same is dp
    with pytest.raises(KeyError, match="networks for each type"):
        dp.eval_typeebd()


def test_features(pot, dp):
    where = COORD.reshape(2, -1), CELL.reshape(2, -1), np.where(A.atype == 1, 1, -1)
    descriptor, last_layer, structure = dp.eval_embedding(*where, dtype="native")
    assert descriptor.shape == (2, 11, 16) and last_layer.shape == (2, 11, 6)
    assert not descriptor[:, A.atype == 0].any() and not last_layer[:, A.atype == 0].any()
    np.testing.assert_allclose(structure, last_layer.sum(axis=1), rtol=1e-12)
    assert dp.eval_descriptor(*where, dtype="fp32").dtype == np.float32
    with pytest.raises(ValueError, match="expected one of fp32, fp64, native"):
        dp.eval_descriptor(*where, dtype="half")


@pytest.mark.slow
def test_tensors():
    dipole = DeepEval(potential(model(se_e2_a(), fitting={"type": "dipole", "sel_type": [1]})))
    assert type(dipole) is DeepDipole and dipole.get_sel_type() == [1]
    tensor, force, virial, atoms, atom_virial = dipole.eval_full(COORD, CELL, A.atype, atomic=True)
    assert [x.shape for x in (tensor, force, virial, atoms)] == [(2, 3), (2, 3, 11, 3), (2, 3, 9), (2, 11, 3)]
    np.testing.assert_allclose(atom_virial.sum(axis=2), virial, rtol=0, atol=1e-10)
    np.testing.assert_allclose(force.sum(axis=2), 0, atol=1e-10)
    assert not atoms[:, A.atype == 0].any()


@pytest.mark.slow
def test_other_outputs():
    polar = DeepPolar(potential(model(se_atten(), fitting={"type": "polar"})))
    assert polar.eval(COORD, CELL, A.atype).shape == (2, 11, 9)
    assert polar.eval(COORD, CELL, A.atype, atomic=False).shape == (2, 9)
    with pytest.raises(ModelError, match="models of polarizability have no derivatives"):
        polar.eval_full(COORD, CELL, A.atype)
    dos = DeepEval(potential(model(se_e2_a(), fitting={"type": "dos", "numb_dos": 4})))
    assert type(dos) is DeepDOS and dos.get_numb_dos() == dos.numb_dos == 4
    assert [array.shape for array in dos.eval(COORD, CELL, A.atype, atomic=True)] == [(2, 4), (2, 11, 4)]
    section = model(se_e2_a(), fitting={"type": "property", "property_name": "gap", "task_dim": 3, "intensive": True})
    gap = DeepEval(potential(section))
    assert type(gap) is DeepProperty
    assert (gap.get_var_name(), gap.get_task_dim(), gap.get_intensive()) == ("gap", 3, True)
    (found,) = gap.eval(COORD, CELL, A.atype)
    assert found.shape == (2, 3)


@pytest.mark.slow
def test_models_trained_on_hessians_give_them(tmp_path):
    """DeePMD-kit marks such models in their files; here the loss of a checkpoint says so, too."""
    pot = potential(model(se_e2_a()))
    dpjax.save(pot, tmp_path / "plain.dp")
    tree = read_model_tree(tmp_path / "plain.dp")
    write_model_tree(
        tmp_path / "marked.dp", tree | {"model_def_script": tree["model_def_script"] | {"hessian_mode": True}}
    )
    assert not DeepPot(tmp_path / "plain.dp").has_hessian
    dp = DeepPot(tmp_path / "marked.dp")
    assert dp.has_hessian
    *_, hessian = found = dp.eval(A.coord, A.cell, A.atype)
    assert len(found) == 4
    np.testing.assert_allclose(
        hessian, pot.evaluate(A.coord[None], A.atype, A.cell[None], hessian=True)["hessian"], rtol=1e-9, atol=1e-9
    )
    system = tiny.system(tmp_path / "data")
    np.save(system / "set.000" / "hessian.npy", np.zeros((4, 18 * 18)))
    edits = tiny.ENERGY_ONLY | {"training/numb_steps": 0, "loss/start_pref_h": 1, "loss/limit_pref_h": 1}
    dpjax.train(tiny.config([system], edits), tmp_path / "run")
    assert DeepPot(tmp_path / "run").has_hessian


def test_opening(pot, tmp_path, monkeypatch):
    dpjax.save(pot, tmp_path / "model.dp")
    for factory in (DeepEval, DeepPotential):
        assert type(factory(tmp_path / "model.dp", auto_batch_size=False)) is DeepPot
    number = DeepPot(str(tmp_path / "model.dp"), auto_batch_size=SimpleNamespace(current_batch_size=64))
    assert number._atoms_at_once == 64 and number.get_rcut() == 3.0
    with pytest.raises(ModelError, match="predicts energy; open it with DeepPot"):
        DeepDipole(pot)
    for options, message in (
        ({"neighbor_list": object()}, "dpjax finds neighbours itself"),
        ({"no_jit": True}, "no TorchScript here"),
        ({"nlist_backend": "native"}, "expected 'auto' or 'vesin'"),
        ({"head": "water"}, "loaded already"),
    ):
        with pytest.raises(ModelError, match=message):
            DeepPot(pot, **options)
    with pytest.raises(TypeError, match="auto_batch_size: found 'many'"):
        DeepPot(pot, auto_batch_size="many")
    from dpjax.interfaces.deepmd import opening

    monkeypatch.setattr(opening, "branches", lambda path: ("Water", "Default", "ice"))
    chosen = [opening._branch("run", head) for head in (None, "water", "ICE", "steam")]
    assert chosen == ["Default", "Water", "ice", "steam"]


@pytest.mark.slow
def test_deviation(pot, dp, tmp_path):
    other = DeepPot(pot.with_variables(potential(pot.config.raw, seed=3).variables))
    where = COORD.reshape(2, -1), CELL, A.atype
    found = calc_model_devi(*where, [dp, other], tmp_path / "devi.out", frequency=10, atomic=True)
    want = model_deviation([pot, other.potential], COORD, A.atype, CELL)
    np.testing.assert_array_equal(found, np.concatenate([[[0], [10]], want.table, want.atoms], axis=1))
    calc_model_devi(*where, [dp, other], tmp_path / "devi.out", frequency=10, atomic=True)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "devi.out"), np.concatenate([found, found]), rtol=1e-6)  # added
    energy, force, virial = dp.eval(*where)
    real = {"energy": energy / 11 + 0.1, "force": force, "virial": virial / 11}
    np.testing.assert_allclose(calc_model_devi(*where, [dp], real_data=real)[:, 1:], [[0] * 6 + [0.1]] * 2, atol=1e-9)
    with pytest.raises(DataError, match="force, virial missing"):
        calc_model_devi(*where, [dp], real_data={"energy": energy})
    with pytest.raises(ConfigError, match="found 0 model"):
        calc_model_devi(*where, [])
