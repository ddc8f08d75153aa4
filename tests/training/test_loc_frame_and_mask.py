"""Training of ``loc_frame`` and ``se_a_mask``: statistics of every number, virtual atoms in data, whole runs."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

import dpjax
from dpjax import config
from dpjax.config import parse_model
from dpjax.descriptors.loc_frame import frame_rule
from dpjax.errors import DataError
from dpjax.neighbors import search
from dpjax.training.environment import environment_blocks
from dpjax.training.number_moments import NumberMoments, number_moments
from dpjax.training.setup import prepare
from tests.contracts.cases import loc_frame, model
from tests.contracts.structures import make
from tests.training import tiny

TYPES = np.array([1, 0, 1, 1, 0, 1])
FRAME = {"type": "loc_frame", "sel_a": [2, 3], "sel_r": [4, 6], "rcut": 3.2, "axis_rule": [0, 1, 0, 0, 1, 1] * 2}
MASK = {"type": "se_a_mask", "sel": "auto", "neuron": [3, 6], "axis_neuron": 2}


def moments_of(section: dict, structures) -> NumberMoments:
    cfg = parse_model(section)
    rules = [frame_rule(cfg.descriptor, t) for t in range(len(cfg.type_map))]
    tables = [search(s.coord, s.atype, len(rules), 3.0, s.cell) for s in structures]
    parts = [number_moments(s.coord, s.cell, s.atype, t, rules) for s, t in zip(structures, tables, strict=True)]
    return sum(parts[1:], parts[0])


def test_every_number_has_its_own_statistics():
    section = model(loc_frame(sel_a=[2, 3], sel_r=[3, 4]))
    pot = dpjax.build(section)  # with the mean 0 and the spread 1
    structures = [make("crystal", seed=seed) for seed in range(3)] + [make("cluster", seed=7)]
    found = moments_of(section, structures)
    rows = pot.descriptor([s.coord for s in structures], [s.atype for s in structures], [s.cell for s in structures])
    every, types = np.concatenate(rows), np.concatenate([s.atype for s in structures])
    for t in range(2):
        own = every[types == t]
        np.testing.assert_allclose(found.davg()[t], own.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(found.dstd()[t], np.maximum(own.std(axis=0), 0.01), atol=1e-9)
    assert found.davg().shape == (2, pot.config.descriptor.sel_a[0] * 4 + 3 * 4 + 7)


def test_types_without_atoms_have_a_constant_spread():
    none = NumberMoments.zero(2, 3)
    np.testing.assert_array_equal(none.davg(), np.zeros((2, 3)))
    np.testing.assert_array_equal(none.dstd(), np.full((2, 3), 0.1))


def test_moments_are_weighted_where_tasks_share_a_descriptor():
    section = model(loc_frame())
    one, two = (moments_of(section, [make("crystal", seed=seed)]) for seed in (0, 1))
    twice = one + two.scaled(2.0)
    np.testing.assert_allclose(twice.davg(), (one + two + two).davg(), atol=1e-14)


def test_atoms_without_a_frame_are_reported(caplog):
    cfg = parse_model(model(loc_frame(rcut=1.5)))
    (block,) = environment_blocks(cfg.descriptor, cfg).values()
    lone = make("cluster", numbers=(2, 0))
    table = search(lone.coord, lone.atype, 2, 3.0)
    with caplog.at_level(logging.WARNING):
        stats = block.statistics(block.moments(lone.coord, None, lone.atype, table))
    assert "loc_frame: 2 of 2 atoms of type O have no frame" in caplog.text
    assert np.isfinite(stats["davg"]).all()
    assert (stats["dstd"] > 0).all()


# --- virtual atoms -----------------------------------------------------------------------------------------------------------


def masked_system(folder, n_frame: int = 8, nopbc: bool = True, virtual: float = 0.0):
    """Open frames of 6 places, in some of which atoms are virtual and lie on one point."""
    values = tiny.arrays(TYPES, n_frame, 1, virial=False)
    mask = np.ones((n_frame, len(TYPES)))
    mask[1::2, 5] = mask[1::4, 2] = virtual
    coord = values["coord"].reshape(n_frame, -1, 3)
    coord[mask < 1.0] = 0.0
    values["force"] *= np.repeat(mask >= 1.0, 3, axis=1)
    values |= {"coord": coord.reshape(n_frame, -1), "aparam": mask}
    if nopbc:
        del values["box"]
    return tiny.write(folder, TYPES, [values], nopbc=nopbc)


def masked_input(path, **edits) -> dict:
    edits = {"model/descriptor": MASK, "model/fitting_net/numb_aparam": 1, **edits}
    edits |= {"model/fitting_net/use_aparam_as_mask": True, "loss/start_pref_v": 0, "loss/limit_pref_v": 0}
    return tiny.config([path], edits)


def test_virtual_atoms_are_nobodys_neighbours(tmp_path):
    setup = prepare(config.load(masked_input(masked_system(tmp_path / "data"))))
    assert setup.config.model.descriptor.sel == (2, 4)  # atoms of a frame, virtual ones among them
    tables = [setup.training.source.neighbors.table(0, frame) for frame in range(4)]
    assert [int(t.count.sum()) for t in tables] == [6 * 5, 4 * 3, 6 * 5, 5 * 4]
    assert setup.variables["stats"]["descriptor"] == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"nopbc": False}, "its frames have cells, but model/descriptor 'se_a_mask' is for open boundaries"),
        ({"virtual": -1.0}, "frame 1: aparam of atom .* is -1; expected 1 for a real or 0 for a virtual atom"),
    ],
)
def test_data_that_a_mask_cannot_come_from(tmp_path, options, text):
    with pytest.raises(DataError, match=text):
        prepare(config.load(masked_input(masked_system(tmp_path / "data", **options))))


# --- whole runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_local_frames_are_trained_continued_and_tested(tmp_path):
    data = tiny.system(tmp_path / "data", n_frame=8)
    given = tiny.config([data], {"model/descriptor": FRAME, "training/numb_steps": 4})
    given["training"] |= {"save_freq": 2, "seed": 1}
    whole = dpjax.train(given, output=tmp_path / "whole")
    half = {**given, "training": given["training"] | {"numb_steps": 2}}
    dpjax.train(half, output=tmp_path / "half")
    again = dpjax.train(given, output=tmp_path / "half", restart=True)
    first, second = dpjax.load(whole.checkpoint), dpjax.load(again.checkpoint)
    assert first.variables["params"]["descriptor"] == second.variables["params"]["descriptor"] == {}
    np.testing.assert_array_equal(
        first.variables["stats"]["descriptor"]["davg"], second.variables["stats"]["descriptor"]["davg"]
    )
    assert first.variables["stats"]["descriptor"]["dstd"].shape == (2, 4 * 5 + 10)


@pytest.mark.slow
def test_whole_frames_are_trained_and_tested(tmp_path, capsys):
    from dpjax.cli.main import main

    data = masked_system(tmp_path / "data")
    (tmp_path / "input.json").write_text(json.dumps(masked_input(str(data), **{"training/numb_steps": 40})))
    assert main(["train", str(tmp_path / "input.json"), "--output", str(tmp_path / "out")]) == 0
    pot = dpjax.load(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "out.json").read_text())["model"]["descriptor"]["sel"] == [2, 4]
    assert main(["test", "-m", str(tmp_path / "out"), "-s", str(data)]) == 0
    frames = np.load(data / "set.000" / "coord.npy").reshape(8, 6, 3)
    mask = np.load(data / "set.000" / "aparam.npy")[..., None]
    out = pot.evaluate(frames, TYPES, aparam=mask)
    assert not out["force"][mask[..., 0] == 0.0].any()
    assert np.abs(out["force"][mask[..., 0] == 1.0]).min() > 0
    assert replace(pot.config, raw={}).takes_mask
