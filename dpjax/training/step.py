"""The train and validation steps: pure functions, jitted once by their factories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from dpjax.batching.batch import Array, Batch
from dpjax.models import RESOLVED, predict
from dpjax.nn.blocks import Work
from dpjax.nn.chebyshev import Grid
from dpjax.nn.nvnmd import magnified
from dpjax.train_state import TrainState
from dpjax.training.mixed_precision import all_finite

Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class LabelledBatch:
    """A batch with its labels on the same padded axes and the 0/1 flags that say which labels exist."""

    batch: Batch
    label: dict[str, Array]  # energy (n_frame, 1), force (n_atom, 3), virial (n_frame, 9), ...
    find: dict[str, Array]  # () each


@dataclass(frozen=True)
class UpdatePlan:
    """When steps become updates of the parameters, and at which rate.

    Attributes:
        schedule: number of updates done -> learning rate.
        accumulate: steps whose gradients are added up for one update, as the optimizer does (``optimizers.accumulate``).
        ema_decay: of the moving average of the parameters; None keeps none.
        factor: of the rate with which the parameters are updated; prefactors of the loss follow the rate without it.
    """

    schedule: Callable
    accumulate: int = 1
    ema_decay: float | None = None
    factor: float = 1.0

    def rate(self, step: Any) -> Any:
        """Learning rate of a step."""
        return self.schedule(step // self.accumulate)

    def updates(self, step: Any) -> Any:
        """1.0 if a step ends with an update, else 0.0."""
        return jnp.asarray((step + 1) % self.accumulate == 0, float)


class Spread(NamedTuple):
    """How a function of one device's batch becomes one of the batches of all devices; see ``training.devices``."""

    over: Callable[[Callable], Callable]
    joined: Callable[[Any], Any]


class Rows(NamedTuple):
    """Which atoms and frames of a batch are real, all devices joined."""

    natoms: jax.Array  # (n_frame,)
    atom_weight: jax.Array  # (n_atom,) 0 on padding and for virtual atoms
    frame_weight: jax.Array  # (n_frame,) 0 on padding
    frame: jax.Array  # (n_atom,)


def real_rows(batch: Batch, flat: Callable[[Any], Any]) -> Rows:
    """The rows of a batch; ``flat`` joins the axis of the devices with the next one."""
    natoms, is_atom, frame = flat((jnp.asarray(batch.natoms), jnp.asarray(batch.is_atom), frames_of(batch)))
    return Rows(natoms, is_atom.astype(float), (natoms > 0).astype(float), frame)


def prediction_of(model, needs_force: bool, work: Work, spread: Spread | None = None) -> Callable:
    """A function (variables, batch, grid, hessian=None) -> predictions, of all devices joined.

    Args:
        spread: how a prediction runs on several devices, whose batches then have a leading device axis; None: one device.
    """

    def prediction(variables, batch: Batch, grid: Grid | None, hessian: int | None = None) -> dict[str, jax.Array]:
        one = partial(predict, model, force=needs_force, hessian=hessian, work=work, grid=grid)
        if model.config.nvnmd is not None and model.config.nvnmd.quantizes:
            one = magnified(one)  # else most of what the loss pulls would be rounded to nothing
        return (one if spread is None else spread.over(one))(variables, batch)

    return prediction


def loss_of(prediction: Callable, loss: Callable, spread: Spread | None = None) -> Callable:
    """A function (params, stats, data, learning_rate, grid) -> (loss, metrics); with a grid the metrics have ``resolved`` ().

    Args:
        prediction: from :func:`prediction_of`, with the same ``spread``.
        loss: compares predictions with labels.
    """
    flat = (lambda tree: tree) if spread is None else spread.joined

    def fn(params, stats, data: LabelledBatch, learning_rate, grid: Grid | None = None) -> tuple[jax.Array, Metrics]:
        # labels (n_atom, 9 * most) say for how many atoms of a frame second derivatives are wanted
        most = data.label["hessian"].shape[-1] // 9 if "hessian" in loss.predictions else None
        predicted = prediction({"params": params, "stats": stats}, data.batch, grid, most)
        resolved = {RESOLVED: jnp.all(predicted.pop(RESOLVED))} if grid is not None else {}
        rows = real_rows(data.batch, flat)
        value, metrics = loss(
            predicted, flat(data.label), learning_rate=learning_rate, find=data.find, **rows._asdict()
        )
        return value, metrics | resolved

    return fn


