"""Spins as an input of an artifact: a caller says where atoms are and what spins they have; virtual atoms are made here."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.export import Artifact, ArtifactError, fixed_program, runtime, save, writer
from dpjax.export.program import entries
from tests.contracts.cases import dpa3, hybrid, model, potential, se_atten, se_e2_a, se_e2_r
from tests.export.frames import assert_close, frame, thin_frame, together
from tests.shared import golden

SPIN = {"use_spin": [True, False], "virtual_scale": [0.3]}
SMALL = model(se_e2_a(sel=[7, 9], neuron=[2, 4]), spin=SPIN)
MIXED = model(se_atten(sel=11, attn_layer=0), spin=SPIN)
PASSING = model(dpa3({"nlayers": 1, "update_angle": False, "e_sel": 14, "a_sel": 10}), spin=SPIN)
BOTH = model(hybrid(se_e2_a(rcut=2.6, sel=[7, 9]), se_e2_r(sel=[9, 8])), spin=SPIN)


def only(monkeypatch, *names: str) -> None:
    """Of the entry points the artifacts get these; this saves time."""
    monkeypatch.setattr(
        writer, "entries", lambda config, hessian: [e for e in entries(config, hessian=hessian) if e.name in names]
    )


def wanted(pot: dpjax.Potential, frames: list[dict], **options) -> list[dict]:
    out = pot.evaluate(**together(frames), **options)
    return [{name: rows[i][None] for name, rows in out.items()} for i in range(len(frames))]


def compare(got: dict, want: dict, where: str = "") -> None:
    """Equal masks, and all else to rounding."""
    np.testing.assert_array_equal(got.pop("mask_mag"), want["mask_mag"], err_msg=where)
    assert_close(got, {name: value for name, value in want.items() if name != "mask_mag"}, where=where)


def test_equal_to_evaluate(monkeypatch, tmp_path):
    """In a cell that is thinner than the cut-off, with more neighbours than ``sel``; zero spins, and placeholders."""
    only(monkeypatch, "energy_force_virial")
    pot = potential(SMALL)
    artifact = Artifact(save(pot, tmp_path / "model.dpx", ("cpu",)))
    assert artifact.type_map == ["O", "H"] and artifact.manifest["format_version"] == 7
    assert artifact.manifest["spin"] == {"scale": [0.3, 0.0], "may_be_zero": True}
    assert artifact.manifest["entries"]["energy_force_virial"]["outputs"]["force_mag"]["unit"] == "eV per unit of spin"
    frames = [thin_frame(spin=3), frame(15, spin=3)]
    frames[0]["atype"], frames[0]["spin"][0, 1] = np.array([1, 0, 0]), 0.0
    frames[1]["atype"][4] = -1
    frames[1]["coord"] += np.array([40.0, -25.0, 3.0])  # outside of the cell
    for given, want in zip(frames, wanted(pot, frames), strict=True):
        compare(artifact.evaluate(**given), want)
    assert artifact.programs == 1
    again = dpjax.load(tmp_path / "model.dpx")
    assert again.config.virtual_scale == (0.3, 0.0) and again.type_map == ["O", "H"]
    for a, b in zip(jax.tree.leaves(again.variables), jax.tree.leaves(pot.variables), strict=True):
        np.testing.assert_array_equal(a, b)
    refuses_what_does_not_fit(artifact, frames[1])


def refuses_what_does_not_fit(artifact: Artifact, given: dict) -> None:
    with pytest.raises(ArtifactError, match=r"needs spin of shape \(1, 15, 3\), the magnetic moment of each atom"):
        artifact.evaluate(**{name: value for name, value in given.items() if name != "spin"})
    with pytest.raises(ArtifactError, match=r"spin: found shape \(1, 14, 3\), expected \(1, 15, 3\)"):
        artifact.evaluate(**given | {"spin": given["spin"][:, 1:]})
    with pytest.raises(ArtifactError, match="spin of frame 0: found a number that is not finite"):
        artifact.evaluate(**given | {"spin": np.where(given["spin"] > 0, np.nan, 0.0)})
    on_one_point = given["coord"].copy()
    on_one_point[0, 1] = on_one_point[0, 0]
    with pytest.raises(ArtifactError, match="atoms 0 and 1 are on one point"):
        artifact.evaluate(**given | {"coord": on_one_point})
    artifact.manifest["spin"]["may_be_zero"] = False
    carrier = np.flatnonzero(given["atype"] == 0)[0]
    zero = given["spin"].copy()
    zero[0, carrier] = 0.0
    with pytest.raises(ArtifactError, match=f"spin of frame 0: that of atom {carrier} is zero"):
        artifact.evaluate(**given | {"spin": zero})


def test_models_without_spins_take_none(plain):
    with pytest.raises(ArtifactError, match="spin was given but this model takes none"):
        Artifact(plain).evaluate(**frame(3, spin=3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "section", [SMALL, MIXED, PASSING, BOTH], ids=["by type", "type vectors", "messages", "hybrid"]
)
def test_every_entry_point(section, monkeypatch, tmp_path):
    """Two frames at once, values of atoms, neighbours found by the program, second derivatives."""
    only(monkeypatch, "energy", "atomic", "from_coordinates", "hessian")
    pot = potential(section)
    artifact = Artifact(save(pot, tmp_path / "model.dpx", ("cpu",), hessian=True))
    frames = [frame(13, spin=3), frame(13, spin=3, seed=1), frame(13, spin=3, periodic=False), thin_frame(spin=3)]
    frames[2]["atype"][[0, 3]] = -1
    want = wanted(pot, frames, atomic=True, hessian=True)
    both = {name: np.concatenate([frames[0][name], frames[1][name]]) for name in frames[0] if name != "atype"}
    both["atype"] = np.stack([f["atype"] for f in frames[:2]])
    got = artifact.evaluate(**both, atomic=True, hessian=True)
    compare(got, {name: np.concatenate([w[name] for w in want[:2]]) for name in want[0]}, "two frames")
    for given, own in zip(frames[2:], want[2:], strict=True):
        compare(artifact.evaluate(**given, atomic=True, hessian=True), own)
    for given, own in zip(frames, want, strict=True):
        few = {name: own[name] for name in ("energy", "force", "virial", "force_mag", "mask_mag")}
        compare(artifact.evaluate(**given, search_on_device=True), few, "from coordinates")
        found = artifact.evaluate(**given, force=False)
        assert set(found) == {"energy"}
        np.testing.assert_allclose(found["energy"], own["energy"], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["spin_dpa3"])
def test_reference_model(case, monkeypatch, tmp_path):
    """A model of DeePMD-kit, which is in the artifact as it is in its own file."""
    only(monkeypatch, "atomic")
    pot = dpjax.load(golden("models", case) / "model.dp")
    artifact = Artifact(save(pot, tmp_path / "model.dpx", ("cpu",)))
    given = frame(20, spin=3)
    given["atype"] = given["atype"] % len(pot.type_map)
    compare(artifact.evaluate(**given, atomic=True), wanted(pot, [given], atomic=True)[0])


@pytest.mark.slow
def test_a_module_of_fixed_sizes():
    """A host in another language gives coordinates, spins and a cell, and looks at the flags."""
    pot, given = potential(SMALL), frame(20, spin=3)
    made = fixed_program(pot, (16, 16), (16, 16, 16, 1), 27, (8, 16, 8, 1), block=16)
    assert ("atoms/0/spin", "float64", (1, 16, 3)) in made.inputs
    manifest = {
        "type_map": pot.type_map,
        "numb_fparam": 0,
        "numb_aparam": 0,
        "default_fparam": None,
        "inputs": {},
        "sel": pot.model.sel,
        "spin": {"scale": [0.3, 0.0], "may_be_zero": True},
    }
    parts = (given["coord"], given["atype"], given["cell"], None, None)
    [one] = runtime._frames(manifest, *parts, spin=given["spin"])
    division = runtime.divide(one, pot.rcut)
    structure, places = runtime.pack([one], runtime.Sizes(1, (1, 1), (16, 16), (16, 16, 16, 0)), by_type=True)
    structure |= division.arrays() | {
        "bins": np.zeros(27, np.int8),
        "bin_atoms": [np.zeros(n, np.int8) for n in (8, 16, 8, 1)],
    }
    with jax.enable_x64(True):
        out = jax.device_get(made.exported.call(structure))
    want = pot.evaluate(**given)
    assert out["flags"][0] == 0
    np.testing.assert_allclose(out["energy"], want["energy"], rtol=1e-12)
    for name in ("force", "force_mag"):
        np.testing.assert_allclose(out[name][places], want[name][0], atol=1e-12)
    with pytest.raises(ModelError, match=r"nbrs: found \[16, 16\], expected 4 numbers of at least 1"):
        fixed_program(pot, (16, 16), (16, 16), 27, (8, 16, 8, 1), block=16)
    with pytest.raises(ModelError, match="block: found 16, expected 32, as atoms of this model see one another"):
        fixed_program(potential(PASSING), (32,), (16,), 27, (8,), block=16)
