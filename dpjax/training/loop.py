"""The training loop: feeds batches, reports, validates, saves.  All mathematics is in the jitted step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dpjax.batching.prefetch import prefetcher
from dpjax.checkpoints import CheckpointStore
from dpjax.errors import NonFiniteError
from dpjax.models import RESOLVED
from dpjax.models.resolution import Resolver
from dpjax.nn.chebyshev import Grid
from dpjax.train_state import TrainState, to_arrays
from dpjax.training.devices import Part, joined, over_devices, place_batch, place_state
from dpjax.training.fingerprint import Fingerprint
from dpjax.training.interrupt import StopRequest
from dpjax.training.lcurve import LearningCurve
from dpjax.training.progress import Progress
from dpjax.training.setup import DataSide, TrainingSetup
from dpjax.training.step import LabelledBatch, Spread, count_programs, loss_of, make_eval_step, make_train_step

log = logging.getLogger(__name__)

Row = dict[str, float]


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


@dataclass
class Loop:
    """One run from ``state`` to the last step."""

    setup: TrainingSetup
    state: TrainState
    store: CheckpointStore
    curve: LearningCurve | None
    progress: Progress
    data_state: dict[str, Any]
    fingerprint: Fingerprint
    resolver: Resolver

    def __post_init__(self):
        setup = self.setup
        self.train_step, self.eval_step = step_functions(setup)
        self.state = place_state(self.state, setup.mesh)
        self.stats = place_state(setup.variables["stats"], setup.mesh)
        self._validation = None if setup.validation is None else _validation_batches(setup)
        self._since_report: list[dict[str, jax.Array]] = []
        self._unchecked: Outcome | None = None
        self.stopped: str | None = None

    def run(self) -> Row:
        """Train to the last step; returns the last row of the learning curve.

        Raises:
            NonFiniteError: the loss became NaN or infinite; checkpoints saved before stay.
        """
        first, last = int(self.state.step), self.setup.num_steps
        row: Row = {}
        side, done = self.setup.training, first
        with (
            StopRequest() as stop,
            prefetcher(_producer(side, self.setup.mesh), self.setup.config.dpjax.prefetch, side.state) as batches,
        ):
            for step in range(first, last):
                data, parts = batches.next()
                self.data_state = batches.state
                metrics = self._update(data)
                self._check_previous(Outcome(step, metrics["loss"], parts))
                if self.setup.config.training.disp_avg:
                    self._since_report.append(metrics)
                self.progress.advance(step + 1)
                if self._displays(step):
                    row = self._report(step, metrics)
                done = step + 1
                if stop.name is not None:
                    self.stopped = stop.name
                    break
                if done % self.setup.config.training.save_freq == 0 and done != last:
                    self.save(done)
        if done != self.store.latest_step() or first < done:
            self.save(done)
        return row

    def _update(self, data: LabelledBatch) -> dict[str, jax.Array]:
        """One step on a batch; returns its metrics."""

        def program(grid: Grid | None) -> tuple[dict[str, jax.Array], Any]:
            self.state, metrics = self.train_step(self.state, self.stats, data, grid)
            return metrics, metrics.pop(RESOLVED, None)

        return self.resolver.run(data.batch.layout, program)

    def _errors(self, data: LabelledBatch, step: int) -> Row:
        """Metrics of a validation batch."""

        def program(grid: Grid | None) -> tuple[Row, Any]:
            metrics = jax.device_get(self.eval_step(self.state.params, self.stats, data, step, grid))
            return metrics, metrics.pop(RESOLVED, None)

        return {k: float(v) for k, v in self.resolver.run(data.batch.layout, program).items()}

    def _check_previous(self, outcome: Outcome | None) -> None:
        """Look at the loss of the step before, which does not wait for the newest one.

        Raises:
            NonFiniteError: it is NaN or infinite.
        """
        previous, self._unchecked = self._unchecked, outcome
        if previous is None or math.isfinite(float(previous.loss)):
            return
        newest = self.store.latest_step()
        kept = (
            f"the checkpoint of step {newest} is intact" if newest is not None else "no checkpoint had been written yet"
        )
        raise NonFiniteError(
            f"the loss is {float(previous.loss)} at step {previous.step + 1}, on {self._named(previous.parts)}; {kept}. Usual "
            "causes: a learning rate that is too high (learning_rate/start_lr), a frame with absurd labels, or atoms that nearly "
            "overlap. Lower the rate or remove the frame, then --restart."
        )

    def _named(self, parts: Sequence[Part]) -> str:
        """Systems and frames of a batch in words."""
        systems = self.setup.training.systems
        return ", ".join(f"{systems[i].name} frames {[int(f) for f in frames]}" for i, frames in parts)

    def _displays(self, step: int) -> bool:
        frequency = self.setup.config.training.disp_freq
        return rows_before(step + 1, frequency) > rows_before(step, frequency) or step + 1 == self.setup.num_steps

    def _training_row(self, metrics) -> Row:
        """Errors of the last batch, or with ``disp_avg`` their mean over the batches since the last line."""
        rows = jax.device_get(self._since_report or [metrics])
        self._since_report.clear()
        return {name: mean_found(name, [float(row[name]) for row in rows]) for name in rows[0]}

    def _report(self, step: int, metrics) -> Row:
        self._check_previous(None)
        training = printed(self._training_row(metrics))
        validation = None if self._validation is None else self._validate(step)
        rate = float(self.setup.schedule(step))
        if self.curve is not None:
            self.curve.write(step + 1, training, validation, rate)
        self.progress.report(step + 1, training, validation, rate)
        row = {f"{k}_trn": v for k, v in training.items()} | {"lr": rate}
        return row | {f"{k}_val": v for k, v in (validation or {}).items()}

    def _validate(self, step: int) -> Row:
        """Errors on the next validation batches that have the label, averaged with the number of atoms as weight."""
        rows, weights = [], []
        for data in next(self._validation):
            rows.append(printed(self._errors(data, step)))
            weights.append(float(np.sum(data.batch.natoms)))
        return {name: mean_found(name, [row[name] for row in rows], weights) for name in rows[0]}

    def save(self, step: int) -> Path:
        """Write the checkpoint of the state after ``step`` updates.

        Raises:
            NonFiniteError: loss or parameters are not finite; nothing is written.
            OutputError: it cannot be written; earlier checkpoints stay.
        """
        self._check_previous(None)
        arrays = jax.device_get(to_arrays(self.state)) | {"stats": self.setup.variables["stats"]}
        if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(arrays["params"])):
            raise NonFiniteError(
                f"parameters are not finite after step {step}; nothing was saved over the earlier checkpoints. Lower "
                "learning_rate/start_lr or look for a frame with absurd labels, then --restart."
            )
        meta = {
            "config": self.setup.config.raw,
            "data": self.data_state,
            "resolution": self.resolver.state(),
            "hashes": self.fingerprint.result(),
            "seed": self.setup.seed,
            "conventions": "corrected",
        }
        return self.store.save(step, arrays, meta)

    @property
    def programs(self) -> int:
        """Programs compiled so far for training and validation steps."""
        return count_programs(self.train_step, self.eval_step)


def step_functions(setup: TrainingSetup) -> tuple[Callable, Callable]:
    """The jitted training and validation steps."""
    loss_fn = loss_of(setup.model, setup.loss, setup.needs_force, setup.config.dpjax.block_size, _spread(setup.mesh))
    return make_train_step(loss_fn, setup.tx, setup.schedule), make_eval_step(loss_fn, setup.schedule)


def rows_before(steps: int, frequency: int) -> int:
    """Rows of the learning curve in the first ``steps`` of a longer run: the first step and every ``frequency``-th."""
    return steps // frequency + (frequency > 1 and steps > 0)


def rows_of(steps: int, frequency: int) -> int:
    """Rows of the learning curve of a run of so many steps, which shows its last step in any case."""
    return rows_before(steps - 1, frequency) + 1 if steps > 0 else 0


def mean_found(name: str, values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean of a metric over batches, with weights if given; those whose data lack the label have NaN there and do not count.

    A NaN of the loss itself is no missing label and stays.
    """
    pairs = zip(values, weights or [1.0] * len(values), strict=True)
    found = [(v, w) for v, w in pairs if name == "loss" or not math.isnan(v)]
    total = sum(w for _, w in found)
    return sum(v * w for v, w in found) / total if total else math.nan