def frames_of(batch: Batch) -> jax.Array:
    """Frame of each atom, shaped like ``batch.atype``; with a device axis the frames of all devices are counted on."""
    frame = jnp.asarray(batch.frame)
    if frame.ndim == 1:
        return frame
    return frame + batch.layout.frames * jnp.arange(len(frame), dtype=frame.dtype)[:, None]


def train_step_of(loss_fn: Callable, tx: optax.GradientTransformationExtraArgs, plan: UpdatePlan) -> Callable:
    """The step ``(state, stats, data, grid=None) -> (state, metrics)``.

    The loss prefactors and the update use the learning rate of the same step, the update times ``plan.factor``.  Where ``grid``
    does not resolve the embedding networks the state comes back as it was, and ``metrics["resolved"]`` is false.
    """

    def train_step(
        state: TrainState, stats: Any, data: LabelledBatch, grid: Grid | None = None
    ) -> tuple[TrainState, Metrics]:
        rate = plan.rate(state.step)
        (value, metrics), gradient = scaled_gradient(loss_fn, state)(stats, data, rate, grid)
        updates, opt_state = tx.update(gradient, state.opt_state, state.params, learning_rate=plan.factor * rate)
        params = optax.apply_updates(state.params, updates)
        ema = averaged(state.ema, params, plan, state.step)
        new = state.replace(step=state.step + 1, params=params, opt_state=opt_state, ema=ema)
        if state.scale is not None:
            new = after_scaling(new, state, all_finite(gradient))
        return kept_if_resolved(new, state, metrics), {"loss": value, **metrics}

    return train_step


def scaled_gradient(loss_fn: Callable, state: TrainState) -> Callable:
    """``(loss, metrics), gradient`` by the parameters, as a function of the other arguments of ``loss_fn``.

    The loss is differentiated times the scale of the state, and the gradient divided by it.
    """
    factor = None if state.scale is None else state.scale.factor

    def scaled(params, *rest):
        value, metrics = loss_fn(params, *rest)
        return (value if factor is None else value * factor), (value, metrics)

    def gradient_of(*rest):
        (_, aux), gradient = jax.value_and_grad(scaled, has_aux=True)(state.params, *rest)
        return aux, gradient if factor is None else jax.tree.map(lambda g: g / factor.astype(g.dtype), gradient)

    return gradient_of


def after_scaling(new: TrainState, old: TrainState, finite: jax.Array) -> TrainState:
    """The state after a step with a scaled loss: where the gradient is not finite only the step and the scale move on."""
    kept = old.replace(step=new.step)
    state = jax.tree.map(lambda ours, theirs: jnp.where(finite, ours, theirs), new, kept)
    return state.replace(scale=old.scale.after(finite))


def kept_if_resolved(new: TrainState, old: TrainState, metrics: Metrics) -> TrainState:
    """``new``, or ``old`` where the metrics say that a grid did not resolve the embedding networks."""
    if RESOLVED not in metrics:
        return new
    return jax.tree.map(lambda ours, theirs: jnp.where(metrics[RESOLVED], ours, theirs), new, old)


def averaged(ema: Any, params: Any, plan: UpdatePlan, step: jax.Array) -> Any:
    """The moving average of the parameters after a step: it follows where the step made an update."""
    if plan.ema_decay is None:
        return ema
    weight = (1.0 - plan.ema_decay) * plan.updates(step)
    return jax.tree.map(lambda s, p: s + weight.astype(s.dtype) * (p - s), ema, params)


def eval_step_of(loss_fn: Callable, plan: UpdatePlan) -> Callable:
    """The validation ``(params, stats, data, step, grid=None) -> metrics``, with the prefactors of that step."""

    def eval_step(params: Any, stats: Any, data: LabelledBatch, step: jax.Array, grid: Grid | None = None) -> Metrics:
        return loss_fn(params, stats, data, plan.rate(step), grid)[1]

    return eval_step


def count_programs(*steps: Callable) -> int:
    """How many programs were compiled for the given jitted functions."""
    return sum(step._cache_size() for step in steps)


def parameter_count(params: Any) -> int:
    """Number of trained numbers."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
