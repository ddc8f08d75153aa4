"""Several processes train together: the numbers of one process with as many devices; where they meet."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import CheckpointStore, load_checkpoint
from dpjax.data import Sampler
from dpjax.errors import ConfigError
from dpjax.training import hosts
from dpjax.training.hosts import Meeting, meeting, rate_factor
from tests.training import tiny
from tests.training.test_tasks import inputs

pytestmark = pytest.mark.xdist_group("processes")  # one test at a time: each waits for programs of its own

EDITS = tiny.ENERGY_ONLY | {
    "model/fitting_net/neuron": [40, 40],
    "learning_rate/decay_rate": 0.9,
    "training/zero_stage": 1,
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        (
            {"DPJAX_COORDINATOR": "a:1", "DPJAX_NUM_PROCESSES": "2", "DPJAX_PROCESS_ID": "1"},
            Meeting("a:1", 2, 1),
        ),
        ({"MASTER_ADDR": "b", "MASTER_PORT": "29500", "WORLD_SIZE": "4", "RANK": "3"}, Meeting("b:29500", 4, 3)),
        ({"SLURM_STEP_NUM_TASKS": "2"}, Meeting()),
        ({"SLURM_STEP_NUM_TASKS": "1"}, None),
    ],
)
def test_where_processes_meet(environ, expected):
    assert meeting(environ) == expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DPJAX_COORDINATOR": "a:1"}, "DPJAX_NUM_PROCESSES, DPJAX_PROCESS_ID missing"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "b"}, "MASTER_PORT missing"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a whole number"),
    ],
)
def test_half_an_address_is_refused(environ, message):
    with pytest.raises(ConfigError, match=message):
        meeting(environ)


@pytest.mark.parametrize(("how", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_the_rate_follows_the_number_of_processes(monkeypatch, how, factor):
    monkeypatch.setattr(hosts.jax, "process_count", lambda: 4)
    assert rate_factor(how) == factor


def test_workers_share_larger_batches():
    systems = [SimpleNamespace(name="s", n_frame=7, n_atom=3)]
    for rule, size in ((2, 6), ("mixed:2", 6)):
        rules = SimpleNamespace(batch_size=rule, auto_prob="prob_sys_size", sys_probs=None)
        sampler = Sampler(systems, rules, seed=1, workers=3)
        assert sampler.frames_per_batch(0) == size
        assert len(sampler.next_batch()[0][1]) == size


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def xla_flags(n_device: int) -> str:
    """Those of this process with another number of devices: programs that are compared are compiled alike."""
    count = "--xla_force_host_platform_device_count"
    others = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(count)]
    return " ".join([*others, f"{count}={n_device}"])


def start(folder: Path, number: int, port: int, n_device: int = 1, *args: str) -> subprocess.Popen:
    """``dpjax train`` as one of two processes with so many devices each."""
    env = os.environ | {
        "DPJAX_COORDINATOR": f"localhost:{port}",
        "DPJAX_NUM_PROCESSES": "2",
        "DPJAX_PROCESS_ID": str(number),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags(n_device),
    }
    command = [sys.executable, "-m", "dpjax", "train", str(folder / "input.json"), "-o", str(folder / "out"), *args]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_a_checkpoint(folder: Path) -> None:
    """Of a run that was started in the folder."""
    late = time.monotonic() + 200
    while not (folder / "out" / "checkpoint").exists() and time.monotonic() < late:
        time.sleep(0.2)


def outputs(processes: list[subprocess.Popen]) -> list[str]:
    """What they print; none may fail."""
    try:
        texts = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n---\n".join(texts)
    return texts


def close(ours: Path, theirs: Path) -> None:
    """Two checkpoints hold the same numbers."""
    trees = [jax.tree.leaves(load_checkpoint(path)[0]) for path in (ours, theirs)]
    for a, b in zip(*trees, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-7 if np.asarray(a).dtype == np.float32 else 1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_device", "edits"),
    [
        (1, {}),
        pytest.param(  # the second process has frames in no step
            2,
            {
                "training/training_data/batch_size": 1,
                "optimizer": {"type": "HybridMuon"},
                # rounding to bfloat16, the default, makes 1e-3 of a last digit that another order of sums changes
                "dpjax/muon_precision": "full",
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            2,
            {
                "training/training_data/batch_size": "mixed:3",
                "validating": {"full_validation": True, "validation_freq": 3, "full_val_start": 0},
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1,
            {
                "optimizer": {"type": "LKF", "kf_blocksize": 200},
                "training/zero_stage": 0,
                "loss/start_pref_f": 1,
                "loss/limit_pref_f": 1,
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_give_the_numbers_of_one(tmp_path, n_device, edits):
    """Of one with batches and rate twice as large; with the optimizer's state split over the processes, and a restart on one."""
    systems = [tiny.system(tmp_path / "one"), tiny.system(tmp_path / "two", n_atom=8, seed=1)]
    validation = {"systems": [str(systems[0])], "batch_size": 3}
    config = tiny.config(systems, EDITS | {"training/validation_data": validation} | edits)
    (tmp_path / "input.json").write_text(json.dumps(config))
    port = free_port()
    texts = outputs([start(tmp_path, number, port, n_device) for number in range(2)])
    assert f"{2 * n_device} devices" in texts[0] and "training:" not in texts[1]
    batch = {2: 4, 1: 2, "mixed:3": "mixed:6"}[config["training"]["training_data"]["batch_size"]]
    rate = {"learning_rate/start_lr": 0.02, "learning_rate/stop_lr": 2e-4}
    alone = tiny.edited(config, rate | {"training/training_data/batch_size": batch})
    result = dpjax.train(alone, tmp_path / "alone")
    close(tmp_path / "out" / result.checkpoint.name, result.checkpoint)
    assert _curve(tmp_path / "out") == pytest.approx(_curve(tmp_path / "alone"))
    resumed = dpjax.train(tiny.edited(alone, {"training/numb_steps": 7}), tmp_path / "out", restart=True)
    assert resumed.steps == 7
    if edits:
        (tmp_path / "input.json").write_text(json.dumps(tiny.edited(config, {"training/numb_steps": 9})))
        texts = outputs(
            [start(tmp_path, number, free, n_device, "-r") for free in [free_port()] for number in range(2)]
        )
        assert "restart from step 7" in texts[0]
        assert CheckpointStore(tmp_path / "out", "model.ckpt", 5).latest_step() == 9


