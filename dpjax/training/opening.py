"""Opening the loop of a run: its state, programs, files and followers, fresh or continued from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpjax.checkpoints import BestCheckpoints
from dpjax.config import Config
from dpjax.errors import ConfigError
from dpjax.train_state import TrainState, from_arrays
from dpjax.training.fingerprint import Fingerprint
from dpjax.training.full_validation import ValidationLog, calendar
from dpjax.training.lcurve import LearningCurve
from dpjax.training.loop import Loop, Task, data_state
from dpjax.training.observing import board_of, profile_of
from dpjax.training.programs import Programs
from dpjax.training.progress import Progress
from dpjax.training.rows import rows_before
from dpjax.training.saving import BestKeeper, Saver, records_of
from dpjax.training.setup import TrainingSetup
from dpjax.training.tasks import TaskDraw

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """What a restart continues from."""

    arrays: dict[str, Any]
    meta: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.arrays["step"])


@dataclass(frozen=True)
class Prepared:
    """What is trained: setups by task, a single one under the name "", and which task a step trains."""

    setups: dict[str, TrainingSetup]
    raw: dict[str, Any]  # the normalised input
    draw: TaskDraw | None = None

    @property
    def first(self) -> TrainingSetup:
        return next(iter(self.setups.values()))


def open_loop(prepared: Prepared, saver: Saver, saved: Saved | None, output: Path, stack: ExitStack) -> Loop:
    """The loop with its open files, which ``stack`` closes.

    Raises:
        ConfigError: the input has another optimizer or model than the checkpoint.
        OutputError: a file cannot be written.
    """
    setup = prepared.first
    state = setup.initial_state()
    if saved is not None:
        state = continued(prepared, state, saved)
    first = int(state.step)
    training = setup.config.training
    curve = None
    if training.disp_training:
        curve = stack.enter_context(LearningCurve(output / training.disp_file, first if saved else None))
    progress = stack.enter_context(
        Progress(setup.config.dpjax.progress, first, setup.num_steps, timed=training.time_training)
    )
    board, profile = (of(training, output) for of in (board_of, profile_of))
    for open_file in (board, profile):
        if open_file is not None:
            stack.enter_context(open_file)
    meta = saved.meta if saved else {}
    resolution = meta.get("resolution", {})
    tasks = {name: Task(own, Programs(own, resolution.get(name))) for name, own in prepared.setups.items()}
    systems = [system for own in prepared.setups.values() for system in own.training.systems]
    return Loop(
        tasks,
        state,
        saver,
        curve,
        progress,
        data_state(tasks),
        Fingerprint(systems, meta.get("hashes")),
        keepers_of(prepared, output, meta.get("best", {}), first if saved else None),
        board,
        profile,
        prepared.draw,
        prepared.raw,
    )


KINDS = ("trained", "averaged")  # parameters that can be validated


def best_prefix(kind: str, task: str = "") -> str:
    """What the names of the best checkpoints start with, of several tasks of those by the errors of one."""
    return _of_kind("best", kind, task) + ".ckpt"


def best_directory(output: Path, config: Config) -> Path:
    """The folder of the best checkpoints."""
    return output / (config.validating.save_best_dir or Path(config.training.save_ckpt).parent)


def log_path(output: Path, config: Config, kind: str, task: str = "") -> Path:
    """The file with the results of the full validations, of several tasks with those of one."""
    path = output / config.validating.full_val_file
    return path.with_name(_of_kind(path.stem, kind, task) + path.suffix)


def _of_kind(stem: str, kind: str, task: str) -> str:
    """``best``, ``best_ema``, ``best.water`` or ``best_ema.water``; names of tasks may have underscores."""
    return (f"{stem}_ema" if kind == "averaged" else stem) + (f".{task}" if task else "")


def keepers_of(
    prepared: Prepared, output: Path, saved: Mapping[str, Any], restart_step: int | None
) -> dict[str, BestKeeper]:
    """What follows the full validations of a run: of the only model, or of each task that can be validated.

    Args:
        saved: states of the keepers of the run that is continued.
        restart_step: its step; None for a fresh run.
    """
    keepers = {}
    for task, setup in prepared.setups.items():
        cfg = setup.config.validating
        kinds = [kind for kind, on in zip(KINDS, (cfg.full_validation, cfg.ema_full_validation), strict=True) if on]
        for kind in kinds:
            key = f"{task}:{kind}" if task else kind
            keepers[key] = _keeper(setup, kind, task, output, saved.get(key), restart_step)
    idle = [task for task, setup in prepared.setups.items() if not setup.config.validating.active]
    if keepers and idle:
        log.info("no full validation of %s: it is of tasks with validation data and the loss `ener`", ", ".join(idle))
    return keepers


def _keeper(
    setup: TrainingSetup, kind: str, task: str, output: Path, saved: Any, restart_step: int | None
) -> BestKeeper:
    """The follower of one kind of parameters of one task."""
    config, cfg = setup.config, setup.config.validating
    metric = cfg.validation_metric.upper().strip()
    best = None
    if cfg.save_best:
        records = records_of(saved, metric)
        best = BestCheckpoints(best_directory(output, config), best_prefix(kind, task), cfg.max_best_ckpt, records)
    results = ValidationLog(log_path(output, config, kind, task), setup.num_steps, restart_step)
    return BestKeeper(
        calendar(cfg, setup.num_steps), metric, results, best, kind == "averaged", task, config.model.lora
    )


def continued(prepared: Prepared, state: TrainState, saved: Saved) -> TrainState:
    """State of a checkpoint; the data of every task go on where they stood.

    Raises:
        ConfigError: the input has another optimizer or model than the checkpoint.
    """
    try:
        state = from_arrays(saved.arrays, state)
    except ValueError as error:
        raise ConfigError(
            f"restart: {error}. Restart with the input that the checkpoint was made with, or use --init-model."
        ) from error
    for name, setup in prepared.setups.items():
        _seek(setup, saved.meta["data"][name] if name else saved.meta["data"], saved.step)
    log.info("restart from step %d", saved.step)
    return state


def _seek(setup: TrainingSetup, data: Mapping[str, Any], step: int) -> None:
    """Training and validation data go on where they stood after so many steps."""
    if not setup.training.restore(data):
        log.warning(
            "the training data or its batch sizes changed since the checkpoint: frames are drawn anew from step %d on",
            step,
        )
    if setup.validation is not None:
        shown = rows_before(step, setup.config.training.disp_freq)
        each = setup.config.training.validation_data.numb_btch * setup.validation.sampler.draws
        setup.validation.sampler.seek(shown * each)
