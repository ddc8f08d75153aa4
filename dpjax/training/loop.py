"""The training loop: feeds batches, reports, validates, saves.  All mathematics is in the jitted step."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dpjax.batching.prefetch import prefetcher
from dpjax.errors import NonFiniteError
from dpjax.train_state import TrainState
from dpjax.training.bias import drawn_batches, shifted_bias
from dpjax.training.devices import Part, device_count, place_batch, place_state
from dpjax.training.ensemble import Members
from dpjax.training.fingerprint import Fingerprint
from dpjax.training.full_validation import LABELS, measured
from dpjax.training.interrupt import StopRequest
from dpjax.training.lcurve import LearningCurve
from dpjax.training.modifier import META, description, with_dipole_model
from dpjax.training.observing import Board, Profile
from dpjax.training.programs import Programs
from dpjax.training.progress import Progress
from dpjax.training.rows import Row, column, mean_found, of_task, printed, rows_before
from dpjax.training.saving import BestKeeper, Saver
from dpjax.training.setup import TrainingSetup
from dpjax.training.step import LabelledBatch
from dpjax.training.tasks import TaskDraw

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a finished training leaves behind."""

    metrics: Row  # last row of the learning curve, names as in lcurve.out
    checkpoint: Path | None  # newest checkpoint
    steps: int  # updates done, all runs together
    seconds: float  # of this run, statistics and compilation included
    programs: int  # compiled for the steps of this run
    stopped: str | None = None  # name of the signal that ended the run before its last step


class Outcome(NamedTuple):
    """What is left to check of a step: its loss, and the data it saw."""

    step: int
    loss: jax.Array
    parts: Sequence[Part]
    task: Any


class Task:
    """One of the models that a run trains, most often the only one.

    Args:
        setup: its data and settings.
        programs: its compiled programs.
    """

    def __init__(self, setup: TrainingSetup, programs: Programs) -> None:
        self.setup, self.programs = setup, programs
        self.validation = None if setup.validation is None else _validation_batches(setup)
        self.metrics: dict[str, jax.Array] | None = None  # of its last step
        self.since_report: list[dict[str, jax.Array]] = []

    def training_row(self) -> Row:
        """Errors of its last batch, or with ``disp_avg`` their mean over the batches since the last line; NaN without any."""
        found = self.since_report or ([] if self.metrics is None else [self.metrics])
        rows = jax.device_get(found)
        self.since_report = []
        if not rows:
            return dict.fromkeys(self.setup.loss.metrics, math.nan)
        return printed({name: mean_found(name, [float(row[name]) for row in rows]) for name in rows[0]})

    def validation_row(self, params: Any, step: int) -> Row:
        """Errors on the next validation batches that have the label, averaged with the number of atoms as weight."""
        rows, weights = [], []
        for data in next(self.validation):
            rows.append(printed(self.programs.errors(params, data, step)))
            weights.append(float(np.sum(data.batch.natoms)))
        return {name: mean_found(name, [row[name] for row in rows], weights) for name in rows[0]}

    def stored(self, stats: dict[str, Any]) -> dict[str, Any]:
        """Its statistics as a checkpoint has them."""
        return with_dipole_model(stats, self.setup.config.model)

    def shifted(self, params: Any) -> dict[str, Any]:
        """Its statistics with the bias shifted to what the model with these parameters leaves of the labels."""
        setup, stats = self.setup, self.programs.stats
        before = np.asarray(jax.device_get(stats["out_bias"]))
        label, number = setup.model.output.label, setup.config.model.data_bias_nsample
        batches = drawn_batches(setup.training, number, setup.seed, label, setup.mesh)
        bias = shifted_bias(setup.config.model, before, batches, partial(self.programs.totals, params))
        log.info("the bias per type is now %s, was %s", bias.tolist(), before.tolist())
        return stats | {"out_bias": bias}


