"""Compressed models: near the full ones, with forces that are derivatives, beyond their tables, in files, and refused uses."""

from __future__ import annotations

import logging

import jax
import numpy as np
import pytest

import dpjax
from dpjax.compress import compress, series_share
from dpjax.errors import ModelError
from dpjax.export import Artifact, save, writer
from dpjax.export.program import ENERGY_ENTRIES
from tests.contracts.cases import hybrid, model, se_atten, se_e2_a, se_e2_r, se_e3, se_e3_tebd
from tests.export.frames import assert_close, frame, together

NEAREST = 0.9  # angstrom, in the frames below atoms are farther apart
STRIP = {"attn_layer": 0, "tebd_input_mode": "strip"}
slow = pytest.mark.slow
FAMILIES = {  # a section, and how near energies and forces are
    "se_e2_a-two-side": (
        model(se_e2_a(type_one_side=False, exclude_types=[[0, 0]]), pair_exclude_types=[[1, 1]]),
        1e-11,
    ),
    "se_atten_v2": (model(se_atten(type="se_atten_v2", attn_layer=0)), 1e-11),
    "se_e3": (model(se_e3()), 1e-7),
    "se_e2_a": (model(se_e2_a(resnet_dt=True)), 1e-11),
    "se_e2_r": (model(se_e2_r(exclude_types=[[0, 0]])), 1e-11),
    "se_e2_r-two-side": (model(se_e2_r(type_one_side=False)), 1e-11),
    "se_e3_tebd": (model(se_e3_tebd(tebd_input_mode="strip")), 1e-7),
    "se_atten-one-side": (model(se_atten(type_one_side=True, **STRIP)), 1e-11),
    "se_atten-not-smooth": (model(se_atten(**STRIP, smooth_type_embedding=False)), 1e-11),
    "hybrid": (model(hybrid(se_e2_a(rcut=2.4), se_e2_r(), se_atten(**STRIP))), 1e-11),
    "dipole": (model(se_e2_a(), fitting={"type": "dipole"}), 1e-11),
}
QUICK = ("se_e2_a-two-side",)


def full(section: dict) -> dpjax.Potential:
    """A model with statistics that are not neutral: a mean of the radial column, and smaller spreads."""
    pot = dpjax.build(section, seed=3)

    def shifted(path, leaf):
        name = path[-1].key
        if name == "davg" and not section["descriptor"]["type"].startswith("se_e3"):
            return np.asarray(leaf) + 0.1 * (np.arange(leaf.shape[-1]) == 0)
        return 0.3 * np.asarray(leaf) if name == "dstd" else leaf

    stats = jax.tree_util.tree_map_with_path(shifted, pot.variables["stats"])
    return pot.with_variables({**pot.variables, "stats": stats})


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=slow) for name in FAMILIES])
def test_equals_the_full_model(name):
    section, tolerance = FAMILIES[name]
    pot = full(section)
    frames = together([frame(20), frame(7, periodic=False)])
    want, got = (p.evaluate(**frames, atomic=True) for p in (pot, compress(pot, NEAREST)))
    assert set(got) == set(want)
    for i in range(2):
        assert_close(
            {k: got[k][i] for k in got if k != "mask"}, {k: want[k][i] for k in want if k != "mask"}, tolerance, name
        )


@pytest.fixture(scope="module")
def small() -> dpjax.Potential:
    """A compressed model whose tables end before most neighbours of its frames."""
    pot = full(model(se_e2_a(neuron=[3, 6])))
    return compress(pot, 2.6, extrapolate=1.0, step=0.02, frequency=2)


def moved_frames(step: float) -> dict:
    """A frame four times, with the second coordinate of atom 3 and the third of atom 5 moved to either side."""
    given = frame(9, periodic=False)
    coord = np.repeat(given["coord"], 5, axis=0)
    for i, (atom, axis, sign) in enumerate([(3, 1, 1), (3, 1, -1), (5, 2, 1), (5, 2, -1)]):
        coord[1 + i, atom, axis] += sign * step
    return {"coord": coord, "atype": given["atype"]}


