"""Entry points that find neighbours themselves, and that give second derivatives."""

from __future__ import annotations

import logging

import jax
import numpy as np
import pytest
from jaxlib import xla_client

from dpjax.errors import ModelError
from dpjax.export import Artifact, ArtifactError, fixed_program, runtime, save, writer
from dpjax.export.program import entries
from tests.contracts.cases import model as case_model
from tests.contracts.cases import potential, se_atten
from tests.export.frames import assert_close, frame, thin_frame, together
from tests.export.test_families import frame_for

NAMES = ("energy", "force", "virial")


@pytest.fixture(
    scope="module", params=["plain", *(pytest.param(name, marks=pytest.mark.slow) for name in ("everything", "mixed"))]
)
def both(request, potentials, artifacts):
    """A potential and its artifact; one artifact for all tests, so that programs compiled by one serve the next."""
    return potentials[request.param], Artifact(artifacts[request.param])


def rows(pot, frames):
    out = pot.evaluate(**together(frames))
    return [{name: out[name][i][None] for name in NAMES} for i in range(len(frames))]


def test_finds_the_neighbours_that_are_there(both):
    """In cells, also thin ones, and without; with more neighbours than ``sel`` and with placeholders."""
    pot, artifact = both
    fitting = pot.config.fitting_net
    frames = [frame_for(pot, 40), frame_for(pot, 30, periodic=False)]
    frames.append(thin_frame(fparam=fitting.numb_fparam, aparam=fitting.numb_aparam))
    frames[1]["atype"][[0, 7]] = -1
    for given, want in zip(frames, rows(pot, frames), strict=True):
        assert_close(artifact.evaluate(**given, search_on_device=True), want)
    assert len([s for s in artifact._signatures if s[0] == "from_coordinates"]) <= 4


@pytest.mark.slow
def test_lists_that_are_too_small_grow(plain, potentials):
    given, artifact = frame(60), Artifact(plain)
    artifact._listed = runtime.Capacity((1, 2), (1, 1))
    [want] = rows(potentials["plain"], [given])
    assert_close(artifact.evaluate(**given, search_on_device=True), want)
    assert all(n > 2 for n in artifact._listed.nbrs)
    known = artifact.programs
    moved = given | {"coord": given["coord"] + 0.05}
    artifact.evaluate(**moved, search_on_device=True)
    assert artifact.programs == known


@pytest.mark.slow
def test_what_the_flags_say(plain, potentials, monkeypatch):
    """Bins that do not cover the cut-off, and fewer of them than the grid has, are never used in silence."""
    given, artifact = frame(60), Artifact(plain)
    division = runtime.divide
    narrow = lambda frame, rcut: division(frame, rcut / 2)  # noqa: E731
    monkeypatch.setattr(runtime, "divide", narrow)
    with pytest.raises(ArtifactError, match=r"frame 0: the program cannot list neighbours in this cell \(flags 4\)"):
        artifact.evaluate(**given, search_on_device=True)
    monkeypatch.setattr(runtime, "divide", division)
    monkeypatch.setattr(runtime.Division, "shape", property(lambda self: (1, len(self.offsets))))
    with pytest.raises(ArtifactError, match=r"\(flags 16\)|\(flags 17\)"):
        artifact.evaluate(**given, search_on_device=True)


@pytest.mark.slow
def test_says_what_sel_leaves_out(plain, caplog):
    given = frame(60)
    given["cell"] = given["cell"] * 0.6
    given["coord"] = given["coord"] * 0.6
    with caplog.at_level(logging.WARNING, "dpx"):
        Artifact(plain).evaluate(**given, search_on_device=True)
        first = [record.getMessage() for record in caplog.records]
        Artifact(plain).evaluate(**given)
    assert first and set(first) <= {record.getMessage() for record in caplog.records[len(first) :]} | set(first)
    assert any("the farthest are left out" in message for message in first)


def test_bad_requests(plain):
    artifact, given = Artifact(plain), frame(12)
    artifact._listed = runtime.Capacity((12, 12), (12, 12))  # else the host looks at the structure first
    with pytest.raises(ArtifactError, match="leave atomic and hessian out"):
        artifact.evaluate(**given, atomic=True, search_on_device=True)
    with pytest.raises(ArtifactError, match="holds no program for Hessians; freeze it with --hessian"):
        artifact.evaluate(**given, hessian=True)
    on_one_point = given | {"coord": np.repeat(given["coord"][:, :1], 12, axis=1)}
    with pytest.raises(ArtifactError, match="frame 0: the result is not finite; two atoms are on one point"):
        artifact.evaluate(**on_one_point, search_on_device=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "mixed"])