@dataclass
class Loop:
    """One run from ``state`` to the last step.

    Attributes:
        tasks: the models that are trained, by name; a single one has the name "".
        draw: which of them a step trains; None for a single one.
        keepers: of full validations, by their task and whose parameters they are.
    """

    tasks: dict[str, Task]
    state: TrainState | Members
    saver: Saver
    curve: LearningCurve | None
    progress: Progress
    data_state: dict[str, Any]
    fingerprint: Fingerprint
    keepers: dict[str, BestKeeper] = field(default_factory=dict)
    board: Board | None = None
    profile: Profile | None = None
    draw: TaskDraw | None = None
    raw: dict[str, Any] = field(default_factory=dict)  # the normalised input

    def __post_init__(self):
        self.setup, self.programs = self._first.setup, self._first.programs
        self.state = self.setup.placed(self.state)
        self._unchecked: Outcome | None = None
        self.stopped: str | None = None

    @property
    def _first(self) -> Task:
        return next(iter(self.tasks.values()))

    @property
    def programs_compiled(self) -> int:
        """Programs compiled so far, of all tasks."""
        return sum(task.programs.count for task in self.tasks.values())

    def run(self) -> Row:
        """Train to the last step; returns the last row of the learning curve.

        Raises:
            NonFiniteError: the loss became NaN or infinite; checkpoints saved before stay.
        """
        first, last = int(self.state.step), self.setup.num_steps
        row: Row = {}
        done, produce = first, _producer(self.tasks, self.draw, first)
        with (
            StopRequest() as stop,
            prefetcher(produce, self.setup.config.dpjax.prefetch, partial(data_state, self.tasks)) as batches,
        ):
            for step in range(first, last):
                name, data, parts = batches.next()
                task = self.tasks[name]
                self.data_state = batches.state
                if self.profile is not None:
                    self.profile.step()
                self.state, metrics = task.programs.update(self.state, data)
                self._check_previous(Outcome(step, metrics["loss"], parts, task))
                task.metrics = metrics
                if self.setup.config.training.disp_avg:
                    task.since_report.append(metrics)
                self.progress.advance(step + 1)
                if self.board is not None and self.board.due(step + 1):
                    self.board.write(step + 1, jax.device_get(metrics), float(self.setup.plan.rate(step)), name)
                if self._displays(step):
                    row = self._report(step)
                done = step + 1
                self._validate_fully(done)
                self.stopped = stop.after(done)
                if self.stopped is not None:
                    break
                if done % self.setup.config.training.save_freq == 0 and done != last:
                    self.save(done)
        if done != self.saver.store.latest_step() or first < done:
            self.save(done)
        return row

    def _check_previous(self, outcome: Outcome | None) -> None:
        """Look at the loss of the step before, which does not wait for the newest one.

        Raises:
            NonFiniteError: it is NaN or infinite.
        """
        previous, self._unchecked = self._unchecked, outcome
        if previous is None or math.isfinite(float(previous.loss)):
            return
        newest = self.saver.store.latest_step()
        kept = (
            f"the checkpoint of step {newest} is intact" if newest is not None else "no checkpoint had been written yet"
        )
        raise NonFiniteError(
            f"the loss is {float(previous.loss)} at step {previous.step + 1}, on {_named(previous)}; {kept}. Usual "
            "causes: a learning rate that is too high (learning_rate/start_lr), a frame with absurd labels, or atoms that nearly "
            "overlap. Lower the rate or remove the frame, then --restart."
        )

    def _displays(self, step: int) -> bool:
        frequency = self.setup.config.training.disp_freq
        return rows_before(step + 1, frequency) > rows_before(step, frequency) or step + 1 == self.setup.num_steps

    def _report(self, step: int) -> Row:
        self._check_previous(None)
        training, validation = {}, {}
        for name, task in self.tasks.items():
            training |= of_task(task.training_row(), name)
            if task.validation is not None:
                validation |= of_task(task.validation_row(self.state.params, step), name)
        validation = validation or None
        rate = float(self.setup.plan.rate(step))
        if self.curve is not None:
            self.curve.write(step + 1, training, validation, rate)
        self.progress.report(step + 1, training, validation, rate)
        row = {column(k, "trn"): v for k, v in training.items()} | {"lr": rate}
        return row | {column(k, "val"): v for k, v in (validation or {}).items()}

    def _validate_fully(self, done: int) -> None:
        """The full validations that are due after so many steps.

        Raises:
            NonFiniteError: the loss is not finite.
        """
        for keeper in self.keepers.values():
            if keeper.calendar.due(done):
                self._check_previous(None)
                task = self.tasks[keeper.task]
                metrics = measured(_all_batches(task.setup), partial(task.programs.sums, keeper.params(self.state)))
                path = keeper.note(done, metrics, self.state, self._stats(), self._meta())
                if path is not None:
                    what = f"{keeper.metric} of {keeper.task}" if keeper.task else keeper.metric
                    log.info("step %d has one of the best %s so far, saved in %s", done, what, path)

    def save(self, step: int) -> Path:
        """Write the checkpoint of the state after ``step`` updates.

        Raises:
            NonFiniteError: loss or parameters are not finite; nothing is written.
            OutputError: it cannot be written; earlier checkpoints stay.
        """
        self._check_previous(None)
        return self.saver.save(step, self.state, self._stats(), self._meta())

    def _stats(self) -> Any:
        """Statistics of the data of the task, or of each of several."""
        return _single_or_each({name: task.stored(task.programs.stats) for name, task in self.tasks.items()})

    def change_bias(self) -> None:
        """After the last step: shift each bias to what its model leaves of the labels, and write the last checkpoint again."""
        trained, average = self.state.params, self.state.ema
        shifted = {name: task.shifted(trained) for name, task in self.tasks.items()}
        averaged = None if average is None else {name: task.shifted(average) for name, task in self.tasks.items()}
        for name, task in self.tasks.items():
            task.programs.stats = place_state(shifted[name], task.setup.mesh)
        averaged_stats = None
        if averaged is not None:
            averaged_stats = _single_or_each({name: self.tasks[name].stored(own) for name, own in averaged.items()})
        self.saver.save(int(self.state.step), self.state, self._stats(), self._meta(), averaged_stats)

    def _meta(self) -> dict[str, Any]:
        """What a checkpoint says beside its arrays, JSON-able."""
        return {
            "config": self.raw,
            "data": self.data_state,
            "resolution": {name: task.programs.resolver.state() for name, task in self.tasks.items()},
            "hashes": self.fingerprint.result(),
            "seed": self.setup.seed,
            "conventions": "corrected",
            "best": {name: keeper.state() for name, keeper in self.keepers.items()},
        } | self._dipole_models()

    def _dipole_models(self) -> dict[str, Any]:
        """What belongs to the dipole models of the tasks; nothing where none has one."""
        each = {name: description(task.setup.config.model) for name, task in self.tasks.items()}
        return {META: _single_or_each(each)} if any(each.values()) else {}


