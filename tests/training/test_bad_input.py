"""Mistakes in the input and in the data, through the command line: exit code 1 and one line that says where it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import CheckpointStore, load_checkpoint
from dpjax.cli.main import main
from dpjax.errors import NonFiniteError
from dpjax.training.programs import Programs
from tests.shared import REPOSITORY
from tests.training import tiny

SET = "set.000"


@pytest.fixture
def system(tmp_path) -> Path:
    return tiny.system(tmp_path / "system")


def write_input(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "input.json"
    path.write_text(json.dumps(config))
    return path


def failure(capsys, argv: list[str | Path], log_level: str = "ERROR") -> str:
    """The message of a command that fails as it should."""
    capsys.readouterr()
    assert main(["train", *map(str, argv), "--log-level", log_level]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("dpjax: error: ")
    return lines[0].removeprefix("dpjax: error: ")


def train_failure(capsys, tmp_path: Path, config: dict[str, Any]) -> str:
    message = failure(capsys, [write_input(tmp_path, config), "--output", tmp_path / "out"])
    assert not list((tmp_path / "out").glob("model.ckpt*"))
    return message


def change(name: str, edit: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Rewrites one array of a system; an edit may work in place and return nothing."""

    def apply(system: Path) -> None:
        path = system / SET / f"{name}.npy"
        values = np.load(path)
        changed = edit(values)
        np.save(path, values if changed is None else changed)

    return apply


def put(value: float, *place: int) -> Callable[[np.ndarray], None]:
    def edit(values: np.ndarray) -> None:
        values[place] = value

    return edit


def one_point(coord: np.ndarray) -> None:
    coord[1, 3:6] = coord[1, 12:15]


def image_point(coord: np.ndarray) -> None:
    coord[1, 3:6] = coord[1, 12:15] + tiny.CELL[0] - tiny.CELL[2]


def truncate(system: Path) -> None:
    path = system / SET / "force.npy"
    path.write_bytes(path.read_bytes()[:-40])


def cut_header(system: Path) -> None:
    path = system / SET / "coord.npy"
    path.write_bytes(path.read_bytes()[:20])


