"""What is said about a training before it starts, against trainings that ran."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.config import load
from dpjax.errors import DataError
from dpjax.training import forecast as module
from dpjax.training.forecast import Memory, forecast
from dpjax.training.report import lines, memory_text, size_text
from dpjax.training.rows import rows_before, rows_of
from tests.training import tiny

pytestmark = pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")


def report(config: dict, compiled: bool = False) -> dict[str, str]:
    """The lines by their first word."""
    return dict(line.split(": ", 1) for line in lines(forecast(load(config), compiled)))


@pytest.fixture
def system(tmp_path):
    return tiny.system(tmp_path / "system")


def test_programs_are_those_of_the_training(finished):
    found = forecast(load(finished.config), compiled=False)
    assert found.programs == finished.result.programs
    assert (len(found.shapes.first), len(found.validation_shapes.first)) == (1, 1)
    assert (found.shapes.seen, found.validation_shapes.seen) == (6, 4)  # steps, and rows of the learning curve


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", ["auto:20", "mixed:3"])
def test_programs_of_systems_of_all_sizes(batch_size, tmp_path):
    """Sizes that differ from system to system, and one size for frames of all systems, chosen before the first step."""
    systems = [tiny.system(tmp_path / "six"), tiny.mixed_system(tmp_path / "mixed")]
    systems.append(tiny.system(tmp_path / "big", 27, seed=2))
    edits = {"training/training_data/batch_size": batch_size, "training/validation_data": {"systems": str(systems[0])}}
    config = tiny.config(systems, edits | tiny.ENERGY_ONLY)
    found = forecast(load(config), compiled=False)
    assert (len(found.shapes.first) > 1) == (batch_size == "auto:20")
    assert found.programs == dpjax.train(config, tmp_path / "out").programs


def test_number_of_reports():
    for frequency in (1, 2, 3, 7):
        for steps in range(20):
            shown = [
                s for s in range(steps) if rows_before(s + 1, frequency) > rows_before(s, frequency) or s + 1 == steps
            ]
            assert rows_of(steps, frequency) == len(shown)


def test_long_runs_are_looked_at_in_part(system, monkeypatch):
    monkeypatch.setattr(module, "DRAWN", 10)
    config = tiny.config([system], {"training/numb_steps": 10**9})
    found = forecast(load(config), compiled=False)
    assert (found.shapes.seen, found.shapes.number) == (5, 10**9)
    assert "of the 1000000000 steps the first 5 were looked at" in report(config)["programs"]


@pytest.mark.slow
def test_memory_grows_with_the_batch(system):
    """The step is compiled, not run."""
    small, large = (
        forecast(load(tiny.config([system], tiny.ENERGY_ONLY | {"training/training_data/batch_size": size}))).memory
        for size in (2, 64)
    )
    assert 0 < small.step < large.step
    assert 0 < small.batches < large.batches
    assert 0 < small.parameters == large.parameters
    assert small.optimizer >= 2 * (large.parameters - 1000)  # two moments for each parameter, but not for statistics
    assert 0 < small.neighbors == large.neighbors
    assert small.total < large.total


def test_memory_in_words():
    found = Memory(parameters=2**20, optimizer=2**21, batches=2**22, n_batch=4, step=2**30, neighbors=0)
    text = memory_text(found)
    assert text.startswith("about 1.01 GiB beside Python")
    for part in ("parameters 1.0 MiB", "optimizer 2.0 MiB", "4 batches 4.0 MiB", "step 1.00 GiB", "neighbour lists"):
        assert part in text
    assert "on each of 2 devices" in memory_text(found, 2)
    assert size_text(1536) == "0.0 MiB"


def test_the_report_of_a_training(finished):
    found = report(finished.config)
    assert found["model"].startswith("standard, descriptor se_e2_a (rcut 3 angstrom, sel 12, 20), fitting ener, ")
    assert found["loss"] == "ener, on energy, force, virial"
    assert found["training data"] == (
        f"2 systems, 8 frames of 6 atoms; energy, force; virial in 1 of 2, missing in {finished.systems[1]}"
    )
    assert found["validation data"] == "1 system, 4 frames of 6 atoms; energy, force, virial"
    assert found["neighbours"].endswith("none is left out")
    assert found["steps"] == "6 on 2 frames each, 1.5 epochs of 4 steps; 4 validations on 1 batch of 4 frames"
    assert found["programs"].startswith("2 to compile: 1 for steps, 1 for validation")
    assert "step not estimated" in found["memory"]


def test_parameters_without_files(system):
    edits = {"model/fitting_net/numb_fparam": 1, "model/fitting_net/default_fparam": [0.5]}
    assert report(tiny.config([system], edits))["training data"].endswith(
        "force, virial; fparam as preset in the model"
    )


def test_no_steps_need_no_program(system):
    found = forecast(load(tiny.config([system], {"training/numb_steps": 0})))
    assert (found.programs, found.memory.step, found.memory.batches) == (0, None, 0)


def test_systems_that_are_left_out_are_not_looked_at(tmp_path):
    """``filter:N`` drops a system, whose frames then do not matter."""
    systems = [tiny.system(tmp_path / "small", 3), tiny.system(tmp_path / "big", 9)]
    np.save(systems[1] / "set.000" / "force.npy", np.full((4, 27), np.nan))
    found = report(tiny.config(systems, {"training/training_data/batch_size": "filter:6"}))
    assert found["training data"].startswith("1 of 2 systems, 4 frames of 3 atoms")


def test_neighbours_beyond_sel_are_reported(system, caplog):
    with caplog.at_level("WARNING", "dpjax"):
        found = report(tiny.config([system], {"model/descriptor/sel": [12, 1]}))
    assert "neighbours of type H within 3 angstrom, but sel keeps 1" in caplog.text
    assert "H (sel 1)" in found["neighbours"]
    assert found["neighbours"].endswith("sel is too small for H, the farthest are left out")


def test_a_bad_value_that_a_training_meets_late(tmp_path):
    system = tiny.system(tmp_path / "system", n_frame=300)
    force = np.load(system / "set.000" / "force.npy")
    force[299, 4] = np.nan
    np.save(system / "set.000" / "force.npy", force)
    with pytest.raises(DataError, match="force"):
        forecast(load(tiny.config([system])), compiled=False)


def test_nothing_is_written(system, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    edits = {"training/stat_file": "statistics", "training/validation_data": {"systems": str(system)}}
    forecast(load(tiny.config([system], edits | tiny.ENERGY_ONLY)))
    assert sorted(tmp_path.rglob("*")) == before
