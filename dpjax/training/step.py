"""The train and validation steps: pure functions, jitted once by their factories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from dpjax.batching.batch import Array, Batch
from dpjax.models import predict
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
    """A function (params, stats, data, learning_rate) -> (loss, metrics).

    Args:
        spread: how a prediction runs on several devices, whose batches then have a leading device axis; None: one device.
    """

    def one(variables, batch: Batch) -> dict[str, jax.Array]:
        return predict(model, variables, batch, force=needs_force, block=block)

    many = one if spread is None else spread.over(one)
    flat = (lambda tree: tree) if spread is None else spread.joined

    def fn(params, stats, data: LabelledBatch, learning_rate) -> tuple[jax.Array, Metrics]:
        prediction = many({"params": params, "stats": stats}, data.batch)
        natoms, atype = flat((jnp.asarray(data.batch.natoms), jnp.asarray(data.batch.atype)))
        return loss(
            prediction,
            flat(data.label),
            natoms=natoms,
            learning_rate=learning_rate,
            find=data.find,
            atom_weight=(atype >= 0).astype(prediction["energy"].dtype),
            frame_weight=(natoms > 0).astype(prediction["energy"].dtype),
        )

    return fn


def make_train_step(loss_fn: Callable, tx: optax.GradientTransformation, schedule: Callable) -> Callable:
    """The jitted update ``(state, stats, data) -> (state, metrics)``; the state is donated.

    The loss prefactors and the update use the learning rate of the same step index.
    """

    def train_step(state: TrainState, stats: Any, data: LabelledBatch) -> tuple[TrainState, Metrics]:
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (value, metrics), gradient = gradient_fn(state.params, stats, data, schedule(state.step))
        updates, opt_state = tx.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), {"loss": value, **metrics}

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(loss_fn: Callable, schedule: Callable) -> Callable:
    """The jitted validation ``(params, stats, data, step) -> metrics``, with the prefactors of that step."""

    def eval_step(params: Any, stats: Any, data: LabelledBatch, step: jax.Array) -> Metrics:
        return loss_fn(params, stats, data, schedule(step))[1]

    return jax.jit(eval_step)


def count_programs(*steps: Callable) -> int:
    """How many programs were compiled for the given jitted functions."""
    return sum(step._cache_size() for step in steps)


def parameter_count(params: Any) -> int:
    """Number of trained numbers."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
