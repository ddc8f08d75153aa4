"""The setups of several tasks that share parameters."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from dpjax import optimizers
from dpjax.config import ModelConfig, Tasks, parse_model
from dpjax.config.tasks import resolved_branches
from dpjax.errors import ConfigError, DataError
from dpjax.training.environment import Blocks, environment_moments, environment_of
from dpjax.training.fresh import placed, trainable_labels
from dpjax.training.modifier import META, Modifiers, restored
from dpjax.training.opening import Prepared, Saved
from dpjax.training.samples import sampled_frames
from dpjax.training.setup import TrainingSetup, prepare, update_plan
from dpjax.training.tasks import PieceOptimizer, TaskDraw, arranged, common_tree, pooled, taken_apart

log = logging.getLogger(__name__)

Setups = dict[str, TrainingSetup]
Model = tuple[ModelConfig, dict[str, Any]]  # configuration and variables


def prepare_tasks(
    tasks: Tasks,
    saved: Saved | None = None,
    initial: Mapping[str, Model] | None = None,
    tune: Callable[[TrainingSetup, str], TrainingSetup] | None = None,
    fill: bool = False,
    modifiers: Modifiers | None = None,
) -> Prepared:
    """Data, models and optimizers of all tasks, with one tree of parameters.

    Args:
        saved: the run that is continued.
        initial: models to start from, by task.
        tune: what becomes of the fresh setup of a task that starts from a pretrained model.
        fill: what ``initial`` lacks is as in fresh models.
        modifiers: what models with the section ``modifier`` need.

    Raises:
        DataError, ConfigError: as :func:`prepare`; the message starts with the task.
    """
    setups: Setups = {}
    seed = None if saved is None else saved.meta["seed"]
    for name, config in tasks.configs.items():
        start = (initial or {}).get(name) if saved is None else _saved_model(saved, name, tasks.pieces[name])
        with _of_task(name):
            setups[name] = prepare(config, start, seed, exact=saved is not None, fill=fill, modifiers=modifiers)
        seed = setups[name].seed  # a random one is drawn once
    weights, num_steps = task_weights(tasks, setups)
    if saved is None and initial is None:
        setups = with_pooled_statistics(setups, tasks.pieces, weights)
    if tune is not None:
        for name, own in setups.items():
            log.info("task %s:", name)
            with _of_task(name):
                setups[name] = tune(own, name)
    if saved is None:
        setups = with_case_vectors(setups)
    if initial is not None or tune is not None:
        _report_conflicts(setups, tasks.pieces)
    common = common_tree({name: own.variables["params"] for name, own in setups.items()}, tasks.pieces)
    plan = update_plan(setups[next(iter(setups))].config, num_steps)
    optimizer = piece_optimizer(setups, tasks.pieces, plan.schedule)
    setups = {
        name: replace(
            own,
            variables=own.variables | {"params": common},
            tx=optimizer.of(list(tasks.pieces[name].values())),
            plan=plan,
            num_steps=num_steps,
            pieces=tasks.pieces[name],
        )
        for name, own in setups.items()
    }
    return Prepared(setups, tasks.raw, TaskDraw(weights, seed))


@contextmanager
def _of_task(name: str) -> Iterator[None]:
    """Messages of errors start with the task."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"task {name}: {error}") from error


def _report_conflicts(setups: Setups, pieces: Mapping[str, Mapping[str, str]]) -> None:
    """Warns where tasks share what is not the same in the models that they start from."""
    seen: dict[str, tuple[str, Any]] = {}
    for name, own in setups.items():
        for piece, subtree in taken_apart(own.variables["params"], pieces[name]).items():
            first, theirs = seen.setdefault(piece, (name, subtree))
            same = jax.tree.map(lambda a, b: np.array_equal(a, b), theirs, subtree)
            if not all(jax.tree.leaves(same)):
                log.warning("tasks %s and %s share %s, but start from different ones: that of %s is taken", first, name,
                            piece.partition(":")[2], first)  # fmt: skip


def _saved_model(saved: Saved, task: str, pieces: Mapping[str, str]) -> Model:
    """Configuration and variables of one task of a checkpoint.

    Raises:
        ConfigError: the checkpoint has no such task, or shares other parameters.
    """
    raw = saved.meta["config"]
    branches = resolved_branches(raw) if "model_dict" in raw["model"] else {}
    if task not in branches or not set(pieces.values()) <= set(saved.arrays["params"]):
        raise ConfigError(
            f"restart: the checkpoint has no task {task!r} that shares what this input says; it has: "
            f"{', '.join(branches) or 'a single model'}. Restart with the input it was made with."
        )
    params = arranged(saved.arrays["params"], pieces)
    described = (saved.meta.get(META) or {}).get(task)
    model, stats = restored(parse_model(branches[task]), saved.arrays["stats"][task], described)
    return model, {"params": params, "stats": stats}


