"""Labelled batches: every number at the place of its atom or frame, sizes that settle, one warning for truncation."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from dpjax import losses
from dpjax.batching.inner import inner_places
from dpjax.config import load
from dpjax.data import Sampler
from dpjax.neighbors import NeighborCache
from dpjax.training.setup import prepare
from dpjax.training.sides import model_needs, open_systems
from dpjax.training.source import BatchSource
from tests.contracts.cases import dpa3
from tests.training import tiny

LABELS = ("energy", "force", "virial")


def source(paths, edits=None, labels=LABELS) -> BatchSource:
    config = load(tiny.config(paths, edits))
    terms = {f"{end}_pref_{name[0]}": float(name in labels) for name in LABELS for end in ("start", "limit")}
    systems = open_systems(config.training.training_data, config.model, losses.from_config({"type": "ener"} | terms))
    needs = model_needs(config.model)
    return BatchSource(systems, NeighborCache(systems, needs.rcut, needs.n_type), needs, labels)


@pytest.fixture
def system(tmp_path):
    return tiny.system(tmp_path / "system")


def test_every_number_is_at_its_place(system):
    """Frames in the order asked for, atoms by type; forces beside the coordinates they belong to."""
    data = source([system]).batch([(0, [2, 0])])
    batch, files = data.batch, {p.stem: np.load(p) for p in (system / "set.000").glob("*.npy")}
    atype = np.loadtxt(system / "type.raw", dtype=int)
    np.testing.assert_array_equal(batch.natoms, [6, 6])
    np.testing.assert_array_equal(data.label["energy"][:, 0], files["energy"][[2, 0]])
    np.testing.assert_array_equal(data.label["virial"], files["virial"][[2, 0]])
    np.testing.assert_array_equal(batch.cell[0], tiny.CELL)
    for place, frame in enumerate([2, 0]):
        here = (batch.frame == place) & (batch.atype >= 0)
        order = np.argsort(atype, kind="stable")
        np.testing.assert_array_equal(batch.atype[here], atype[order])
        np.testing.assert_array_equal(batch.coord[here], files["coord"][frame].reshape(6, 3)[order])
        np.testing.assert_array_equal(data.label["force"][here], files["force"][frame].reshape(6, 3)[order])
    padding = batch.atype < 0
    np.testing.assert_array_equal(data.label["force"][padding], 0)


@pytest.mark.parametrize(("block", "atoms"), [(2, 2), (5, 12), (None, 4)], ids=["as asked for", "no divisor", "ours"])
def test_lists_come_in_blocks_of_the_size_asked_for(system, block, atoms):
    edits = {"model/descriptor": dpa3({"use_dynamic_sel": True}), "dpjax/block_size": block}
    side = prepare(load(tiny.config([system], edits))).training
    lists = side.source.batch([(0, [0, 1])]).batch.lists
    assert lists.atoms.nodes.shape == (12 // atoms, atoms)


def test_a_short_batch_is_padded_to_the_size_of_the_others(system):
    packer = source([system])
    packer.observe([0])
    full, short = packer.batch([(0, [0, 1, 2])], 3), packer.batch([(0, [3])], 3)
    assert short.batch.layout == full.batch.layout
    np.testing.assert_array_equal(short.batch.natoms, [6, 0, 0])
    np.testing.assert_array_equal(short.label["energy"][1:], 0)


def test_labels_that_a_system_lacks_are_flagged(tmp_path):
    paths = [tiny.system(tmp_path / "with"), tiny.system(tmp_path / "without", seed=1, virial=False)]
    with pytest.warns(UserWarning, match="virial"):
        packer = source(paths)
    have, lack = packer.batch([(0, [0])]), packer.batch([(1, [0])])
    assert (have.find["virial"], lack.find["virial"], lack.find["force"]) == (1, 0, 1)
    np.testing.assert_array_equal(lack.label["virial"], 0)


def test_frames_of_several_systems_in_one_batch(tmp_path):
    paths = [tiny.system(tmp_path / "six"), tiny.system(tmp_path / "nine", 9, 3, seed=1)]
    packer = source(paths)
    data = packer.batch([(1, [2]), (0, [1, 3])], 3)
    np.testing.assert_array_equal(data.batch.natoms, [9, 6, 6])
    want = [np.load(paths[1] / "set.000" / "energy.npy")[2], *np.load(paths[0] / "set.000" / "energy.npy")[[1, 3]]]
    np.testing.assert_array_equal(data.label["energy"][:, 0], want)
    sampler = Sampler(
        packer.systems,
        load(tiny.config(paths, {"training/training_data/batch_size": "mixed:3"})).training.training_data,
        0,
    )
    for _ in range(5):
        parts = sampler.next_batch()
        assert np.sum(packer.batch(parts, sampler.frames_per_batch(parts[0][0])).batch.natoms > 0) == 3


def test_placeholders_of_mixed_systems_are_left_out(tmp_path):
    path = tiny.mixed_system(tmp_path / "mixed")
    data = source([path]).batch([(0, [0, 1, 2])])
    np.testing.assert_array_equal(data.batch.natoms, [6, 4, 5])
    types = np.load(path / "set.000" / "real_atom_types.npy")
    np.testing.assert_array_equal(np.bincount(data.batch.atype[data.batch.atype >= 0]), np.bincount(types[types >= 0]))
    force = np.load(path / "set.000" / "force.npy")
    np.testing.assert_allclose(data.label["force"].sum(), force.sum(), rtol=1e-12)


def test_parameters_come_with_the_frames(tmp_path):
    types = np.array([1, 0, 1])
    values = tiny.arrays(types, 2, 0) | {"fparam": np.array([[1.0], [2.0]]), "aparam": np.arange(6.0).reshape(2, 3)}
    path = tiny.write(tmp_path / "system", types, [values])
    batch = (
        source([path], {"model/fitting_net/numb_fparam": 1, "model/fitting_net/numb_aparam": 1})
        .batch([(0, [1, 0])])
        .batch
    )
    np.testing.assert_array_equal(batch.fparam[:, 0], [2, 1])
    here = (batch.frame == 0) & (batch.atype >= 0)
    np.testing.assert_array_equal(batch.aparam[here, 0], [4, 3, 5])  # the oxygen, then the hydrogens


def test_observed_frames_decide_the_sizes(tmp_path):
    """All frames are looked at where they are few, so no batch has other sizes than the first."""
    path = tiny.system(tmp_path / "system", 9, 12)
    packer, blind = source([path]), source([path])
    packer.observe([0])
    layouts = {packer.batch([(0, [i])]).batch.layout for i in range(12)}
    assert len(layouts) == 1
    assert len({blind.batch([(0, [i])]).batch.layout for i in range(12)}) > 1
    [layout] = layouts
    assert list(layout.nbrs) == list(blind.capacity)


def test_few_frames_are_observed_of_many(tmp_path, monkeypatch):
    paths = [tiny.system(tmp_path / f"s{i}", 3, 7, seed=i) for i in range(4)]
    packer, searched = source(paths), []
    table = packer.neighbors.table
    monkeypatch.setattr(packer.neighbors, "table", lambda s, i: searched.append((s, i)) or table(s, i))
    packer.observe([0, 1, 2, 3], 8)
    assert sorted(searched) == [(s, i) for s in range(4) for i in (0, 6)]
    searched.clear()
    packer.observe([0, 1, 2, 3], 2)
    assert sorted(searched) == [(0, 0), (3, 0)]


def test_capacities_never_shrink(system):
    packer = source([system])
    packer.reserve([7, 3])
    packer.reserve([2, 9])
    assert list(packer.batch([(0, [0])]).batch.layout.nbrs) == [7, 9]


def test_places_within_shorter_cutoffs_are_those_of_the_densest_frame_observed(tmp_path):
    """And a training that goes on has the same, as the order of sums depends on them."""
    config = load(tiny.config([tiny.system(tmp_path / "system")], {"model/descriptor": dpa3()}))
    side, again = prepare(config).training, prepare(config).training
    most = max(int(side.source.extent(0, i).inner[0]) for i in range(4))
    [(rcut, places)] = side.source.batch([(0, [0])]).batch.layout.inner
    assert (rcut, places) == (2.4, inner_places(side.source.needs.inner, [most])[0])
    side.source.reserve([0], [places + 1])
    wider = side.source.batch([(0, [0])]).batch.layout
    assert wider.inner[0][1] > places
    again.restore(json.loads(json.dumps(side.state())))
    assert again.source.batch([(0, [0])]).batch.layout == wider
    again.source.reserve([0])
    assert again.source.batch([(0, [0])]).batch.layout == wider


def test_neighbours_beyond_sel_warn_once(system, caplog):
    packer = source([system], {"model/descriptor/sel": [12, 1]})
    with caplog.at_level(logging.WARNING, "dpjax"):
        packer.observe([0])
        for i in range(4):
            packer.batch([(0, [i])])
    [record] = caplog.records
    assert f"model/descriptor/sel: an atom in {system} has" in record.message
    assert "neighbours of type H within 3 angstrom, but sel keeps 1" in record.message


def test_batches_of_frames_from_all_systems_have_one_size_from_the_start(tmp_path):
    """Places for the atoms that most batches have: neither those of the first ones nor as many as could ever meet."""
    paths = [tiny.system(tmp_path / str(n), n_atom=n, n_frame=3, seed=n) for n in (2, 5, 12)]
    edits = {"training/training_data/batch_size": "mixed:16"}
    side = prepare(load(tiny.config(paths, edits))).training
    layouts = {side.source.batch(side.sampler.next_batch(), 16).batch.layout for _ in range(40)}
    assert len(layouts) <= 2
    assert max(layout.n_atom for layout in layouts) < 16 * 12