BAD_DATA = {
    "missing type.raw": (lambda s: (s / "type.raw").unlink(), r"system/type\.raw is missing"),
    "words in type.raw": (lambda s: (s / "type.raw").write_text("O H H\n"), r"type\.raw: entry 1 is 'O'"),
    "no sets": (lambda s: shutil.rmtree(s / SET), r"system.* set\.\*"),
    "no system": (lambda s: shutil.rmtree(s), r"system is not a directory"),
    "wrong width": (
        change("force", lambda x: x[:, :-3]),
        r"force\.npy has shape \(4, 15\).* expected .* = \(4, 18\)",
    ),
    "wrong number of frames": (change("energy", lambda x: x[:3]), r"energy\.npy has 3 frames .* coord\.npy .* 4"),
    "unknown element": (lambda s: (s / "type_map.raw").write_text("O\nC\n"), r"system.*\bC\b.*\bO, H\b"),
    "missing label": (lambda s: (s / SET / "force.npy").unlink(), r"force\.npy is missing.*loss/start_pref_f"),
    "missing cell": (lambda s: (s / SET / "box.npy").unlink(), r"box\.npy is missing.*nopbc"),
    "NaN coordinate": (change("coord", put(np.nan, 2, 4)), r"coord\.npy: frame 2, atom 1 .* holds nan"),
    "infinite energy": (change("energy", put(np.inf, 3)), r"energy\.npy: frame 3, .* holds inf"),
    "two atoms on one point": (change("coord", one_point), r"system.* frame 1\b.*atoms? "),
    "atom on an image": (change("coord", image_point), r"system.* frame 1\b.*atoms? "),
    "zero cell": (change("box", lambda x: 0 * x), r"box\.npy: frame 0 has a zero cell"),
    "singular cell": (change("box", put(0.0, 2, slice(6, 9))), r"box\.npy: frame 2 has a singular cell"),
    "truncated array": (truncate, r"force\.npy is truncated: .* bytes"),
    "truncated header": (cut_header, r"coord\.npy \(20 bytes\) has no readable \.npy header"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(name, system, tmp_path, capsys):
    spoil, pattern = BAD_DATA[name]
    spoil(system)
    message = train_failure(capsys, tmp_path, tiny.config([system]))
    assert re.search(pattern, message), message


BAD_INPUT = {
    "misspelt key": (
        {"model/descriptor/rcut_smht": 0.5},
        r"input\.json, line 1: model/descriptor/rcut_smht\b.*rcut_smth",
    ),
    "misspelt section": ({"lerning_rate": {}}, r"input\.json, line 1: lerning_rate\b.*learning_rate"),
    "wrong type": ({"model/descriptor/rcut": "six"}, r"input\.json, line 1: model/descriptor/rcut\b.*six"),
    "sel too short": ({"model/descriptor/sel": [12]}, r"input\.json, line 1: model/descriptor/sel\b.*\b2\b.*O, H"),
    "no systems": ({"training/training_data/systems": []}, r"systems"),
    "both lengths": ({"training/numb_epoch": 2}, r"input\.json, line 1: training/numb_steps: found both"),
    "unknown descriptor": (
        {"model/descriptor/type": "se_e2_b"},
        r"input\.json, line 1: model/descriptor/type\b.*se_e2_a",
    ),
    "unbuilt option": (
        {"model/spin": {"use_spin": [True, False], "scheme": "native"}},
        r"input\.json, line 1: model/spin/scheme\b.*not built",
    ),
    "no batch fits": ({"training/training_data/batch_size": "filter:3"}, r"training/training_data/batch_size"),
    "bad probabilities": ({"training/training_data/sys_probs": [0.5, 0.5]}, r"training/training_data/sys_probs"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input(name, system, tmp_path, capsys):
    edits, pattern = BAD_INPUT[name]
    message = train_failure(capsys, tmp_path, tiny.config([system], edits))
    assert re.search(pattern, message), message


def test_validation_data_are_checked_too(system, tmp_path, capsys):
    valid = tiny.system(tmp_path / "valid", seed=1)
    (valid / SET / "energy.npy").unlink()
    config = tiny.config([system], {"training/validation_data": {"systems": [str(valid)]}})
    assert re.search(r"valid/set\.000/energy\.npy is missing", train_failure(capsys, tmp_path, config))


def test_missing_input_file(tmp_path, capsys):
    assert failure(capsys, [tmp_path / "none.json"]).startswith(f"{tmp_path / 'none.json'}: no such file")


@pytest.mark.parametrize("text", ['{"model": {', "[1, 2]", "", '{"model": {}, "model": {}}'])
def test_broken_input_file(tmp_path, capsys, text):
    path = tmp_path / "input.json"
    path.write_text(text)
    assert re.match(rf"{re.escape(str(path))}(, line 1, column \d+)?: ", failure(capsys, [path]))


def test_broken_yaml(tmp_path, capsys):
    """The reader's message has several lines, ours one."""
    path = tmp_path / "input.yaml"
    path.write_text("model: {\n")
    assert failure(capsys, [path]).startswith(f"{path}")


def test_output_that_cannot_be_written(system, tmp_path, capsys):
    (tmp_path / "out").write_text("a file where the folder should be")
    message = failure(capsys, [write_input(tmp_path, tiny.config([system])), "-o", tmp_path / "out" / "run"])
    assert message.startswith(f"{tmp_path / 'out' / 'run'}: cannot write into the output folder")
    assert "--output" in message


def test_learning_curve_that_cannot_be_written(system, tmp_path, capsys):
    (tmp_path / "out" / "lcurve.out").mkdir(parents=True)
    message = failure(capsys, [write_input(tmp_path, tiny.config([system])), "-o", tmp_path / "out"])
    assert message.startswith(f"{tmp_path / 'out' / 'lcurve.out'}: could not write the learning curve")


def test_restart_without_checkpoint(system, tmp_path, capsys):
    message = failure(capsys, [write_input(tmp_path, tiny.config([system])), "-o", tmp_path / "out", "--restart"])
    assert message.startswith(f"{tmp_path / 'out'}: expected a checkpoint named model.ckpt-<step>")


@pytest.mark.parametrize("prefetch", [0, 2])
def test_errors_of_the_prefetch_thread(system, tmp_path, capsys, prefetch):
    """Forces are read only when a batch is made."""
    change("force", put(np.nan, 1, 7))(system)
    config = tiny.config([system], {"dpjax/prefetch": prefetch})
    message = train_failure(capsys, tmp_path, config)
    assert re.search(r"force\.npy: frame 1, atom 2 .* holds nan", message)


def test_a_diverging_run_keeps_its_checkpoints(finished, tmp_path, capsys):
    """The square of an absurd energy overflows."""
    CheckpointStore(tmp_path / "out").save(3, *load_checkpoint(finished.output / "model.ckpt-3"))
    system = tiny.system(tmp_path / "system")
    change("energy", lambda x: x + 1e200)(system)
    edits = {"training/training_data/systems": [str(system)], "training/validation_data": tiny.REMOVE}
    path = write_input(tmp_path, tiny.edited(finished.config, edits))
    message = failure(capsys, [path, "-o", tmp_path / "out", "--restart"])
    assert re.match(
        r"the loss is inf at step 4, on \S*system frames \[0, 1\]; the checkpoint of step 3 is intact", message
    )
    assert "learning_rate/start_lr" in message
    assert CheckpointStore(tmp_path / "out").steps() == [3]


@pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")
def test_a_rate_without_measure_saves_nothing(finished, tmp_path, monkeypatch):
    """Parameters that overflow between two rows of the learning curve never reach a checkpoint."""
    update = Programs.update

    def overflowing(self, state, data):
        state, metrics = update(self, state, data)
        return state.replace(params=jax.tree.map(lambda x: 1e300 * x * 1e300, state.params)), metrics

    monkeypatch.setattr(Programs, "update", overflowing)
    edits = {"training/disp_freq": 100, "training/validation_data": tiny.REMOVE}
    with pytest.raises(NonFiniteError, match="parameters are not finite after step 1; nothing was saved"):
        dpjax.train(tiny.edited(finished.config, edits), tmp_path)
    assert CheckpointStore(tmp_path).steps() == []


def run_script(*argv: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "scripts" / "train.py"), *map(str, argv)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_what_the_command_prints(finished, tmp_path):
    """Plain lines of dpjax only: no chatter of libraries, warnings without their place in the code."""
    edits = {"dpjax/progress": "lines", "training/save_freq": 3}
    done = run_script("--config", write_input(tmp_path, tiny.edited(finished.config, edits)), "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    patterns = [
        r"warning: 1 of 2 systems have no virial\.npy .*",
        r"training: \d+ parameters, 2 systems with 8 frames, batch sizes \[2\], 6 steps, seed 3, on cpu.*",
        *[rf"step {n}/6  rmse_e .*" for n in (1, 2, 4, 6)],
        r"6 steps in .*",
        r"finished 6 steps in .* s, \d compiled programs",
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == len(patterns), done.stderr
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_what_the_command_prints_when_a_batch_is_bad(system, tmp_path):
    """The line of the error is the last one, and nothing of the thread that met it follows."""
    change("force", put(np.nan, slice(None), 7))(system)
    done = run_script("--config", write_input(tmp_path, tiny.config([system])), "-o", tmp_path / "out")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["training", "dpjax"], done.stderr
    assert "force.npy" in lines[-1]
