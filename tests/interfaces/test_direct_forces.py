"""Models that give forces directly, through every door: what they give, and what is refused because forces are no derivatives."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax.export
from dpjax.compress.checks import check_compressible
from dpjax.errors import ModelError
from dpjax.export import Artifact
from dpjax.export.runtime import ArtifactError
from dpjax.interfaces.deepmd import DeepPot
from dpjax.interfaces.deviation import model_deviation
from dpjax.interfaces.files import from_weights, load, save
from dpjax.interfaces.spread import SpreadPotential
from dpjax.interfaces.testing import test_model as compared
from tests.shared import golden
from tests.training import tiny

DIRECT = "trained with the loss dens and gives its forces directly"


@pytest.fixture(scope="module")
def pot():
    folder = golden("dpa4", "dens")
    return from_weights(json.loads((folder / "model.json").read_text()), dict(np.load(folder / "weights.npz")))


@pytest.fixture(scope="module")
def water(pot):
    """Coordinates, types and cells of two frames, and what the model says about them."""
    ref = np.load(golden("dpa4", "dens") / "ref.npz")
    given = ref["ortho.coord"], ref["ortho.atype"], ref["ortho.box"]
    return given, pot.evaluate(*given, atomic=True)


@pytest.fixture(scope="module")
def frozen(pot, tmp_path_factory):
    return dpjax.export.save(pot, tmp_path_factory.mktemp("frozen") / "model.dpx", platforms=("cpu",))


def test_energies_and_forces_and_no_virials(pot, water):
    given, out = water
    shapes = {"energy": (2, 1), "force": (2, 12, 3), "atom_energy": (2, 12, 1), "mask": (2, 12)}
    assert {name: values.shape for name, values in out.items()} == shapes
    np.testing.assert_allclose(out["atom_energy"].sum(axis=1), out["energy"], rtol=1e-12)
    none = pot.evaluate(given[0][:0], given[1], given[2][:0])
    assert {name: values.shape for name, values in none.items()} == {"energy": (0, 1), "force": (0, 12, 3)}


def test_forces_are_no_derivatives(pot, water):
    given, out = water
    step, moved = 1e-4, given[0].copy()
    moved[:, 0, 0] += step
    slope = (pot.evaluate(moved, *given[1:])["energy"] - out["energy"])[:, 0] / step
    assert np.abs(slope + out["force"][:, 0, 0]).max() > 0.1


def test_features(pot, water):
    given, _ = water
    ref = np.load(golden("dpa4", "dens") / "ref.npz")
    found = pot.features(*given)
    assert found["fitting_last_layer"].shape == (2, 12, 32)
    assert found["descriptor"].shape == ref["ortho.descriptor"].shape


def test_artifacts(pot, frozen, water):
    given, want = water
    again = load(frozen)
    assert again.config.direct_forces and again.conventions == "reference"
    for name, values in again.evaluate(*given).items():
        np.testing.assert_array_equal(values, want[name])
    artifact = Artifact(frozen)
    assert artifact.manifest["direct_forces"] and artifact.manifest["format_version"] == 6
    for options in ({"atomic": True}, {"search_on_device": True}):
        out = artifact.evaluate(*given, **options)
        assert set(out) == ({"energy", "force", "atom_energy", "mask"} if "atomic" in options else {"energy", "force"})
        for name, values in out.items():
            np.testing.assert_allclose(values, want[name], rtol=0, atol=1e-11)
    np.testing.assert_allclose(artifact.evaluate(*given, force=False)["energy"], want["energy"], rtol=1e-12)
    with pytest.raises(ArtifactError, match="holds no program for Hessians"):
        artifact.evaluate(*given, hessian=True)


def test_ase(pot, water):
    ase = pytest.importorskip("ase")
    from ase.calculators.calculator import PropertyNotImplementedError

    from dpjax.interfaces.ase import DPCalculator

    given, out = water
    symbols = [pot.type_map[t] for t in given[1]]
    atoms = ase.Atoms(symbols, positions=given[0][0], cell=given[2][0].reshape(3, 3), pbc=True)
    atoms.calc = DPCalculator(pot)
    np.testing.assert_allclose(atoms.get_potential_energy(), out["energy"][0, 0], rtol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), out["force"][0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(atoms.get_potential_energies(), out["atom_energy"][0, :, 0], rtol=1e-11)
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        atoms.get_stress()
    assert "stress" in DPCalculator.implemented_properties  # of other models


def test_errors_of_energies_and_forces_only(pot, tmp_path):
    report = compared(pot, str(tiny.system(tmp_path / "water")))
    assert set(report.systems[0].comparisons) == {"energy", "energy_per_atom", "force"}


def test_what_is_refused(pot, water, tmp_path):
    given, _ = water
    coord, atype, cell = given
    with pytest.raises(ModelError, match=f"hessian: this model was {DIRECT}"):
        pot.evaluate(*given, hessian=True)
    with pytest.raises(ModelError, match=f"hessian: this model was {DIRECT}"):
        dpjax.export.save(pot, tmp_path / "model.dpx", platforms=("cpu",), hessian=True)
    with pytest.raises(ModelError, match="is not written for DeePMD-kit"):
        save(pot, tmp_path / "model.dp")
    with pytest.raises(ModelError, match=f"DeepPot.eval, which returns virials: this model was {DIRECT}"):
        DeepPot(pot).eval(coord, cell, atype)
    with pytest.raises(ModelError, match=f"model deviations, .*: this model was {DIRECT}"):
        model_deviation([pot, pot], *given)
    with pytest.raises(ModelError, match=f"one structure on several devices: this model was {DIRECT}"):
        SpreadPotential(pot)
    with pytest.raises(ModelError, match="cannot be compressed"):
        check_compressible(pot.config)


def test_nothing_moves_by_it(pot, water):
    pytest.importorskip("jax_md")
    from dpjax.interfaces.jax_md import neighbor_fn_and_energy

    (_, atype, cell), _ = water
    with pytest.raises(ModelError, match=f"molecular dynamics and energy functions: this model was {DIRECT}"):
        neighbor_fn_and_energy(pot, cell[0].reshape(3, 3).T, atype)
