"""One finished training that many tests look at; those that change its folder copy it first."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dpjax
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.run import TrainResult
from tests.training import tiny


@pytest.fixture(scope="module", autouse=True)
def equal_programs_are_compiled_once():
    """Also those of tests that evaluate models, not only those of trainings."""
    with persistent_programs(tiny.programs_folder()):
        yield


@dataclass(frozen=True)
class Finished:
    """A training and what it was made of."""

    config: dict[str, Any]
    systems: list[Path]  # two of 6 atoms; only the first has virials
    output: Path
    result: TrainResult
    warnings: list[str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """Six steps on two systems with validation, a checkpoint after each step, the last four kept."""
    folder = tmp_path_factory.mktemp("finished")
    systems = [tiny.system(folder / "with_virial"), tiny.system(folder / "without", seed=1, virial=False)]
    config = tiny.config(
        systems,
        {
            "training/validation_data": {"systems": [str(systems[0])], "batch_size": 4},
            "training/save_freq": 1,
            "training/max_ckpt_keep": 4,
        },
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = dpjax.train(config, folder / "out")
    return Finished(config, systems, folder / "out", result, [str(w.message) for w in caught])
