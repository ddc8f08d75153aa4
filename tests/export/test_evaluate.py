"""``Artifact.evaluate``: batches, padding, programs, and what it refuses."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

import dpjax
from dpjax.export import Artifact, ArtifactError, runtime, save, writer
from dpjax.export.program import ENERGY_ENTRIES
from dpjax.interfaces.files import in_precision
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import model as case_model
from tests.contracts.cases import potential, se_e2_a
from tests.export.frames import assert_close, frame
from tests.export.test_container import rewritten


@pytest.fixture(scope="module")
def model(plain):
    """One artifact for all tests here: programs compiled by one serve the next."""
    return Artifact(plain)


def batch(n_frame: int, n_atom: int = 12) -> dict:
    """Frames of one size; types differ between frames and one atom of each is a placeholder."""
    frames = [frame(n_atom, seed=seed) for seed in range(n_frame)]
    atype = np.stack([f["atype"] for f in frames])
    atype[:, 4] = -1
    return {
        "coord": np.concatenate([f["coord"] for f in frames]),
        "atype": atype,
        "cell": np.stack([frames[0]["cell"][0]] * n_frame),
    }


def test_batches_placeholders_and_force_free_energies(model, potentials):
    given = batch(3)
    want = potentials["plain"].evaluate(**given, atomic=True)
    got = model.evaluate(**given, atomic=True)
    assert_close(got, want)
    assert not got["force"][:, 4].any() and not got["mask"][:, 4].any()
    assert_close(model.evaluate(**given), {name: want[name] for name in ("energy", "force", "virial")})
    assert_close(model.evaluate(**given, force=False), {"energy": want["energy"]})
    assert_close(
        model.evaluate(**{**given, "cell": given["cell"].reshape(3, 9)}, force=False), {"energy": want["energy"]}
    )


def test_many_frames_go_in_groups_through_one_program(model, monkeypatch):
    given = batch(5)
    want, before = model.evaluate(**given, force=False), model.programs
    monkeypatch.setattr(runtime, "SLOTS_PER_CALL", 2 * 12 * 16)  # two frames of 12 atoms with 2 x 8 neighbours
    assert_close(model.evaluate(**given, force=False), want)
    assert model.programs == before + 1


def test_structures_of_one_rung_share_a_program(plain):
    model = Artifact(plain)
    for n_atom in (3, 7, 12, 24):  # at most 16 atoms and 8 neighbours of each type
        model.evaluate(**frame(n_atom, periodic=False), force=False)
    assert model.programs == model._calls["energy"]._cache_size() == 1


@pytest.mark.slow
def test_wide_blocks_as_on_accelerators(model, plain):
    wide, given = Artifact(plain), frame(100)
    wide._platform = "cuda"  # its choice of blocks; the program runs here
    assert_close(wide.evaluate(**given), model.evaluate(**given))
    [(_, sizes)] = wide._signatures
    assert sizes.blocks == (1, 1) and sizes.block == (48, 80)


def test_blocks_on_accelerators_stay_within_memory():
    blocks, block = runtime._blocks(100_000, runtime._large_block({}, 138), "cuda")
    assert block % 16 == 0 and block * 138 <= runtime.SLOTS_PER_BLOCK
    assert 100_000 <= blocks * block < 1.3 * 100_000


def test_ladder():
    sizes = sorted({runtime.ladder(n) for n in range(1, 10_000)})
    assert sizes[:14] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]
    assert len(sizes) == 8 + 4 * 10 + 1 or len(sizes) == 8 + 4 * 10 + 2
    assert all(n <= runtime.ladder(n) <= 1.25 * n for n in range(1, 10_000))
    assert [runtime.ladder(n, 8) for n in (0, 1, 8, 9, 70)] == [8, 8, 8, 16, 80]


def test_float32_model(model, potentials, tmp_path, monkeypatch):
    monkeypatch.setattr(
        writer, "entries", lambda output, hessian: ENERGY_ENTRIES[1:2]
    )  # the one that is used, which saves time
    pot, given = potentials["plain"], frame(24, periodic=False)
    single = Potential(*in_precision(pot.config, pot.variables, "float32"))
    got = Artifact(save(single, tmp_path / "model.dpx", platforms=["cpu"])).evaluate(**given)
    want = model.evaluate(**given)
    assert_close(got, want, 1e-5)
    assert got["force"].dtype == np.float64
    assert np.abs(got["force"] - want["force"]).max() > 1e-9  # the networks are float32


def test_no_atoms_and_no_frames(model):
    empty = model.evaluate(np.zeros((1, 0, 3)), np.zeros(0, int), atomic=True)
    assert empty["energy"].tolist() == [[0.0]] and empty["force"].shape == (1, 0, 3)
    assert model.evaluate(np.zeros((0, 3, 3)), [0, 1, 1]) == {}
    ghost = model.evaluate(np.full((1, 2, 3), np.nan), [-1, -1])
    assert ghost["energy"].tolist() == [[0.0]] and not ghost["force"].any()


def test_truncation_is_said_once(artifacts, caplog):
    model, given = Artifact(artifacts["everything"]), frame(24, fparam=2, aparam=1)
    with caplog.at_level(logging.WARNING, "dpx"):
        model.evaluate(**given, force=False)
        model.evaluate(**given, force=False)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == len(set(texts)) == 2
    assert all("the farthest are left out" in text for text in texts)
    assert "neighbours of type O within 3 angstrom, but sel keeps 3" in texts[0]


def test_blocks_are_smaller_where_networks_run_for_pairs():
    """On a CPU at most 2,500 pairs; elsewhere four pairs of neighbours count as a neighbour.  Places stay the same on a CPU."""
    cut = {"part": "", "rcut": 6.0, "by_type": False, "sel": [40], "angles": True}
    angles, attention, plain = (
        {"rcut": 6.0, "sel": [40], "pairs": pairs, "cuts": [cut | {"angles": with_angles}]}
        for pairs, with_angles in ((True, True), (True, False), (False, False))
    )
    assert [runtime._cpu_block(m, 80) for m in (angles, attention, plain)] == [
        2,
        32,
        32,
    ]  # 800 pairs, at most 40 neighbours
    assert [runtime._large_block(m, 40) for m in (angles, attention, plain)] == [2272, 2272, 24992]
    for n_atom, places in ((3, 16), (20, 32), (100, 128), (600, 640)):
        for at_once in (1, 2, 32):
            assert np.prod(runtime._blocks(n_atom, at_once, "cpu")) == places
    assert runtime._blocks(100, 48, "cuda") == (3, 48)


@pytest.mark.slow
def test_truncation_in_a_member_of_a_hybrid_is_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(
        writer, "entries", lambda output, hessian: ENERGY_ENTRIES[:1]
    )  # the one that is used, which saves time
    pot = potential(case_model({"type": "hybrid", "list": [se_e2_a(), se_e2_a(rcut=2.5, sel=[20, 2])]}))
    model = Artifact(save(pot, tmp_path / "model.dpx", platforms=["cpu"]))
    with caplog.at_level(logging.WARNING):
        pot.evaluate(**frame(24))
        model.evaluate(**frame(24), force=False)
    of_dpjax, of_runtime = (record.getMessage() for record in caplog.records)
    assert of_dpjax == of_runtime
    assert "neighbours of type H within 2.5 angstrom, but sel of list/1 keeps 2" in of_runtime


def test_format_1_that_does_not_say_what_came_later(plain, tmp_path):
    """Entries that the first runtimes did not write are those of models they knew."""
    old = tmp_path / "model.dpx"
    later = ("by_type", "cuts", "pairs")

    def without(data: bytes) -> bytes:
        manifest = json.loads(data)
        assert manifest["format_version"] == 1
        return json.dumps({key: value for key, value in manifest.items() if key not in later}).encode()

    model, given = Artifact(rewritten(plain, old, {runtime.MANIFEST: without})), frame(24)
    assert_close(model.evaluate(**given, force=False), Artifact(plain).evaluate(**given, force=False))


WRONG = {
    "coord.*expected \\(n_frame, n_atom, 3\\)": {"coord": np.zeros((3, 3))},
    "coord: expected one rectangular array": {"coord": [np.zeros((3, 3)), np.zeros((2, 3))]},
    "frame 0: the coordinates of atom 1 are .*nan": {"coord": [[[0, 0, 0], [np.nan, 0, 0], [0, 2, 0]]]},
    "found types 0..2, expected 0..1 \\(O, H\\)": {"atype": [0, 2, 1]},
    "found types -2..1": {"atype": [0, -2, 1]},
    "atype: found float64": {"atype": [0.0, 1.0, 1.0]},
    "atype: found int64 of shape \\(2,\\), expected integers of shape \\(3,\\)": {"atype": [0, 1]},
    "cell: found shape \\(2, 3, 3\\), expected \\(1, 3, 3\\)": {"cell": np.stack([np.eye(3)] * 2)},
    "frame 0: the cell .* has no volume": {"cell": np.ones((1, 3, 3))},
    "too small for a cut-off": {"cell": 1e-3 * np.eye(3)[None]},
    "frame 0: atoms 0 and 2 are on one point": {"coord": [[[0, 0, 0], [1, 0, 0], [0, 0, 1e-9]]]},
    "fparam was given but this model takes none": {"fparam": [[1.0]]},
    "atomic=True includes forces": {"atomic": True, "force": False},
}


@pytest.mark.parametrize("message", WRONG)
def test_refuses(model, message):
    given = {"coord": [[[0, 0, 0], [1, 0, 0], [0, 2, 0]]], "atype": [0, 1, 1], **WRONG[message]}
    with pytest.raises(ArtifactError, match=message):
        model.evaluate(**given)


def test_parameters_that_are_missing(artifacts):
    model, given = Artifact(artifacts["everything"]), frame(3, fparam=2, aparam=1)
    for name, shape in (("fparam", r"\(1, 2\)"), ("aparam", r"\(1, 3, 1\)")):
        with pytest.raises(ArtifactError, match=f"this model needs {name} of shape {shape}"):
            model.evaluate(**{key: value for key, value in given.items() if key != name})
    with pytest.raises(ArtifactError, match=r"aparam: found shape \(1, 2, 1\)"):
        model.evaluate(**{**given, "aparam": given["aparam"][:, :2]})


def test_default_frame_parameters(tmp_path, monkeypatch):
    section = {
        "type_map": ["O"],
        "descriptor": {
            "type": "se_e2_a",
            "rcut": 3.0,
            "rcut_smth": 1.0,
            "sel": [9],
            "neuron": [2, 4],
            "axis_neuron": 2,
        },
        "fitting_net": {"neuron": [3], "numb_fparam": 2, "default_fparam": [0.3, -0.4]},
    }
    monkeypatch.setattr(
        writer, "entries", lambda output, hessian: ENERGY_ENTRIES[:1]
    )  # the one that is used, which saves time
    model = Artifact(save(dpjax.build(section), tmp_path / "model.dpx", platforms=["cpu"]))
    coord, atype = np.array([[[0.0, 0, 0], [1.5, 0, 0]]]), [0, 0]
    given = model.evaluate(coord, atype, fparam=[[0.3, -0.4]], force=False)
    assert model.evaluate(coord, atype, force=False) == given
    assert model.evaluate(coord, atype, fparam=[[1.3, -0.4]], force=False) != given
