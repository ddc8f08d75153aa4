"""A training with electrostatics at long range: corrected labels, and models that add the correction again."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import dpjax
from dpjax.config import load
from dpjax.config.models.modifier import DipoleChargeConfig, DipoleModel
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.dipole_charge import DipoleCharge
from dpjax.interfaces.modifiers import MODIFIERS
from dpjax.interfaces.testing import test_model as compared
from dpjax.training.lcurve import read_lcurve
from dpjax.training.setup import prepare
from dpjax.training.stat_file import statistics_key
from tests.shared import golden
from tests.training import tiny

LABELS = ("energy", "force", "virial")


def section(model: Path | None = None) -> dict:
    """The modifier of the fixture, or with another file."""
    model = golden("dipole_charge", "model.dp") if model is None else model
    return json.loads(golden("dipole_charge", "modifier.json").read_text()) | {"model_name": str(model)}


@functools.cache
def correction() -> DipoleCharge:
    """The modifier of the fixture."""
    dipole = dpjax.load(golden("dipole_charge", "model.dp"))
    config = DipoleChargeConfig(**section(), dipole=DipoleModel(dipole.config, dipole.variables))
    return DipoleCharge(config, tiny.TYPE_MAP, "corrected")


def corrections(coord, atype, cell) -> dict[str, list]:
    """What the modifier of the fixture says of frames."""
    return correction().of(coord, atype, cell)


@dataclass(frozen=True)
class Trained:
    config: dict
    system: Path
    output: Path

    def frames(self) -> dict:
        """Arguments of ``evaluate``, atoms in the order of the files."""
        values = {name: np.load(self.system / "set.000" / f"{name}.npy") for name in ("coord", "box")}
        types = np.loadtxt(self.system / "type.raw", dtype=int)
        return {"coord": values["coord"].reshape(4, -1, 3), "atype": types, "cell": values["box"].reshape(4, 3, 3)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """Six steps with checkpoints at 3 and 6; the file of the dipole model is gone when they are over."""
    folder = tmp_path_factory.mktemp("modifier")
    system = tiny.system(folder / "system")
    copy = folder / "dipole.dp"
    shutil.copy(golden("dipole_charge", "model.dp"), copy)
    validation = {"systems": [str(system)], "batch_size": 4}
    edits = {"model/modifier": section(copy), "training/validation_data": validation}
    config = tiny.config([system], edits)
    dpjax.train(config, folder / "out")
    copy.unlink()
    return Trained(config, system, folder / "out")


@pytest.fixture(scope="module")
def pot(trained) -> dpjax.Potential:
    return dpjax.load(trained.output)


def test_batches_hold_labels_without_the_correction(tmp_path):
    system = tiny.system(tmp_path / "system")
    plain = prepare(load(tiny.config([system]))).training
    setup = prepare(load(tiny.config([system], {"model/modifier": section()})), modifiers=MODIFIERS)
    own, theirs = setup.training.systems[0], plain.systems[0]
    arrays, before = own.arrays(range(4), [*LABELS, "coord", "box"]), theirs.arrays(range(4), [*LABELS, "coord"])
    taken = corrections(arrays["coord"], [own.types] * 4, arrays["box"].reshape(4, 3, 3))
    np.testing.assert_array_equal(arrays["coord"], before["coord"])
    for name in LABELS:
        expected = before[name] - np.array(taken[name]).reshape(before[name].shape)
        np.testing.assert_allclose(arrays[name], expected, atol=1e-10)
        assert np.abs(arrays[name] - before[name]).max() > 1e-2
    bias = np.ravel(setup.variables["stats"]["out_bias"])
    counts = np.bincount(own.types, minlength=2)
    np.testing.assert_allclose(bias @ counts, arrays["energy"].mean(), rtol=1e-6)
    batch, ((_, frames),) = setup.training.next_batch(1)
    np.testing.assert_allclose(batch.label["energy"][: len(frames)], arrays["energy"][frames], rtol=1e-12)


def test_the_correction_of_a_system_is_computed_once(tmp_path, monkeypatch):
    setup = prepare(
        load(tiny.config([tiny.system(tmp_path / "s")], {"model/modifier": section()})), modifiers=MODIFIERS
    )

    def forbidden(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(DipoleCharge, "of", forbidden)
    system = setup.training.systems[0]
    assert system.arrays([3, 1], LABELS)["force"].shape == (2, 6, 3)


def test_statistics_that_are_kept_are_those_of_corrected_labels():
    keys = set()
    for edits in ({}, {"model/modifier": section()}, {"model/modifier": section() | {"ewald_beta": 0.5}}):
        keys.add(statistics_key(load(tiny.config(["data"], edits)).model))
    assert len(keys) == 3


def test_a_checkpoint_holds_the_dipole_model(trained, pot):
    frames = trained.frames()
    network = dpjax.Potential(
        dpjax.config.parse_model({k: v for k, v in pot.config.raw.items() if k != "modifier"}), pot.variables
    )
    out, plain = pot.evaluate(**frames), network.evaluate(**frames)
    added = corrections(frames["coord"], [frames["atype"]] * 4, frames["cell"])
    for name in LABELS:
        np.testing.assert_allclose(out[name], plain[name] + np.array(added[name]), atol=1e-9)
    listed = pot.evaluate(list(frames["coord"]), [frames["atype"]] * 4, list(frames["cell"]))
    np.testing.assert_allclose(np.array(listed["force"]), out["force"], atol=1e-11)
    each = pot.evaluate_frames(pot.frames(**frames))
    np.testing.assert_allclose([frame["energy"] for frame in each], out["energy"], atol=1e-11)


@pytest.mark.slow
def test_forces_and_virial_are_derivatives_of_the_energy(trained, pot):
    frames = trained.frames()
    coord, cell, step = frames["coord"][:1], frames["cell"][:1], 1e-4
    out = pot.evaluate(coord, frames["atype"], cell)

    def energy(moved, strained=None):
        return pot.evaluate(moved, frames["atype"], cell if strained is None else strained)["energy"][0, 0]

    for atom, axis in ((0, 1), (1, 2)):
        shift = np.zeros_like(coord)
        shift[0, atom, axis] = step
        numeric = -(energy(coord + shift) - energy(coord - shift)) / (2 * step)
        assert abs(numeric - out["force"][0, atom, axis]) < 1e-5
    strain = np.zeros((3, 3))
    strain[0, 1] = step  # e_ba of virial[3a+b] with a = 1, b = 0
    plus, minus = (energy(coord @ (np.eye(3) + s * strain), cell @ (np.eye(3) + s * strain)) for s in (1, -1))
    assert abs(-(plus - minus) / (2 * step) - out["virial"][0, 3]) < 1e-5


@pytest.mark.slow
def test_a_restart_needs_no_file_of_the_dipole_model(trained, tmp_path):
    dpjax.train(trained.config, tmp_path / "again", restart=trained.output / "model.ckpt-3")
    frames = trained.frames()
    first, second = (dpjax.load(folder).evaluate(**frames) for folder in (trained.output, tmp_path / "again"))
    for name in LABELS:
        np.testing.assert_allclose(second[name], first[name], atol=1e-10)
    other = tiny.edited(trained.config, {"model/modifier/ewald_beta": 0.5})
    with pytest.raises(ConfigError, match="model/modifier"):
        dpjax.train(other, tmp_path / "other", restart=trained.output / "model.ckpt-3")


def test_validation_errors_are_those_on_the_whole_labels(trained, pot):
    report = compared(pot, trained.system)  # as `dpjax test` does
    curve = read_lcurve(trained.output / "lcurve.out")
    for name, column in (("force", "rmse_f_val"), ("energy_per_atom", "rmse_e_val")):
        assert report.systems[0].errors[name].rmse == pytest.approx(curve[column][-1], rel=0.01)


@pytest.mark.slow
def test_ase_gives_the_same_as_evaluate_while_its_lists_serve(trained, pot):
    frames = trained.frames()
    symbols = np.array(tiny.TYPE_MAP)[frames["atype"]]
    atoms = Atoms(symbols, positions=frames["coord"][0], cell=frames["cell"][0], pbc=True)
    calc = atoms.calc = DPCalculator(pot)
    rng = np.random.default_rng(0)
    for _ in range(3):
        out = pot.evaluate(atoms.positions[None], frames["atype"], atoms.cell.array[None])
        np.testing.assert_allclose(atoms.get_potential_energy(), out["energy"][0, 0], atol=1e-10)
        np.testing.assert_allclose(atoms.get_forces(), out["force"][0], atol=1e-9)
        stress = -out["virial"][0].reshape(3, 3) / atoms.get_volume()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), (stress + stress.T) / 2, atol=1e-10)
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
    assert calc.listed.searches == 1 and calc.listed.correction.searches == 1
    atoms.pbc = (True, True, False)
    with pytest.raises(DataError, match="repeats in all directions"):
        atoms.get_potential_energy()


def test_what_is_not_built_is_refused(trained, pot, tmp_path):
    frames = trained.frames()
    for options in ({"atomic": True}, {"hessian": True}):
        with pytest.raises(ModelError, match="modifier dipole_charge"):
            pot.evaluate(**frames, **options)
    with pytest.raises(DataError, match="frame 0.*dipole_charge"):
        pot.evaluate(frames["coord"], frames["atype"])
    with pytest.raises(ModelError, match="modifier dipole_charge"):
        dpjax.save(pot, tmp_path / "model.dp")


@pytest.mark.slow
def test_mistakes_are_named(tmp_path):
    system = tiny.system(tmp_path / "system")
    cases = {
        "model/modifier/sys_charge_map": ([1.0], "sys_charge_map"),
        "model/modifier/model_charge_map": ([-8.0, 1.0], "model_charge_map.*centroids on 1 types"),
        "model/modifier/model_name": (str(tmp_path / "none.dp"), "model_name.*cannot be read"),
        "model/type_map": (["O", "H", "C"], "sys_charge_map|does not know C"),
    }
    for path, (value, message) in cases.items():
        given = tiny.config([system], {"model/modifier": section()})
        with pytest.raises(ConfigError, match=message):
            dpjax.train(tiny.edited(given, {path: value}), tmp_path / "out")
    energies = tiny.config([system], {"model/modifier": section(golden("models", "se_e2_r_sel_overflow", "model.dp"))})
    with pytest.raises(ConfigError, match="predicts energy"):
        dpjax.train(energies, tmp_path / "out")


def test_open_systems_and_labels_of_atoms_are_refused(tmp_path):
    types = np.array([1, 0, 1])
    open_system = tiny.write(tmp_path / "open", types, [tiny.arrays(types, 2, 0, virial=False)], nopbc=True)
    with pytest.raises(DataError, match="has no cell"):
        edits = {"model/modifier": section(), "loss/start_pref_v": 0, "loss/limit_pref_v": 0}
        dpjax.train(tiny.config([open_system], edits), tmp_path / "out")
    values = tiny.arrays(types, 2, 0) | {"atom_ener": np.zeros((2, 3))}
    atomic = tiny.write(tmp_path / "atomic", types, [values])
    edits = {"model/modifier": section(), "loss/start_pref_ae": 1, "loss/limit_pref_ae": 1}
    with pytest.raises(ConfigError, match="atom_ener"):
        dpjax.train(tiny.config([atomic], edits), tmp_path / "out")


@pytest.mark.slow
def test_from_the_dipole_model_to_forces(tmp_path):
    """Both trainings: the dipole model's output folder is named in the input of the energy model."""
    types = np.where(np.arange(6) % 3 == 1, 0, 1)
    values = tiny.arrays(types, 4, 0)
    rng = np.random.default_rng(0)
    values["atomic_dipole"] = 0.1 * rng.normal(size=(4, 3 * 2))  # of the two atoms of type 0
    system = tiny.write(tmp_path / "system", types, [values])
    loss = {"type": "tensor", "pref": 0.0, "pref_atomic": 1.0}
    net = {"type": "dipole", "sel_type": [0], "neuron": [6, 6], "seed": 1}
    given = tiny.config([system]) | {"loss": loss}
    dpjax.train(tiny.edited(given, {"model/fitting_net": net}), tmp_path / "dipole")
    own = section(tmp_path / "dipole")
    dpjax.train(tiny.config([system], {"model/modifier": own}), tmp_path / "energy")
    shutil.rmtree(tmp_path / "dipole")
    pot = dpjax.load(tmp_path / "energy")
    assert pot.config.modifier.dipole.config.conventions == "corrected"
    out = pot.evaluate(values["coord"].reshape(4, 6, 3), types, values["box"].reshape(4, 3, 3))
    np.testing.assert_allclose(out["force"].sum(axis=1), 0.0, atol=1e-10)
    virial = out["virial"].reshape(4, 3, 3)
    np.testing.assert_allclose(virial, virial.swapaxes(1, 2), atol=1e-9)  # the energy is invariant under rotations
