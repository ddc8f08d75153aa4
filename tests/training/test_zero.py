"""The state of a training split over two devices: the same numbers, less memory on each."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError
from dpjax.train_state import TrainState
from dpjax.training import setup as training_setup
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.devices import AXIS, data_mesh, place_batch
from dpjax.training.programs import Programs
from dpjax.training.setup import prepare
from dpjax.training.zero import SMALLEST, Zero, split
from tests.training import tiny

WIDE = tiny.ENERGY_ONLY | {"model/fitting_net/neuron": [40, 40], "learning_rate/decay_rate": 0.9}
OPTIMIZERS = {
    "adam": {"optimizer": {"type": "Adam"}},
    "muon": {"optimizer": {"type": "HybridMuon"}, "dpjax/muon_precision": "full"},
}


@pytest.mark.parametrize(
    ("shape", "n_device", "first", "expected"),
    [
        ((40, 60), 2, 0, (None, AXIS)),  # the longest axis
        ((60, 40), 2, 0, (AXIS,)),
        ((64, 63), 2, 0, (AXIS,)),  # that they divide
        ((99, 101), 2, 0, ()),
        ((64, 64), 2, 0, (AXIS,)),  # of equal ones the first
        ((SMALLEST // 4, 2), 2, 0, ()),  # not worth it
        ((64, 40, 40), 4, 1, (None, AXIS)),  # members are not split
        ((), 2, 0, ()),
        ((4096,), 1, 0, ()),
    ],
)
def test_which_axis_is_split(shape, n_device, first, expected):
    assert split(shape, n_device, first) == PartitionSpec(*expected)


def inputs(system, stage: int, optimizer: str = "adam", **edits) -> dict:
    return tiny.config([system], WIDE | OPTIMIZERS[optimizer] | {"training/zero_stage": stage} | edits)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("zero") / "system")


@pytest.fixture(scope="module")
def whole(system, tmp_path_factory):
    """The checkpoint of stage 0 for an optimizer."""

    @functools.cache
    def trained(optimizer: str):
        result = dpjax.train(inputs(system, 0, optimizer), tmp_path_factory.mktemp("whole"))
        return load_checkpoint(result.checkpoint)[0]

    return trained


def close(a, b) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("stage", "optimizer"),
    [
        pytest.param(1, "adam", marks=pytest.mark.slow),
        pytest.param(2, "adam", marks=pytest.mark.slow),
        (3, "adam"),
        pytest.param(3, "muon", marks=pytest.mark.slow),
    ],
)
def test_every_stage_gives_the_numbers_of_stage_zero(system, whole, tmp_path, stage, optimizer):
    """The whole checkpoint is the same, with one compiled program."""
    result = dpjax.train(inputs(system, stage, optimizer), tmp_path)
    close(load_checkpoint(result.checkpoint)[0], whole(optimizer))
    assert result.programs == 1


@pytest.mark.slow
def test_a_restart_may_have_another_stage_or_one_device(system, whole, tmp_path, monkeypatch, caplog):
    for number, (steps, stage) in enumerate([(2, 3), (4, 1)]):
        dpjax.train(inputs(system, stage, **{"training/numb_steps": steps}), tmp_path, restart=number > 0)
    monkeypatch.setattr(training_setup, "data_mesh", lambda: None)
    with caplog.at_level("INFO", "dpjax"):
        result = dpjax.train(inputs(system, 2), tmp_path, restart=True)
    close(load_checkpoint(result.checkpoint)[0], whole("adam"))
    assert "training/zero_stage 2 changes nothing: there is one device" in caplog.text


@pytest.mark.slow
def test_the_bias_is_shifted_with_a_split_state(system, tmp_path):
    """To what it would be with the whole state on each device."""
    edits = {"training/numb_steps": 2, "training/change_bias_after_training": True}
    split, plain = (dpjax.train(inputs(system, stage, **edits), tmp_path / f"{stage}") for stage in (3, 0))
    close(*(load_checkpoint(result.checkpoint)[0] for result in (split, plain)))
    assert split.metrics == pytest.approx(plain.metrics)


def bytes_of(tree, device: int | None = None) -> int:
    """Of all numbers of a tree, or of what lies on one device."""
    leaves = jax.tree.leaves(tree)
    return sum(leaf.nbytes if device is None else leaf.addressable_shards[device].data.nbytes for leaf in leaves)


@pytest.mark.parametrize("stage", [1, 3])
def test_each_device_holds_its_part(system, stage):
    """Before the step and after it; the buffers of the state before are used again."""
    config = load(inputs(system, stage))
    setup = prepare(config)
    state, programs = setup.zero.placed(setup.initial_state()), Programs(setup)
    data = place_batch(setup.training.next_batch(setup.mesh.size)[0], setup.mesh)
    with persistent_programs(config.dpjax.compilation_cache):
        for _ in range(2):
            large = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.size >= SMALLEST]
            assert large and all(bytes_of(leaf, 1) == leaf.nbytes // 2 for leaf in large)
            share = bytes_of(state.params, 0) / bytes_of(state.params)
            assert share == 1 if stage == 1 else share < 0.8
            state, _ = programs.update(state, data)
            assert all(leaf.is_deleted() for leaf in large)
    assert programs.count == 1


def test_averages_are_split_and_the_axis_of_members_is_not():
    ones, zero = jnp.ones((2, 40, 40)), Zero(1, data_mesh(jax.devices()[:2]), members=2)
    placed = zero.placed(TrainState(jnp.zeros((), int), ones, (ones, jnp.ones(2)), ones))
    for split_leaf in (placed.opt_state[0], placed.ema):
        assert split_leaf.sharding.spec == PartitionSpec(None, AXIS)
    for whole_leaf in (placed.step, placed.params, placed.opt_state[1]):
        assert whole_leaf.sharding.is_fully_replicated


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"training/zero_stage": 4}, "training/zero_stage"),
        ({"training/zero_stage": 2, "training/enable_ema": True}, "training/enable_ema"),
    ],
)
def test_what_does_not_go_together_is_refused(system, edits, path):
    with pytest.raises(ConfigError, match=f"{path}: found"):
        load(tiny.config([system], edits))
