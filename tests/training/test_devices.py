"""Training on two devices: the same numbers as on one, idle devices, restarts on another number of devices."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.descriptors import expansion
from dpjax.training import setup as training_setup
from dpjax.training.devices import busy_devices, data_mesh, deal
from dpjax.training.run import summary
from dpjax.training.setup import prepare
from tests.contracts.cases import dpa3
from tests.training import tiny

pytestmark = pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")


def test_frames_are_dealt_out_whole():
    assert deal([(0, [4, 1, 7])], 2) == [[(0, [4, 7])], [(0, [1])]]
    assert deal([(0, [4]), (2, [5, 6])], 2) == [[(0, [4]), (2, [6])], [(2, [5])]]
    assert deal([(1, [3])], 3) == [[(1, [3])], [], []]


def test_busy_devices():
    assert busy_devices([1, 4], [0.5, 0.5], 2) == 1.5


def test_one_device_needs_no_mesh():
    assert data_mesh(jax.devices()[:1]) is None
    assert data_mesh(jax.devices()[:2]).shape == {"data": 2}


def trained(config: dict, folder, monkeypatch, n_device: int, **options):
    """Parameters, data position and metrics after a training on the first ``n_device`` devices."""
    with monkeypatch.context() as patch:
        patch.setattr(training_setup, "data_mesh", lambda: data_mesh(jax.devices()[:n_device]))
        result = dpjax.train(config, folder, **options)
    arrays, meta = load_checkpoint(result.checkpoint)
    return arrays, meta, result.metrics


def close(a, b) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)


@pytest.fixture(scope="module")
def config(finished):
    """Batches of three frames of four, so that the last batch of a pass is short and one device gets fewer frames.

    The given decay rate makes the learning rate independent of the number of steps.
    """
    edits = {"training/training_data/batch_size": 3, "learning_rate/decay_rate": 0.9, "learning_rate/decay_steps": 2}
    return tiny.edited(finished.config, edits)


@pytest.fixture
def series(monkeypatch):
    """Programs with series from the start; the tests here share them."""
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)


def both(config, folder, monkeypatch):
    """What two trainings leave, on one device and on two."""
    return [trained(config, folder / f"{n}", monkeypatch, n) for n in (1, 2)]


def alike(one, two) -> None:
    close(one[0]["params"], two[0]["params"])
    assert one[1]["data"]["sampler"] == two[1]["data"]["sampler"]
    for name, value in one[2].items():
        np.testing.assert_allclose(two[2][name], value, rtol=1e-8)


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(config, tmp_path, monkeypatch):
    alike(*both(config, tmp_path, monkeypatch))


@pytest.mark.slow
def test_two_devices_with_flat_lists(config, tmp_path, monkeypatch):
    """Lists of both have one size, and one device is idle at times."""
    flow = {"nlayers": 1, "use_dynamic_sel": True, "sel_reduce_factor": 2.0}
    alike(*both(tiny.edited(config, {"model/descriptor": dpa3(flow)}), tmp_path, monkeypatch))


@pytest.mark.slow
def test_two_devices_with_series_and_a_restart_on_one(config, series, tmp_path, monkeypatch):
    """One of them is idle at times: its batch has no atoms, nor a nearest distance to make series for.

    A restart on another number of devices goes on with the same frames.
    """
    config = tiny.edited(config, {"training/validation_data": tiny.REMOVE})  # test_run.py has those of two devices
    one, two = both(config, tmp_path, monkeypatch)
    alike(one, two)
    half = tiny.edited(config, {"training/numb_steps": 3})
    trained(half, tmp_path / "parts", monkeypatch, 2)
    resumed = trained(config, tmp_path / "parts", monkeypatch, 1, restart=True)
    close(two[0]["params"], resumed[0]["params"])
    assert two[1]["data"]["sampler"] == resumed[1]["data"]["sampler"]


def test_the_devices_are_named(finished):
    setup = prepare(load(tiny.edited(finished.config, {"training/training_data/batch_size": 1})))
    assert re.search(r"on cpu \(\w+\), 2 devices of which 1 have frames on average", summary(setup))
