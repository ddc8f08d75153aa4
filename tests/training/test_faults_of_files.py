"""Kills and full disks while one of the files of a run is written, and data that are bad or change: one error, nothing lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import CheckpointStore, folder, load_checkpoint
from dpjax.errors import DataError, OutputError
from dpjax.training.programs import Programs
from tests.training import tiny
from tests.training.test_restart import same


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture(scope="module")
def systems(tmp_path_factory) -> list[Path]:
    data = tmp_path_factory.mktemp("data")
    return [tiny.system(data / "train"), tiny.system(data / "valid", seed=1)]


def inputs(systems, edits=None) -> dict:
    """Updates of two steps each, with averages and best checkpoints, all of which stay."""
    rules = {
        "training/numb_steps": 4, "training/save_freq": 1, "training/disp_freq": 1, "training/acc_freq": 2,
        "training/enable_ema": True, "training/validation_data": {"systems": [str(systems[1])]}, "dpjax/prefetch": 0,
        "validating": {"full_validation": True, "validation_freq": 1, "full_val_start": 0, "max_best_ckpt": 9},
    }  # fmt: skip
    return tiny.config(systems[:1], tiny.ENERGY_ONLY | rules | (edits or {}))


@pytest.fixture(scope="module")
def whole(systems, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    dpjax.train(inputs(systems), output)
    return output


def check_ends_alike(output: Path, whole: Path) -> None:
    for name in ("model.ckpt-4", "model.ckpt_ema-4"):
        assert same(*(load_checkpoint(run / name)[0] for run in (output, whole)))
    for name in ("lcurve.out", "val.log"):
        assert (output / name).read_text() == (whole / name).read_text()
    assert len({tuple(sorted(p.name for p in run.glob("best.ckpt*"))) for run in (output, whole)}) == 1


@pytest.mark.parametrize(
    ("name", "fault", "left"),
    [
        pytest.param("model.ckpt-3", "kill", 2, marks=pytest.mark.slow),
        # the restart begins between two steps of one update
        pytest.param("model.ckpt_ema-3", "kill", 3, marks=pytest.mark.slow),
        pytest.param("best.ckpt-3", "kill", 2, marks=pytest.mark.slow),
        pytest.param("best.ckpt-3", "full", 2, marks=pytest.mark.slow),
        pytest.param("model.ckpt_ema-3", "full", 3, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_that_is_not_finished(systems, whole, tmp_path, monkeypatch, name, fault, left):
    """Half of a folder is there when the run ends; the restart ends as if nothing had happened."""
    write = folder.write

    def ending(path: Path, *args) -> None:
        if not path.name.startswith(name):
            return write(path, *args)
        half = path.with_name(path.name + folder.TEMPORARY)
        half.mkdir()
        (half / "meta").write_text("{")
        raise Killed if fault == "kill" else OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write", ending)
        with pytest.raises(Killed if fault == "kill" else OutputError) as error:
            dpjax.train(inputs(systems), tmp_path)
    if fault == "full":
        assert str(error.value).startswith(f"{tmp_path}/{name}: could not save") and "Free disk" in str(error.value)
    store = CheckpointStore(tmp_path)
    assert store.steps()[-1] == left == store.latest_step()
    for step in store.steps():
        assert same(*(load_checkpoint(run / f"model.ckpt-{step}")[0] for run in (tmp_path, whole)))
    dpjax.train(inputs(systems), tmp_path, restart=True)
    check_ends_alike(tmp_path, whole)
    assert not [p for p in tmp_path.iterdir() if folder.TEMPORARY in p.name]


def test_a_disk_that_is_full_for_the_results_of_validations(systems, tmp_path):
    (tmp_path / "val.log").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=rf"{tmp_path}/val.log: could not write .*No space left.* Free disk space"):
        dpjax.train(inputs(systems), tmp_path)


@pytest.mark.slow
def test_a_disk_that_is_full_for_tensorboard(systems, whole, tmp_path, monkeypatch):
    """The run ends instead of waiting for a thread that has died; it goes on from its last checkpoint."""
    writer = pytest.importorskip("tensorboardX.record_writer")
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    shutil.rmtree(output / "model.ckpt-4")
    with monkeypatch.context() as patch:
        patch.setattr(writer, "open_file", lambda path: open("/dev/full", "wb"))
        with pytest.raises(OutputError, match=rf"{output}/log: cannot write entries .*No space left.* Free disk space"):
            dpjax.train(inputs(systems, {"training/tensorboard": True}), output, restart=True)
    assert CheckpointStore(output).steps()[-1] == 3
    dpjax.train(inputs(systems), output, restart=True)
    check_ends_alike(output, whole)


def test_a_validation_label_that_is_no_number(systems, whole, tmp_path):
    output, valid = tmp_path / "out", tmp_path / "valid"
    shutil.copytree(whole, output)
    shutil.copytree(systems[1], valid)
    force = np.load(valid / "set.000" / "force.npy")
    force[1, 7] = np.nan
    np.save(valid / "set.000" / "force.npy", force)
    before = {p.name for p in output.iterdir()}
    config = inputs([systems[0], valid], {"training/numb_steps": 6})
    with pytest.raises(DataError, match=rf"{valid}/set.000/force.npy: frame 1, atom 2 .* holds nan"):
        dpjax.train(config, output, restart=True)
    assert {p.name for p in output.iterdir()} >= before
    assert same(*(load_checkpoint(run / "model.ckpt-4")[0] for run in (output, whole)))


def test_data_that_are_replaced_during_the_run(systems, tmp_path, monkeypatch):
    train = tmp_path / "train"
    shutil.copytree(systems[0], train)
    file, update, made = train / "set.000" / "coord.npy", Programs.update, []

    def replacing(self, state, data):
        made.append(1)
        if len(made) == 2:
            np.save(file, np.load(file) + 0.01)
            os.utime(file, ns=(0, 10**18))
        return update(self, state, data)

    monkeypatch.setattr(Programs, "update", replacing)
    with pytest.raises(DataError, match=rf"{file}.* changed while the training reads it"):
        dpjax.train(inputs([train, systems[1]]), tmp_path / "out")
    assert CheckpointStore(tmp_path / "out").latest_step() == 2