def printed(metrics: Row) -> Row:
    """Metrics that belong into the learning curve."""
    return {k: v for k, v in metrics.items() if k != "loss" and not k.startswith("l2_")}


def _spread(mesh: Mesh | None) -> Spread | None:
    return None if mesh is None else Spread(lambda predict: over_devices(predict, mesh), joined)


def _producer(side: DataSide, mesh: Mesh | None) -> Callable[[], tuple[LabelledBatch, Sequence[Part]]]:
    """Makes the next batch of the training data, sends it to its devices, and says which frames it holds."""

    def produce() -> tuple[LabelledBatch, Sequence[Part]]:
        data, parts = _next_batch(side, mesh)
        with jax.enable_x64(True):  # the setting belongs to a thread
            return place_batch(data, mesh), parts

    return produce


def _next_batch(side: DataSide, mesh: Mesh | None) -> tuple[LabelledBatch, Sequence[Part]]:
    parts = side.sampler.next_batch()
    n_device = 1 if mesh is None else mesh.size
    return side.source.batch(parts, side.sampler.frames_per_batch(parts[0][0]), n_device), parts


def _validation_batches(setup: TrainingSetup) -> Iterator[list[LabelledBatch]]:
    """The batches of one validation after another."""
    number = setup.config.training.validation_data.numb_btch
    while True:
        yield [place_batch(_next_batch(setup.validation, setup.mesh)[0], setup.mesh) for _ in range(number)]