def _named(outcome: Outcome) -> str:
    """Systems and frames of a batch in words."""
    systems = outcome.task.setup.training.systems
    return ", ".join(f"{systems[i].name} frames {[int(f) for f in frames]}" for i, frames in outcome.parts)


def data_state(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Where the batches of the task, or of each of several, stand; JSON-able."""
    return _single_or_each({name: task.setup.training.state() for name, task in tasks.items()})


def _single_or_each(by_task: Mapping[str, Any]) -> Any:
    """What there is of the only task, or of each of several by its name."""
    return by_task.get("", by_task)


def _producer(
    tasks: Mapping[str, Task], draw: TaskDraw | None, first: int
) -> Callable[[], tuple[str, LabelledBatch, Sequence[Part]]]:
    """Makes the next batch of training data, sends it to its devices, and says of which task it is and which frames it holds."""
    steps = itertools.count(first)

    def produce() -> tuple[str, LabelledBatch, Sequence[Part]]:
        name = "" if draw is None else draw.task(next(steps))
        setup = tasks[name].setup
        data, parts = setup.training.next_batch(device_count(setup.mesh))
        with jax.enable_x64(True):  # the setting belongs to a thread
            return name, place_batch(data, setup.mesh), parts

    return produce


def _validation_batches(setup: TrainingSetup) -> Iterator[list[LabelledBatch]]:
    """The batches of one validation after another."""
    number = setup.config.training.validation_data.numb_btch
    while True:
        drawn = (setup.validation.next_batch(device_count(setup.mesh))[0] for _ in range(number))
        yield [place_batch(data, setup.mesh) for data in drawn]


def _all_batches(setup: TrainingSetup) -> Iterable[tuple[LabelledBatch, set[str]]]:
    """All validation frames in batches of one system each, with the quantities that have labels there."""
    side = setup.validation
    for system in side.sampler.kept:
        source = side.systems[system]
        labelled = {quantity for quantity, name in LABELS.items() if source.found.get(name)}
        labelled -= set() if source.periodic else {"V"}
        for data in side.batches(system, np.arange(source.n_frame), device_count(setup.mesh)):
            yield place_batch(data, setup.mesh), labelled