def test_forces_are_derivatives_beyond_the_tables_too(small, caplog):
    step, other = 1e-4, small.with_variables(small.variables)
    with caplog.at_level(logging.WARNING, "dpjax.compress"):
        out = other.evaluate(**moved_frames(step))
    force, energy = out["force"][0], out["energy"][:, 0]
    np.testing.assert_allclose(force[3, 1], -(energy[1] - energy[2]) / (2 * step), atol=1e-10)
    np.testing.assert_allclose(force[5, 2], -(energy[3] - energy[4]) / (2 * step), atol=1e-10)
    assert [text.partition(":")[0] for text in caplog.messages] == ["frame 0", "frame 2", "frame 4"]  # every second one
    count, listed = (int(word) for word in caplog.messages[0].split(": ")[1].split(" neighbours")[0].split(" of "))
    assert 0 < count < listed and other._overflow.overflows == 3 * count


@slow
def test_second_derivatives_are_those_of_the_forces(small):
    given, step = moved_frames(1e-4), 1e-4
    hessian = small.evaluate(given["coord"][:1], given["atype"], hessian=True)["hessian"][0]
    force = small.evaluate(**given)["force"]
    np.testing.assert_allclose(hessian[:, 10], -(force[1] - force[2]).ravel() / (2 * step), atol=1e-6)


@slow
def test_files_hold_the_tables(small, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(writer, "entries", lambda output, hessian: ENERGY_ENTRIES[1:2])  # which saves time
    path = save(small, tmp_path / "model.dpx", platforms=("cpu",))
    given, back = frame(9, periodic=False), dpjax.load(path)
    want = small.evaluate(**moved_frames(0.0))
    assert back.config.compress == small.config.compress
    assert not any("embedding" in name for name in back.variables["params"].get("descriptor", {}))
    same = small.with_variables(back.variables).evaluate(**moved_frames(0.0))  # in the programs that are compiled
    assert_close(same, want, 1e-14)
    with caplog.at_level(logging.WARNING):
        got = Artifact(path).evaluate(**given)
    assert_close({name: got[name][0] for name in got}, {name: want[name][0] for name in want}, 1e-12)
    assert "beyond the tables" in caplog.text
    with pytest.raises(ModelError, match="compressed model is not written for DeePMD-kit"):
        dpjax.save(back, tmp_path / "model.dp")
    with pytest.raises(ModelError, match="tables in the place of embedding networks, which cannot be trained"):
        dpjax.train({"model": {"type_map": ["O", "H"]}}, output=tmp_path / "run", init_model=path)
    with pytest.raises(ModelError, match="compressed already"):
        compress(back, NEAREST)


@slow
def test_tables_in_another_precision(small, tmp_path):
    path, given = save(small, tmp_path / "model.dpx", platforms=("cpu",)), frame(20)
    want, got = small.evaluate(**given), dpjax.load(path, dtype="float32").evaluate(**given)
    np.testing.assert_allclose(got["force"], want["force"], atol=1e-5 * np.abs(want["force"]).max())
    with_search = Artifact(path).evaluate(**given, search_on_device=True)
    np.testing.assert_allclose(with_search["force"], want["force"], atol=1e-12)


@pytest.mark.parametrize(
    "section, text",
    [
        (
            se_atten(attn_layer=2, tebd_input_mode="strip"),
            "model/descriptor: 'se_atten' cannot be compressed: it has attn_layer 2",
        ),
        (se_atten(attn_layer=0), 'tebd_input_mode "concat"'),
        (hybrid(se_e2_a(), se_e3_tebd()), "model/descriptor/list/1: 'se_e3_tebd' cannot be compressed"),
    ],
)
def test_descriptors_without_tables_are_refused(section, text):
    with pytest.raises(ModelError) as caught:
        compress(dpjax.build(model(section)), NEAREST)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "distance, options, text",
    [
        (0.0, {}, "min_nbor_dist: found 0, expected a distance in angstrom above 0 and below the cut-off, 3"),
        (1.0, {"step": 0}, "step: found 0, expected a number above 0"),
        (1.0, {"extrapolate": 0.5}, "extrapolate: found 0.5, expected a number of at least 1"),
        (1.0, {"frequency": 0}, "frequency: found 0, expected a number of frames above 0"),
        (1.0, {"step": 1e-9}, "step 1e-09: the tables would take"),
    ],
)
def test_options_out_of_range_are_refused(distance, options, text):
    with pytest.raises(ModelError) as caught:
        compress(dpjax.build(model(se_e2_a())), distance, **options)
    assert text in str(caught.value)


def test_tables_know_how_far_they_reach():
    pot = compress(full(model(se_e2_a())), NEAREST)
    assert series_share(pot.variables) == (2, 2)
    assert 0.0 < max(pot.config.compress.nearest) < NEAREST / 4
