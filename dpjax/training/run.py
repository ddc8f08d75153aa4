"""One training from its input to its last checkpoint: output folder, restart, reports."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jax

from dpjax.checkpoints import POINTER, BestCheckpoints, CheckpointStore, is_checkpoint, load_checkpoint
from dpjax.config import Config, ModelConfig, TrainingConfig, load, parse_model
from dpjax.errors import ConfigError, ModelError, OutputError
from dpjax.memory import keep_freed_memory
from dpjax.train_state import TrainState, from_arrays
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.devices import busy_devices
from dpjax.training.fingerprint import Fingerprint
from dpjax.training.full_validation import ValidationLog, calendar
from dpjax.training.lcurve import LearningCurve
from dpjax.training.loop import Loop, TrainResult
from dpjax.training.observing import board_of, profile_of
from dpjax.training.programs import Programs
from dpjax.training.progress import Progress
from dpjax.training.rows import rows_before
from dpjax.training.saving import BestKeeper, Saver, records_of
from dpjax.training.setup import TrainingSetup, prepare
from dpjax.training.step import parameter_count

log = logging.getLogger(__name__)

Initial = tuple[ModelConfig, dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """What a restart continues from."""

    arrays: dict[str, Any]
    meta: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.arrays["step"])

    @property
    def initial(self) -> Initial:
        """Configuration and variables of the saved model."""
        return parse_model(self.meta["config"]["model"]), {
            "params": self.arrays["params"],
            "stats": self.arrays["stats"],
        }


def run(
    source: dict | str | os.PathLike,
    output: Path,
    *,
    restart: bool | str | os.PathLike | None = None,
    initial: Initial | None = None,
    tuning: Callable[[TrainingSetup], TrainingSetup] | None = None,
) -> TrainResult:
    """Train; arguments and errors as for :func:`dpjax.interfaces.train.train`.

    ``initial`` is the model to start from, and ``tuning`` what becomes of a fresh training where it is fine-tuned.
    """
    start = time.perf_counter()
    keep_freed_memory()
    if restart and initial is not None:
        raise ConfigError("restart and init_model exclude each other: a restart continues with its own parameters")
    config = load(source)
    saver = saver_of(config.training, output)
    writable(output)
    with jax.enable_x64(True), persistent_programs(config.dpjax.compilation_cache):
        saved = read_saved(saver.store, restart)
        if saved is None:
            _require_source(config, tuning)
            setup = prepare(config, initial)
            setup = setup if tuning is None else tuning(setup)
            set_aside(saver, output, config)  # only once the data proved readable
        else:
            setup = prepare(config, saved.initial, saved.meta["seed"], exact=True)
            if saved.step >= setup.num_steps:
                log.warning(
                    "the checkpoint has %d steps and %d are asked for: nothing to train", saved.step, setup.num_steps
                )
        write_normalized(setup.config, output)
        log.info("training: %s", summary(setup))
        with ExitStack() as stack:
            loop = _loop(setup, saver, saved, output, stack)
            row = loop.run()
            if config.training.change_bias_after_training and loop.stopped is None:
                loop.change_bias()
        seconds = time.perf_counter() - start
        steps = int(loop.state.step)
        log.info("finished %d steps in %.1f s, %d compiled programs", steps, seconds, loop.programs.count)
        if loop.stopped:
            log.warning(
                "stopped by %s after step %d of %d; --restart goes on from there", loop.stopped, steps, setup.num_steps
            )
        newest = saver.store.latest_step()
        checkpoint = None if newest is None else saver.store.path(newest)
        return TrainResult(row, checkpoint, steps, seconds, loop.programs.count, loop.stopped)


def _require_source(config: Config, tuning: Callable | None) -> None:
    """A head can only be chosen of a model that is given.

    Raises:
        ConfigError: the input chooses one, and the training starts from no model that it could be of.
    """
    if config.model.finetune_head is not None and tuning is None:
        raise ConfigError(
            f"model/finetune_head: found {config.model.finetune_head!r}, a branch of the model to fine-tune, but no such model is "
            "given. Name it with --finetune, or remove the key."
        )


def writable(output: Path) -> None:
    """Make the output folder and check at once that it can be written.

    Raises:
        OutputError: it cannot.
    """
    probe = output / ".dpjax-probe"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{output}: cannot write into the output folder ({error}). Choose another with --output."
        ) from error


def saver_of(training: TrainingConfig, output: Path) -> Saver:
    """Where the checkpoints of a run go."""
    store = CheckpointStore(output, training.save_ckpt, training.max_ckpt_keep)
    if not training.enable_ema:
        return Saver(store)
    keep = training.max_ckpt_keep if training.ema_ckpt_keep is None else training.ema_ckpt_keep
    return Saver(store, CheckpointStore(output, f"{training.save_ckpt}_ema", keep, pointed=False))


def set_aside(saver: Saver, output: Path, config: Config) -> Path | None:
    """Before a fresh run: move what an earlier one left in the output folder out of its way, so that none is lost.

    Returns:
        The folder it is in now, ``previous-1``, ``previous-2``, ...; None if there were no checkpoints.
    """
    store, steps = saver.store, saver.store.steps()
    if not steps:
        return None
    numbers = (store.directory / f"previous-{i}" for i in count(1))
    target = next(path for path in numbers if not path.exists())
    target.mkdir()
    averages = [path for path in store.directory.glob(f"{store.prefix}_ema-*") if is_checkpoint(path)]
    best = [path for kind in KINDS for path in store.directory.glob(f"{best_prefix(kind)}-*") if is_checkpoint(path)]
    logs = [output / config.training.disp_file, *(log_path(output, config, kind) for kind in KINDS)]
    for path in [*(store.path(step) for step in steps), store.directory / POINTER, *averages, *best, *logs]:
        if path.exists():
            path.rename(target / path.name)
    log.warning(
        "%s held checkpoints of an earlier run (steps %s), now in %s. To go on with them, "
        "stop this run, move them back and use --restart.",
        store.directory, ", ".join(map(str, steps)), target,
    )  # fmt: skip
    return target


def read_saved(store: CheckpointStore, restart: bool | str | os.PathLike | None) -> Saved | None:
    """The checkpoint to continue from, if one is asked for.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    if not restart:
        return None
    if restart is True:
        return Saved(*store.restore())
    if not is_checkpoint(restart):
        raise ModelError(f"{restart}: not a checkpoint; expected a folder such as {store.prefix}-1000")
    return Saved(*load_checkpoint(restart))