def task_weights(tasks: Tasks, setups: Setups) -> tuple[dict[str, float], int]:
    """How often each task is drawn, and the steps of the whole run.

    Epochs of each task say both; else the weights are those given, or the numbers of systems.

    Raises:
        ConfigError: no task has a weight above 0.
    """
    if tasks.num_epoch_dict:
        batches = {name: own.training.sampler.steps_per_epoch for name, own in setups.items()}
        weights = {name: tasks.num_epoch_dict[name] * batches[name] for name in setups}
        steps = math.ceil(sum(weights.values()))
    else:
        systems = {name: float(len(own.training.systems)) for name, own in setups.items()}
        weights, steps = dict(tasks.model_prob or systems), tasks.first.training.numb_steps
    if sum(weights.values()) <= 0:
        raise ConfigError(f"training/model_prob: found {weights}; at least one task needs a weight above 0.")
    return {name: float(weights[name]) for name in setups}, steps


def piece_optimizer(setups: Setups, pieces: Mapping[str, Mapping[str, str]], schedule: Any) -> PieceOptimizer:
    """An optimizer for each piece; frozen parameters of a shared one are those that its first task names."""
    first = next(iter(setups.values())).config
    clip = optimizers.clip_by_global_norm(first.training.gradient_max_norm or 0.0)
    by_piece: dict[str, Any] = {}
    for name, own in setups.items():
        flags = taken_apart(trainable_labels(own.config.model, own.variables["params"]), pieces[name])
        for piece, labels in flags.items():
            if piece not in by_piece:
                by_piece[piece] = optimizers.freeze(optimizers.from_config(first.optimizer, schedule), labels)
    return PieceOptimizer(clip, by_piece, first.training.acc_freq)


def with_pooled_statistics(
    setups: Setups, pieces: Mapping[str, Mapping[str, str]], weights: Mapping[str, float]
) -> Setups:
    """The setups with ``davg`` and ``dstd`` of shared descriptors from the data of all tasks that have them."""
    groups: dict[str, list[str]] = {}
    for name in setups:
        for place, piece in pieces[name].items():
            if place.split(".")[0] == "descriptor" and not place.endswith("type_embedding"):
                groups.setdefault(piece, []).append(name)
    places = {piece: {name: _place(pieces[name], piece) for name in names} for piece, names in groups.items()}
    moments = {
        name: drawn_moments(own)
        for name, own in setups.items()
        if any(len(names) > 1 and name in names for names in groups.values())
    }
    changed = dict(setups)
    for piece, names in groups.items():
        if len(names) < 2:
            continue
        own = {name: moments[name][_member(places[piece][name])] for name in names}
        first = names[0] if weights[names[0]] > 0 else max(names, key=weights.get)
        total = pooled({first: own[first], **own}, weights)
        for name in names:
            changed[name] = _with_environment(changed[name], places[piece][name], total)
    return changed


def drawn_moments(setup: TrainingSetup) -> list[Blocks]:
    """Moments of the environment over the frames that statistics of this task are made of, for each descriptor."""
    side, model = setup.training, setup.config.model
    drawn = sampled_frames(side.sampler, side.systems, model.data_stat_nbatch, setup.seed)
    return environment_moments(model, side.source.points, side.source.neighbors, drawn)


def _place(pieces: Mapping[str, str], piece: str) -> str:
    return next(place for place, other in pieces.items() if other == piece)


def _member(place: str) -> int:
    """Which descriptor of a model stands at a place."""
    return int(place.rpartition("_")[2]) if "." in place else 0


def _with_environment(setup: TrainingSetup, place: str, moments: Blocks) -> TrainingSetup:
    """The setup with the statistics of one descriptor replaced."""
    model = setup.config.model
    stats = setup.variables["stats"]
    descriptor = placed(environment_of(model, {_member(place): moments}), stats["descriptor"])
    return replace(setup, variables=setup.variables | {"stats": stats | {"descriptor": descriptor}})


def with_case_vectors(setups: Setups) -> Setups:
    """The setups with the vectors that tell fitting nets their task, where a pretrained model did not bring its own.

    They are rows of the identity: those that are free, in the order of the names.

    Raises:
        ConfigError: the vectors are too short for so many tasks.
    """
    found = {name: own.variables["stats"]["fitting_net"].get("case_embd", ()) for name, own in setups.items()}
    used = {int(np.argmax(vector)) for vector in found.values() if np.any(vector)}
    free = (number for number in itertools.count() if number not in used)
    changed = dict(setups)
    for name in sorted(setups):
        width = len(found[name])
        if width and not np.any(found[name]):
            number = next(free)
            least = max(number + 1, len(setups))
            if width < least:
                raise ConfigError(
                    f"model/model_dict/{name}/fitting_net/dim_case_embd: found {width}, but there are {least} tasks to tell apart. "
                    "Give at least their number."
                )
            changed[name] = _with_case_vector(setups[name], np.eye(width)[number])
    return changed


def _with_case_vector(setup: TrainingSetup, vector: np.ndarray) -> TrainingSetup:
    stats = setup.variables["stats"]
    fitting = stats["fitting_net"] | {"case_embd": vector}
    return replace(setup, variables=setup.variables | {"stats": stats | {"fitting_net": fitting}})
