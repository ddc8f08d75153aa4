"""What ends or disturbs a run from outside: kill -9, signals, a full disk, data that changed, a NaN in the middle."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import CheckpointStore, folder, load_checkpoint
from dpjax.errors import NonFiniteError, OutputError
from dpjax.training.fingerprint import changed
from tests.shared import REPOSITORY
from tests.training import tiny
from tests.training.test_restart import same

pytestmark = pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")


def start(config: dict, output: Path, *options: str, devices: int = 1) -> subprocess.Popen:
    """``dpjax train`` as a process of its own, on so many virtual devices."""
    output.mkdir(exist_ok=True)
    path = output.parent / f"{output.name}.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "dpjax", "train", str(path), "-o", str(output), *options]
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, env=env)


def wait_until(there: Callable[[], bool], process: subprocess.Popen) -> None:
    """Returns when something is there that the running process makes."""
    deadline = time.monotonic() + 240
    while not there():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the run saves nothing"
        time.sleep(0.002)


def wait_for_checkpoint(output: Path, process: subprocess.Popen, at_least: int) -> None:
    """Returns when the run has saved a checkpoint of this step or a later one."""
    store = CheckpointStore(output)
    wait_until(lambda: (store.latest_step() or 0) >= at_least, process)


def wait_for_a_save_to_begin(output: Path, process: subprocess.Popen) -> None:
    """Returns while the run is writing a checkpoint."""
    wait_until(lambda: any(folder.TEMPORARY in entry for entry in os.listdir(output)), process)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_kill_9_and_restart_end_where_an_uninterrupted_run_ends(finished, tmp_path, devices):
    steps = 60
    config = tiny.edited(finished.config, {"training/numb_steps": steps, "training/save_freq": 2})
    whole = start(config, tmp_path / "whole", devices=devices)
    assert whole.wait(300) == 0, whole.stderr.read()
    assert ("2 devices of which 2 have frames" in whole.stderr.read()) == (devices == 2)
    killed = tmp_path / "killed"
    for moment in (4, 12, 24):  # three lives, each ended without warning, the later ones in the middle of a save
        process = start(config, killed, *(["--restart"] if moment > 4 else []), devices=devices)
        wait_for_checkpoint(killed, process, moment)
        if moment > 4:
            wait_for_a_save_to_begin(killed, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    last = start(config, killed, "--restart", devices=devices)
    assert last.wait(300) == 0, last.stderr.read()
    one, other = (load_checkpoint(tmp_path / name / f"model.ckpt-{steps}") for name in ("whole", "killed"))
    assert same(one[0], other[0])
    assert one[1]["data"] == other[1]["data"]
    assert (killed / "lcurve.out").read_text() == (tmp_path / "whole" / "lcurve.out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint_and_says_so(finished, tmp_path, number):
    config = tiny.edited(finished.config, {"training/numb_steps": 1_000_000, "training/save_freq": 5})
    process = start(config, tmp_path / "run")
    wait_for_checkpoint(tmp_path / "run", process, 5)
    process.send_signal(number)
    assert process.wait(120) == 128 + number
    text = process.stderr.read()
    newest = CheckpointStore(tmp_path / "run").latest_step()
    assert f"stopped by {number.name} after step {newest} of 1000000; --restart goes on from there" in text
    assert "Traceback" not in text


# Orbax leaves futures of a failed save behind, which complain when its event loop has gone
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_disk_that_is_full_at_the_second_save(finished, tmp_path, monkeypatch):
    """One error that says where and what to do; with room again, the run ends as if nothing had happened."""
    config = tiny.edited(finished.config, {"training/save_freq": 3})
    output, limit, write = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE), folder.write

    def write_to_a_small_disk(path: Path, *args) -> None:
        room = limit[0] if path.name.endswith("-3") else 1000  # bytes for each file
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
        try:
            write(path, *args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write", write_to_a_small_disk)
        with pytest.raises(OutputError, match=rf"{output}/model.ckpt-6: could not save .* Free disk space or choose a"):
            dpjax.train(config, output)
    assert [p.name for p in output.glob("model.ckpt*")] == ["model.ckpt-3"]
    assert (output / "checkpoint").read_text() == "model.ckpt-3\n"
    assert same(load_checkpoint(output / "model.ckpt-3")[0], load_checkpoint(finished.output / "model.ckpt-3")[0])
    result = dpjax.train(config, output, restart=True)
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(finished.result.checkpoint)[0])
    assert (output / "lcurve.out").read_text() == (finished.output / "lcurve.out").read_text()


@pytest.mark.parametrize("name", ["out.json", "lcurve.out"])
def test_a_disk_that_is_full_for_other_files(finished, tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OutputError, match=rf"{tmp_path}/{name}: could not .*No space left on device.* Free disk space"):
        dpjax.train(finished.config, tmp_path)


def test_data_that_changed_is_reported(finished, tmp_path, caplog):
    systems = [tiny.system(tmp_path / "a"), tiny.system(tmp_path / "b", seed=1)]
    edits = {"training/training_data/systems": [str(s) for s in systems], "training/validation_data": tiny.REMOVE}
    config = tiny.edited(finished.config, edits | {"training/numb_steps": 2})
    dpjax.train(config, tmp_path / "out")
    file = systems[1] / "set.000" / "energy.npy"
    np.save(file, np.load(file) + 1.0)
    with caplog.at_level(logging.WARNING, "dpjax"):
        dpjax.train(tiny.edited(config, {"training/numb_steps": 3}), tmp_path / "out", restart=True)
    reported = [r.getMessage() for r in caplog.records if "data changed since the checkpoint" in r.getMessage()]
    assert [str(systems[1]) in text for text in reported] == [True]


def test_changed_names():
    assert changed({"a": "1", "b": "2"}, {"a": "1", "b": "2"}) == []
    assert changed({"a": "1", "b": "3", "c": "4"}, {"a": "1", "b": "2", "d": "5"}) == ["b", "c", "d"]


def test_a_nan_between_rows_stops_at_once_and_names_the_frames(finished, tmp_path):
    """The learning curve has a row only every 1000 steps; the absurd frame is met long before."""
    good, bad = tiny.system(tmp_path / "good"), tiny.system(tmp_path / "bad", seed=1)
    file = bad / "set.000" / "force.npy"
    force = np.load(file)
    force[2] += 1e200  # its square overflows
    np.save(file, force)
    edits = {"training/training_data/systems": [str(good), str(bad)], "training/validation_data": tiny.REMOVE}
    edits |= {"training/training_data/batch_size": 1, "training/numb_steps": 1000, "training/disp_freq": 1000}
    config = tiny.edited(finished.config, edits | {"training/save_freq": 1})
    with pytest.raises(NonFiniteError) as error:
        dpjax.train(config, tmp_path / "out")
    text = str(error.value)
    assert f"{bad} frames [2]" in text
    step = int(text.split("at step ")[1].split(",")[0])
    assert CheckpointStore(tmp_path / "out").latest_step() in (step - 1, None)
