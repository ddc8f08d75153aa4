"""The compiled programs of a model: its training step, validation, and sums of errors, for batches of any layout."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dpjax.config import Config
from dpjax.config.optimizers import LkfConfig
from dpjax.losses.inputs import Arrays
from dpjax.models import RESOLVED
from dpjax.models.resolution import Resolver
from dpjax.nn.blocks import Work
from dpjax.nn.chebyshev import Grid
from dpjax.train_state import TrainState
from dpjax.training.devices import joined, over_devices, place_state
from dpjax.training.ensemble import Members, ensemble_metrics, ensemble_step, ensemble_values, mean_metrics
from dpjax.training.fresh import trainable_labels
from dpjax.training.full_validation import error_sums
from dpjax.training.kalman import KalmanStep, kalman_step_of, trained_order
from dpjax.training.mixed_precision import in_precision
from dpjax.training.rows import Row
from dpjax.training.setup import TrainingSetup
from dpjax.training.step import (
    LabelledBatch,
    Spread,
    count_programs,
    eval_step_of,
    loss_of,
    prediction_of,
    real_rows,
    train_step_of,
)


class Programs:
    """Runs the programs of a training; each is compiled once for a layout and a resolution of the embedding networks.

    Args:
        setup: the training.
        resolution: state of the :class:`Resolver` of a run that is continued.
    """

    def __init__(self, setup: TrainingSetup, resolution: Mapping[str, int] | None = None) -> None:
        self.turns = setup.turns
        self.train_step, self.eval_step = step_functions(setup)
        self.error_step, self.total_step = make_error_step(setup), make_total_step(setup)
        self.stats = place_state(setup.variables["stats"], setup.mesh)
        self.resolver = Resolver(setup.model, setup.one, series=setup.compute_dtype is None, **(resolution or {}))

    def update(
        self, state: TrainState | Members, data: LabelledBatch
    ) -> tuple[TrainState | Members, dict[str, jax.Array]]:
        """One training step; ``state`` is used up."""
        if not self.turns:
            return self._update(state, data)
        each, metrics = zip(*(self._update(own, data) for own in state.each), strict=True)
        return Members(each), mean_metrics(metrics)

    def _update(self, state: TrainState, data: LabelledBatch) -> tuple[TrainState, dict[str, jax.Array]]:
        def program(grid: Grid | None) -> tuple[dict[str, jax.Array], Any]:
            nonlocal state
            state, metrics = self.train_step(state, self.stats, data, grid)
            return metrics, metrics.pop(RESOLVED, None)

        metrics = self.resolver.run(data.batch.layout, program)
        return state, metrics

    def errors(self, params: Any, data: LabelledBatch, step: int) -> Row:
        """Metrics of a validation batch, with the prefactors of a step."""

        def errors_of(own: Any) -> Row:
            def program(grid: Grid | None) -> tuple[Row, Any]:
                metrics = jax.device_get(self.eval_step(own, self.stats, data, step, grid))
                return metrics, metrics.pop(RESOLVED, None)

            return {k: float(v) for k, v in self.resolver.run(data.batch.layout, program).items()}

        return self._of_all(errors_of, params, np.mean)

    def sums(self, params: Any, data: LabelledBatch) -> dict[str, np.ndarray]:
        """:func:`dpjax.training.full_validation.error_sums` of a batch, of the labels that its data have."""
        return self._of_all(lambda own: self._fetched(self.error_step, own, data), params, np.sum)

    def totals(self, params: Any, data: LabelledBatch) -> np.ndarray:
        """What the model predicts of the frames of a batch, (n_frame, ...), all devices joined; of an ensemble the mean."""
        return self._of_all(lambda own: self._fetched(self.total_step, own, data), params, np.mean)

    def _of_all(self, fn: Callable, params: Any, joined: Callable) -> Any:
        """``fn`` of the parameters; where members take turns the sum or mean of what it gives for each."""
        if not self.turns:
            return fn(params)
        return jax.tree.map(lambda *values: joined(values, axis=0), *(fn(own) for own in params))

    def _fetched(self, step: Callable, params: Any, data: LabelledBatch) -> Any:
        """The first result of a step, whose second says whether the grid was enough."""
        return self.resolver.run(data.batch.layout, lambda grid: jax.device_get(step(params, self.stats, data, grid)))

    @property
    def count(self) -> int:
        """Programs compiled so far."""
        return count_programs(self.train_step, self.eval_step, self.error_step, self.total_step)


def step_functions(setup: TrainingSetup) -> tuple[Callable, Callable]:
    """The jitted training and validation steps."""
    rounded = replace(setup.work, bfloat16=jax.default_backend() == "gpu")  # in training alone, as in DeePMD-kit
    train_step = _train_step(setup, _loss_of(setup, rounded))
    eval_step = eval_step_of(_loss_of(setup, setup.work), setup.plan)
    if setup.members > 1 and not setup.turns:
        train_step, eval_step = ensemble_step(train_step), ensemble_metrics(eval_step)
    train_step = with_products(setup.zero.step(train_step), trained_in_tf32(setup.config))
    eval_step = with_products(eval_step, setup.config.validating.tf32_infer)
    return jax.jit(train_step, donate_argnums=0, static_argnums=3), jax.jit(eval_step, static_argnums=4)


def _loss_of(setup: TrainingSetup, work: Work) -> Callable:
    """The loss as a function of the parameters that the run trains."""
    spread = _spread(setup.mesh)
    predict = prediction_of(setup.model, setup.needs_force, work, spread)
    return of_trained(in_precision(loss_of(predict, setup.loss, spread), setup.compute_dtype), setup)


def _train_step(setup: TrainingSetup, loss_fn: Callable) -> Callable:
    """The step of the optimizer that was asked for."""
    cfg = setup.config.optimizer
    if not isinstance(cfg, LkfConfig):
        return train_step_of(loss_fn, setup.zero.optimizer(setup.tx), setup.plan)
    order = trained_order(trainable_labels(setup.config.model, setup.variables["params"]))
    work, spread = setup.work, _spread(setup.mesh)
    step = KalmanStep(setup.model, setup.loss, cfg, order, setup.plan, setup.num_steps, work, spread)
    return kalman_step_of(step, setup.seed)


def make_error_step(setup: TrainingSetup) -> Callable:
    """The jitted ``(params, stats, data, grid=None) -> (sums, resolved)``; see :func:`error_sums`."""
    spread = _spread(setup.mesh)
    predict = prediction_of(setup.model, True, setup.work, spread)
    flat = (lambda tree: tree) if spread is None else spread.joined

    def error_step(
        params: Any, stats: Any, data: LabelledBatch, grid: Grid | None = None
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        prediction: Arrays = predict({"params": setup.arrange(params), "stats": stats}, data.batch, grid)
        rows = real_rows(data.batch, flat)
        sums = error_sums(prediction, flat(data.label), rows.natoms, rows.atom_weight, rows.frame_weight)
        return sums, _resolved(prediction, grid)

    step = ensemble_values(error_step, jnp.sum) if setup.members > 1 and not setup.turns else error_step
    return jax.jit(with_products(step, setup.config.validating.tf32_infer), static_argnums=3)


def make_total_step(setup: TrainingSetup) -> Callable:
    """The jitted ``(params, stats, data, grid=None) -> (totals, resolved)`` of the model's output, all devices joined.

    Those of an ensemble are means over its members, which share one bias.
    """
    predict = prediction_of(setup.model, False, setup.work, _spread(setup.mesh))

    def total_step(
        params: Any, stats: Any, data: LabelledBatch, grid: Grid | None = None
    ) -> tuple[jax.Array, jax.Array]:
        prediction = predict({"params": setup.arrange(params), "stats": stats}, data.batch, grid)
        return prediction[setup.model.output.total], _resolved(prediction, grid)

    # every process adds up the totals of all
    whole = {} if setup.mesh is None else {"out_shardings": NamedSharding(setup.mesh, PartitionSpec())}
    step = ensemble_values(total_step, jnp.mean) if setup.members > 1 and not setup.turns else total_step
    return jax.jit(with_products(step, tf32=False), static_argnums=3, **whole)


def trained_in_tf32(config: Config) -> bool:
    """Whether training steps may multiply in TF32: a dpa4 model has an option for it beside that of all trainings."""
    return config.training.enable_tf32 or getattr(config.model, "enable_tf32", False)


def with_products(step: Callable, tf32: bool) -> Callable:
    """``step`` with products of float32 matrices in TF32 on an NVIDIA GPU, or with all digits, which JAX does not give unasked."""

    @functools.wraps(step)
    def precise(*args: Any) -> Any:
        with jax.default_matmul_precision("tensorfloat32" if tf32 else "highest"):
            return step(*args)

    return precise


def of_trained(loss_fn: Callable, setup: TrainingSetup) -> Callable:
    """``loss_fn(params, ...)`` of the parameters of the model as a function of those that the run trains."""
    return lambda params, *rest: loss_fn(setup.arrange(params), *rest)


def _resolved(prediction: Arrays, grid: Grid | None) -> jax.Array:
    return jnp.ones((), bool) if grid is None else jnp.all(prediction[RESOLVED])


def _spread(mesh: Mesh | None) -> Spread | None:
    return None if mesh is None else Spread(lambda predict: over_devices(predict, mesh), joined)
