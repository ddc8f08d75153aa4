"""The train and validation steps: pure functions, jitted once by their factories."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from dpjax.batching.batch import Array, Batch
from dpjax.models import RESOLVED, predict
from dpjax.nn.chebyshev import Grid
from dpjax.train_state import TrainState

Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class LabelledBatch:
    """A batch with its labels on the same padded axes and the 0/1 flags that say which labels exist."""

    batch: Batch
    label: dict[str, Array]  # energy (n_frame, 1), force (n_atom, 3), virial (n_frame, 9), ...
    find: dict[str, Array]  # () each


class Spread(NamedTuple):
    """How a function of one device's batch becomes one of the batches of all devices; see ``training.devices``."""

    over: Callable[[Callable], Callable]
    joined: Callable[[Any], Any]


def loss_of(model, loss: Callable, needs_force: bool, block: int | None, spread: Spread | None = None) -> Callable:
    """A function (params, stats, data, learning_rate, grid) -> (loss, metrics); with a grid the metrics have ``resolved`` ().

    Args:
        spread: how a prediction runs on several devices, whose batches then have a leading device axis; None: one device.
    """

    def prediction_of(variables, batch: Batch, grid: Grid | None) -> dict[str, jax.Array]:
        one = partial(predict, model, force=needs_force, block=block, grid=grid)
        return (one if spread is None else spread.over(one))(variables, batch)

    flat = (lambda tree: tree) if spread is None else spread.joined

    def fn(params, stats, data: LabelledBatch, learning_rate, grid: Grid | None = None) -> tuple[jax.Array, Metrics]:
        prediction = prediction_of({"params": params, "stats": stats}, data.batch, grid)
        resolved = {RESOLVED: jnp.all(prediction.pop(RESOLVED))} if grid is not None else {}
        natoms, atype, frame = flat(
            (jnp.asarray(data.batch.natoms), jnp.asarray(data.batch.atype), frames_of(data.batch))
        )
        value, metrics = loss(
            prediction,
            flat(data.label),
            natoms=natoms,
            learning_rate=learning_rate,
            find=data.find,
            atom_weight=(atype >= 0).astype(float),
            frame_weight=(natoms > 0).astype(float),
            frame=frame,
        )
        return value, metrics | resolved

    return fn


def frames_of(batch: Batch) -> jax.Array:
    """Frame of each atom, shaped like ``batch.atype``; with a device axis the frames of all devices are counted on."""
    frame = jnp.asarray(batch.frame)
    if frame.ndim == 1:
        return frame
    return frame + batch.layout.frames * jnp.arange(len(frame), dtype=frame.dtype)[:, None]


def make_train_step(loss_fn: Callable, tx: optax.GradientTransformation, schedule: Callable) -> Callable:
    """The jitted update ``(state, stats, data, grid=None) -> (state, metrics)``; the state is donated.

    The loss prefactors and the update use the learning rate of the same step index.  Where ``grid`` does not resolve the embedding
    networks the state comes back as it was, and ``metrics["resolved"]`` is false.
    """

    def train_step(
        state: TrainState, stats: Any, data: LabelledBatch, grid: Grid | None = None
    ) -> tuple[TrainState, Metrics]:
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (value, metrics), gradient = gradient_fn(state.params, stats, data, schedule(state.step), grid)
        updates, opt_state = tx.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
        if grid is not None:
            new = jax.tree.map(lambda ours, old: jnp.where(metrics[RESOLVED], ours, old), new, state)
        return new, {"loss": value, **metrics}

    return jax.jit(train_step, donate_argnums=0, static_argnums=3)


def make_eval_step(loss_fn: Callable, schedule: Callable) -> Callable:
    """The jitted validation ``(params, stats, data, step, grid=None) -> metrics``, with the prefactors of that step."""

    def eval_step(params: Any, stats: Any, data: LabelledBatch, step: jax.Array, grid: Grid | None = None) -> Metrics:
        return loss_fn(params, stats, data, schedule(step), grid)[1]

    return jax.jit(eval_step, static_argnums=4)


def count_programs(*steps: Callable) -> int:
    """How many programs were compiled for the given jitted functions."""
    return sum(step._cache_size() for step in steps)


def parameter_count(params: Any) -> int:
    """Number of trained numbers."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
