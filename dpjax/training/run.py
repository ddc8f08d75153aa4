"""One training from its input to its last checkpoint: output folder, restart, reports."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, product
from math import ceil
from pathlib import Path
from typing import Any

import jax

from dpjax.checkpoints import POINTER, CheckpointStore, is_checkpoint, load_checkpoint
from dpjax.config import Config, ModelConfig, Tasks, TrainingConfig, load_any, model_of
from dpjax.errors import ConfigError, ModelError, OutputError
from dpjax.memory import keep_freed_memory
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.devices import busy_devices
from dpjax.training.loop import TrainResult
from dpjax.training.modifier import META, Modifiers, restored
from dpjax.training.opening import KINDS, Prepared, Saved, best_directory, best_prefix, log_path, open_loop
from dpjax.training.saving import Saver
from dpjax.training.setup import TrainingSetup, prepare
from dpjax.training.step import parameter_count
from dpjax.training.task_setup import prepare_tasks

log = logging.getLogger(__name__)

Initial = tuple[ModelConfig, dict[str, Any]]
Tuning = Callable[[TrainingSetup, str, Path], TrainingSetup]  # of a fresh setup, its task, and the output folder


def run(
    source: dict | str | os.PathLike,
    output: Path,
    *,
    restart: bool | str | os.PathLike | None = None,
    initial: Initial | Mapping[str, Initial] | None = None,
    tuning: Tuning | None = None,
    fill: bool = False,
    modifiers: Modifiers | None = None,
) -> TrainResult:
    """Train; arguments and errors as for :func:`dpjax.interfaces.train.train`.

    ``initial`` is the model to start from, of several tasks one for each, and ``tuning`` what becomes of a fresh training where it
    is fine-tuned; it leaves its report in the output folder.  With ``fill`` what ``initial`` lacks is as in a fresh model.
    ``modifiers`` is what models with the section ``modifier`` need.
    """
    start = time.perf_counter()
    keep_freed_memory()
    if restart and initial is not None:
        raise ConfigError("restart and init_model exclude each other: a restart continues with its own parameters")
    given = load_any(source)
    config = given.first
    store = saver_of(config.training, output).store
    writable(output)
    for name, folder in own_folders(config, output).items():
        writable(folder, f"Change {name}.")
    with jax.enable_x64(True), persistent_programs(config.dpjax.compilation_cache):
        saved = read_saved(store, restart)
        prepared = _prepared(given, saved, initial, tuning and partial(tuning, output=output), fill, modifiers)
        setup = prepared.first
        saver = saver_of(config.training, output, setup.num_steps)
        if saved is None:
            set_aside(saver, output, config, list(prepared.setups))  # only once the data proved readable
        elif saved.step >= setup.num_steps:
            log.warning(
                "the checkpoint has %d steps and %d are asked for: nothing to train", saved.step, setup.num_steps
            )
        write_normalized(prepared.raw, output)
        for name, own in prepared.setups.items():
            log.info("training%s: %s", f" {name}" if name else "", summary(own))
        with ExitStack() as stack:
            loop = open_loop(prepared, saver, saved, output, stack)
            row = loop.run()
            if config.training.change_bias_after_training and loop.stopped is None:
                loop.change_bias()
        seconds = time.perf_counter() - start
        steps = int(loop.state.step)
        log.info("finished %d steps in %.1f s, %d compiled programs", steps, seconds, loop.programs_compiled)
        if loop.stopped:
            log.warning(
                "stopped by %s after step %d of %d; --restart goes on from there", loop.stopped, steps, setup.num_steps
            )
        newest = saver.store.latest_step()
        checkpoint = None if newest is None else saver.store.path(newest)
        return TrainResult(row, checkpoint, steps, seconds, loop.programs_compiled, loop.stopped)


def _prepared(
    given: Config | Tasks,
    saved: Saved | None,
    initial: Initial | Mapping[str, Initial] | None,
    tune: Callable[[TrainingSetup, str], TrainingSetup] | None,
    fill: bool,
    modifiers: Modifiers | None,
) -> Prepared:
    """Data, models and optimizers of a fresh run, or of one that is continued."""
    if saved is None:
        _require_source(given, tune)
        if given.first.model.lora is not None and initial is None and tune is None:
            log.warning(_NOTHING_TO_CORRECT)
    if isinstance(given, Tasks):
        return prepare_tasks(given, saved, initial, tune, fill, modifiers)
    if saved is None:
        setup = prepare(given, initial, fill=fill, modifiers=modifiers)
        setup = setup if tune is None else tune(setup, "")
    else:
        if "model_dict" in saved.meta["config"]["model"]:
            raise ConfigError("restart: the checkpoint is one of several tasks, but this input has a single model.")
        model, stats = restored(model_of(saved.meta["config"]), saved.arrays["stats"], saved.meta.get(META))
        variables = {"params": saved.arrays["params"], "stats": stats}
        setup = prepare(given, (model, variables), saved.meta["seed"], exact=True, modifiers=modifiers)
    return Prepared({"": setup}, setup.config.raw)


_NOTHING_TO_CORRECT = (
    "model/lora: no model to correct is given, so that the weights that are not trained stay as they are drawn. Name one with "
    "--finetune or --init-model, or remove the key to train all weights."
)


def _require_source(given: Config | Tasks, tune: Callable | None) -> None:
    """A head can only be chosen of a model that is given.

    Raises:
        ConfigError: the input chooses one, and the training starts from no model that it could be of.
    """
    configs = given.configs if isinstance(given, Tasks) else {"": given}
    for name, config in configs.items():
        if config.model.finetune_head is not None and tune is None:
            key = f"model/model_dict/{name}/finetune_head" if name else "model/finetune_head"
            raise ConfigError(
                f"{key}: found {config.model.finetune_head!r}, a branch of the model to fine-tune, but no such model is given. "
                "Name it with --finetune, or remove the key."
            )


def own_folders(config: Config, output: Path) -> dict[str, Path]:
    """Folders of their own that the input names, by its key."""
    named = {
        "training/save_dir": config.training.save_dir,
        "validating/save_best_dir": config.validating.save_best_dir,
    }
    return {key: output / folder for key, folder in named.items() if folder}


def writable(output: Path, advice: str = "Choose another with --output.") -> None:
    """Make an output folder and check at once that it can be written; ``advice`` is what to do if not.

    Raises:
        OutputError: it cannot.
    """
    probe = output / ".dpjax-probe"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{output}: cannot write into the output folder ({error}). {advice}") from error


def saver_of(training: TrainingConfig, output: Path, num_steps: int = 0) -> Saver:
    """Where the checkpoints of a run of so many steps go, and how many stay."""
    keep = training.max_ckpt_keep
    averages = keep if training.ema_ckpt_keep is None else training.ema_ckpt_keep
    if training.ckpt_keep_ratio is not None:
        keep = averages = max(1, ceil(training.ckpt_keep_ratio * ceil(num_steps / training.save_freq)))
    directory, prefix = output, training.save_ckpt
    if training.save_dir:
        directory, prefix = output / training.save_dir, Path(prefix).name
    store = CheckpointStore(directory, prefix, keep)
    if not training.enable_ema:
        return Saver(store)
    return Saver(store, CheckpointStore(directory, f"{prefix}_ema", averages, pointed=False))


def set_aside(saver: Saver, output: Path, config: Config, tasks: Sequence[str] = ("",)) -> Path | None:
    """Before a fresh run: move what an earlier one left in the output folder out of its way, so that none is lost.

    Args:
        tasks: their names, "" for a single one.

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
    among = best_directory(output, config)
    validated = list(product(KINDS, tasks))
    best = [path for each in validated for path in among.glob(f"{best_prefix(*each)}-*") if is_checkpoint(path)]
    logs = [output / config.training.disp_file, *(log_path(output, config, *each) for each in validated)]
    for path in [*(store.path(step) for step in steps), store.directory / POINTER, *averages, *best, *logs]:
        if path.exists():
            shutil.move(path, target / path.name)  # folders of the input may be on other disks
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


def write_normalized(raw: dict[str, Any], output: Path) -> None:
    """``out.json``: the input with every default filled in, ``sel`` resolved.

    Raises:
        OutputError: it cannot be written, for example because the disk is full.
    """
    path = output / "out.json"
    try:
        path.write_text(json.dumps(raw, indent=2) + "\n")
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror or error}). Free disk space or choose another folder with --output."
        ) from error


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