def write_normalized(config: Config, output: Path) -> None:
    """``out.json``: the input with every default filled in, ``sel`` resolved.

    Raises:
        OutputError: it cannot be written, for example because the disk is full.
    """
    path = output / "out.json"
    try:
        path.write_text(json.dumps(config.raw, indent=2) + "\n")
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror or error}). Free disk space or choose another folder with --output."
        ) from error


def _loop(setup: TrainingSetup, saver: Saver, saved: Saved | None, output: Path, stack: ExitStack) -> Loop:
    """The loop with its open files, which ``stack`` closes."""
    state = setup.initial_state()
    if saved is not None:
        state = _continued(setup, state, saved)
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
    return Loop(
        setup,
        state,
        Programs(setup, meta.get("resolution")),
        saver,
        curve,
        progress,
        setup.training.state(),
        Fingerprint(setup.training.systems, meta.get("hashes")),
        keepers_of(setup, saver.store.directory, output, meta.get("best", {}), first if saved else None),
        board,
        profile,
    )


KINDS = ("trained", "averaged")  # parameters that can be validated


def best_prefix(kind: str) -> str:
    """What the names of the best checkpoints start with."""
    return "best_ema.ckpt" if kind == "averaged" else "best.ckpt"


def log_path(output: Path, config: Config, kind: str) -> Path:
    """The file with the results of the full validations."""
    path = output / config.validating.full_val_file
    return path.with_name(f"{path.stem}_ema{path.suffix}") if kind == "averaged" else path


def keepers_of(
    setup: TrainingSetup, directory: Path, output: Path, saved: Mapping[str, Any], restart_step: int | None
) -> dict[str, BestKeeper]:
    """What follows the full validations of a run.

    Args:
        directory: for the best checkpoints.
        saved: states of the keepers of the run that is continued.
        restart_step: its step; None for a fresh run.
    """
    cfg, config = setup.config.validating, setup.config
    kinds = [kind for kind, on in zip(KINDS, (cfg.full_validation, cfg.ema_full_validation), strict=True) if on]
    keepers = {}
    for kind in kinds:
        metric = cfg.validation_metric.upper().strip()
        records = records_of(saved.get(kind), metric)
        best = BestCheckpoints(directory, best_prefix(kind), cfg.max_best_ckpt, records) if cfg.save_best else None
        validation_log = ValidationLog(log_path(output, config, kind), setup.num_steps, restart_step)
        when = calendar(cfg, setup.num_steps)
        keepers[kind] = BestKeeper(when, metric, validation_log, best, kind == "averaged")
    return keepers


def _continued(setup: TrainingSetup, state: TrainState, saved: Saved) -> TrainState:
    """State and data position of a checkpoint.

    Raises:
        ConfigError: the input has another optimizer or model than the checkpoint.
    """
    try:
        state = from_arrays(saved.arrays, state)
    except ValueError as error:
        raise ConfigError(
            f"restart: {error}. Restart with the input that the checkpoint was made with, or use --init-model."
        ) from error
    if not setup.training.restore(saved.meta["data"]):
        log.warning(
            "the training data or its batch sizes changed since the checkpoint: frames are drawn anew from step %d on",
            saved.step,
        )
    if setup.validation is not None:
        shown = rows_before(saved.step, setup.config.training.disp_freq)
        setup.validation.sampler.seek(
            shown * setup.config.training.validation_data.numb_btch * setup.validation.sampler.draws
        )
    log.info("restart from step %d", saved.step)
    return state


def summary(setup: TrainingSetup) -> str:
    """One line that says what is trained on what."""
    systems = setup.training.systems
    frames = sum(s.n_frame for s in systems)
    devices = jax.local_devices() if setup.mesh is None else list(setup.mesh.devices.flat)
    kinds = ", ".join(sorted({f"{d.platform} ({d.device_kind})" for d in devices}))
    sampler = setup.training.sampler
    sizes = [sampler.frames_per_batch(system) for system in sampler.kept]
    busy = busy_devices(sizes, sampler.probabilities, len(devices))
    share = "" if setup.mesh is None else f", {len(devices)} devices of which {busy:.3g} have frames on average"
    params = parameter_count(setup.variables["params"])
    return (
        f"{params} parameters, {len(systems)} systems with {frames} frames, "
        f"batch sizes {sorted(set(setup.training.sampler.batch_sizes))}, {setup.num_steps} steps, "
        f"seed {setup.seed}, on {kinds}{share}"
    )