def test_second_derivatives(name, potentials, tmp_path, monkeypatch):
    """Of several frames, with placeholders; in the order of the atoms that are given."""
    pot = potentials[name]
    wanted = [e for e in entries(pot.config, hessian=True) if e.name in ("energy_force_virial", "hessian")]
    monkeypatch.setattr(writer, "entries", lambda config, hessian: wanted)
    artifact = Artifact(save(pot, tmp_path / "model.dpx", ("cpu",), hessian=True))
    frames = [frame(9, seed=seed) for seed in range(2)]
    given = {"coord": np.concatenate([f["coord"] for f in frames]), "cell": np.concatenate([f["cell"] for f in frames])}
    given["atype"] = np.stack([f["atype"] for f in frames])
    given["atype"][:, 4] = -1
    want = pot.evaluate(**given, hessian=True)
    got = artifact.evaluate(**given, hessian=True)
    assert_close(got, want)
    assert np.abs(got["hessian"]).max() > 1e-3 and not got["hessian"].reshape(2, 9, 3, 9, 3)[:, 4].any()


def test_only_energies_have_second_derivatives(tmp_path):
    dos = potential(case_model(se_atten(), fitting={"type": "dos", "numb_dos": 4}))
    with pytest.raises(ModelError, match="a Hessian was asked for, but this model predicts"):
        save(dos, tmp_path / "model.dpx", hessian=True)
    assert not (tmp_path / "model.dpx").exists()


def test_a_module_of_fixed_sizes(potentials):
    """Shapes are numbers, weights are inside, and its arguments are those that are listed, in that order."""
    pot, given = potentials["plain"], frame(20)
    made = fixed_program(pot, (16, 16), (16, 16), 27, (8, 16), block=16)
    assert "?" not in made.exported.mlir_module() and made.module == made.exported.mlir_module_serialized
    names = [name for name, _, _ in made.inputs]
    assert "atoms/0/coord" in names and ("offsets", "int32", (27, 3)) in made.inputs and "bins" not in names
    assert ("energy", "float64", (1, 1)) in made.outputs and ("force", "float64", (32, 3)) in made.outputs
    frames = runtime._frames(bare_manifest(pot), given["coord"], given["atype"], given["cell"], None, None)
    division = runtime.divide(frames[0], pot.rcut)
    assert division.grid.prod() <= 27 and len(division.offsets) == 27
    structure, places = runtime.pack(frames, runtime.Sizes(1, (1, 1), (16, 16), (16, 16)), by_type=True)
    structure |= division.arrays() | {
        "bins": np.zeros(27, np.int8),
        "bin_atoms": [np.zeros(8, np.int8), np.zeros(16, np.int8)],
    }
    out = through_pjrt(made, structure)
    want = pot.evaluate(**given)
    assert out["flags"][0] == 0
    np.testing.assert_allclose(out["energy"], want["energy"], rtol=1e-12)
    np.testing.assert_allclose(out["force"][places], want["force"][0], atol=1e-12)


def through_pjrt(made, structure):
    """What a host in another language does: PJRT compiles the bytes and takes the arguments in their order."""
    device = jax.devices()[0]
    compiled = device.client.compile_and_load(
        made.module, xla_client.DeviceList((device,)), xla_client.CompileOptions()
    )
    with jax.enable_x64(True):
        found = compiled.execute_sharded([jax.device_put(array, device) for array in listed(made, structure)])
    arrays = [np.asarray(array) for [array] in found.disassemble_into_single_device_arrays()]
    for (_, dtype, shape), array in zip(made.outputs, arrays, strict=True):
        assert array.shape == shape and array.dtype == dtype
    return {name: array for (name, _, _), array in zip(made.outputs, arrays, strict=True)}


def listed(made, structure):
    """The arrays that are named, of the shapes and types that are listed."""
    for name, dtype, shape in made.inputs:
        value = structure
        for key in name.split("/"):
            value = value[int(key)] if key.isdigit() else value[key]
        assert value.shape == shape and value.dtype == dtype, name
        yield value


def bare_manifest(pot):
    return {
        "type_map": pot.type_map,
        "by_type": True,
        "numb_fparam": 0,
        "numb_aparam": 0,
        "default_fparam": None,
        "inputs": {},
    }


def test_fixed_sizes_that_do_not_fit(potentials):
    with pytest.raises(ModelError, match=r"places: found \[20, 16\], expected multiples of block, which is 16"):
        fixed_program(potentials["plain"], (20, 16), (16, 16), 27, (8, 16), block=16)
    with pytest.raises(ModelError, match=r"nbrs: found \[16\], expected 2 numbers of at least 1"):
        fixed_program(potentials["plain"], (16, 16), (16,), 27, (8, 16), block=16)