def _curve(folder: Path) -> list[float]:
    """The errors of a learning curve."""
    return np.loadtxt(folder / "lcurve.out")[:, 1:-1].ravel().tolist()


@pytest.mark.slow
def test_two_processes_fine_tune_several_tasks(tmp_path):
    """With the numbers of one: pooled statistics, a shifted bias before and after the training."""
    systems = [tiny.system(tmp_path / "a"), tiny.system(tmp_path / "b", n_atom=8, seed=1)]
    data = inputs(systems, {"learning_rate/scale_by_worker": "none", "training/enable_ema": False})
    dpjax.train(tiny.edited(data, {"training/numb_steps": 2}), tmp_path / "pretrained")
    for name in ("water", "ice"):
        data["model"]["model_dict"][name]["finetune_head"] = name
    data = tiny.edited(data, {"training/change_bias_after_training": True})
    (tmp_path / "input.json").write_text(json.dumps(data))
    port = free_port()
    outputs([start(tmp_path, number, port, 1, "--finetune", str(tmp_path / "pretrained")) for number in range(2)])
    for name, size in (("water", 4), ("ice", 2)):
        data["training"]["data_dict"][name]["training_data"]["batch_size"] = size
    alone = dpjax.train(data, tmp_path / "alone", finetune=tmp_path / "pretrained")
    close(tmp_path / "out" / alone.checkpoint.name, alone.checkpoint)
    assert (tmp_path / "out" / "finetune_ice.out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path, number):
    """With a last checkpoint, from which a restart goes on."""
    system = tiny.system(tmp_path / "system")
    config = tiny.config([system], EDITS | {"training/numb_steps": 10**6, "training/save_freq": 50})
    (tmp_path / "input.json").write_text(json.dumps(config))
    port = free_port()
    processes = [start(tmp_path, process, port) for process in range(2)]
    try:
        wait_for_a_checkpoint(tmp_path)
        processes[1].send_signal(number)
        texts = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2, texts
    assert "stopped by SIGTERM after step" in texts[0]
    newest = CheckpointStore(tmp_path / "out", "model.ckpt", 5).latest_step()
    assert f"after step {newest} of" in texts[0]
    resumed = dpjax.train(tiny.edited(config, {"training/numb_steps": newest + 2}), tmp_path / "out", restart=True)
    assert resumed.steps == newest + 2


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_where_one_process_dies_the_other_ends(tmp_path, victim):
    """And says so; a restart on one process goes on."""
    system = tiny.system(tmp_path / "system")
    config = tiny.config([system], EDITS | {"training/numb_steps": 10**6, "training/save_freq": 20})
    (tmp_path / "input.json").write_text(json.dumps(config))
    port = free_port()
    processes = [start(tmp_path, number, port) for number in range(2)]
    try:
        wait_for_a_checkpoint(tmp_path)
        processes[victim].kill()
        text, _ = processes[1 - victim].communicate(timeout=200)
    finally:
        for process in processes:
            process.kill()
    assert processes[1 - victim].returncode != 0
    assert "another" in text  # our message, or that of JAX's runtime
    newest = CheckpointStore(tmp_path / "out", "model.ckpt", 5).latest_step()
    resumed = dpjax.train(tiny.edited(config, {"training/numb_steps": newest + 2}), tmp_path / "out", restart=True)
    assert resumed.steps == newest + 2
