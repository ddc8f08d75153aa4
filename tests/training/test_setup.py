"""What is built before the first step: frozen parameters, ``sel: auto``, seeds, statistics."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError
from dpjax.neighbors import search
from dpjax.training.setup import prepare
from tests.training import tiny


@pytest.fixture
def system(tmp_path):
    return tiny.system(tmp_path / "system")


def test_frozen_parameters_keep_their_bits(system, tmp_path):
    """The descriptor and the first and last layer of the fitting net are frozen; the second layer learns."""
    edits = {"model/descriptor/trainable": False, "model/fitting_net/trainable": [False, True, False]}
    config = tiny.config([system], edits | tiny.ENERGY_ONLY)
    dpjax.train(config, tmp_path / "out")
    start = prepare(load(config)).variables["params"]
    end = load_checkpoint(tmp_path / "out" / "model.ckpt-6")[0]["params"]
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="."): not np.array_equal(a, b)
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(start), jax.tree.leaves(end), strict=True)
    }
    trained = {name for name in moved if name.startswith("fitting_net.") and ".layers_1." in name}
    assert trained
    assert {name for name, changed in moved.items() if changed} == trained


def test_auto_sel_is_counted_and_written(system, tmp_path):
    """1.1 times the largest number of neighbours of each type, rounded up to a multiple of four."""
    config = tiny.config([system], {"model/descriptor/sel": "auto", "training/numb_steps": 0})
    dpjax.train(config, tmp_path / "out")
    coord = np.load(system / "set.000" / "coord.npy").reshape(4, 6, 3)
    atype = np.loadtxt(system / "type.raw", dtype=int)
    most = np.max([search(frame, atype, 2, 3.0, tiny.CELL).count.max(0) for frame in coord], axis=0)
    want = [4 * -(-int(n * 1.1) // 4) for n in most]
    assert json.loads((tmp_path / "out" / "out.json").read_text())["model"]["descriptor"]["sel"] == want
    assert dpjax.load(tmp_path / "out").config.descriptor.sel == tuple(want)


def test_a_missing_seed_is_drawn_and_kept(system):
    """Two runs without seed differ; the seed of each is known, so that a restart can repeat it."""
    config = load(tiny.config([system], {"training/seed": None}))
    first, second = prepare(config), prepare(config)
    assert first.seed != second.seed
    assert prepare(config, seed=first.seed).seed == first.seed


def test_statistics_of_few_atoms_by_hand(system):
    """The bias minimises the squared error of the energies; one composition leaves the smallest of all solutions."""
    variables = prepare(load(tiny.config([system]))).variables
    energy = np.load(system / "set.000" / "energy.npy").mean()
    counts = np.array([2.0, 4.0])
    np.testing.assert_allclose(variables["stats"]["out_bias"][:, 0], counts * energy / (counts @ counts), rtol=1e-9)
    davg, dstd = (variables["stats"]["descriptor"][key] for key in ("davg", "dstd"))
    assert davg.shape == dstd.shape == (2, 4)
    assert np.all(davg[:, 0] > 0)
    np.testing.assert_array_equal(davg[:, 1:], 0)
    assert np.all(dstd > 0)


def test_systems_that_share_no_labels_cannot_share_a_batch(tmp_path):
    systems = [tiny.system(tmp_path / "a"), tiny.system(tmp_path / "b", seed=1, virial=False)]
    config = load(tiny.config(systems, {"training/training_data/batch_size": "mixed:4"}))
    with (
        pytest.warns(UserWarning, match="virial"),
        pytest.raises(ConfigError, match="mixed:N joins .* no virial label"),
    ):
        prepare(config)


def test_arrays_that_do_not_fit_their_own_settings(system):
    """A checkpoint whose description and arrays disagree: the message names the array and both shapes."""
    config = load(tiny.config([system]))
    variables = prepare(config).variables
    out_bias = np.zeros((3, 1))
    with pytest.raises(ConfigError, match=r"model: stats\.out_bias has shape \(3, 1\) .* this input needs \(2, 1\)\."):
        prepare(config, (config.model, variables | {"stats": variables["stats"] | {"out_bias": out_bias}}))
