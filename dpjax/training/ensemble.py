"""Several models in one training: the same data and settings, other initial parameters, for model deviation.

Parameters, their averages and the optimizer's state get a leading axis for the members; statistics of the data are common.  Every
member does exactly what it would do in a run of its own on the same batches: its gradient is clipped by its own norm.  The
members of a step are computed together on an accelerator and one after another on a CPU, where an array of all would leave the
cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dpjax.errors import ConfigError
from dpjax.models import RESOLVED, init_variables
from dpjax.train_state import TrainState
from dpjax.training.devices import stacked
from dpjax.training.step import kept_if_resolved


def stacked_parameters(model: nn.Module, seed: int, number: int) -> Any:
    """Initial parameters of all members, leaves (number, ...); those of the first are what a training of one model draws."""
    members = [init_variables(model, seed, member=i)["params"] for i in range(number)]
    return stacked(members)


def member_of(tree: Any, number: int) -> Any:
    """One member's part of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[number], tree)


def adopted_members(variables: Any, number: int, adopt: Callable[[Any], Any]) -> Any:
    """Variables of an ensemble that is continued.

    Args:
        variables: its variables.
        number: of members that this input asks for.
        adopt: checks and converts the variables of one member.

    Raises:
        ConfigError: the model to continue has another number of members, or is a single one.
    """
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(variables["params"])}
    if sizes != {number}:
        raise ConfigError(
            f"dpjax/ensemble: found {number}, but the model to start from is not an ensemble of so many. An ensemble is continued "
            "from its own checkpoints, with the same number; from one model all members would be alike."
        )
    each = [adopt(variables | {"params": member_of(variables["params"], i)}) for i in range(number)]
    return each[0] | {"params": stacked([own["params"] for own in each])}


def over_members(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``fn`` of one member as a function of a tree whose leaves have the axis of the members first."""
    if jax.default_backend() == "cpu":
        return lambda tree: jax.lax.map(fn, tree)
    return jax.vmap(fn)


def ensemble_step(step: Callable) -> Callable:
    """A training step ``(state, stats, data, grid) -> (state, metrics)`` of one model as that of all members.

    Metrics are means over the members.  Where a grid does not resolve the networks of one of them, all come back as they were.
    """

    def all_steps(
        state: TrainState, stats: Any, data: Any, grid: Any = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        number = len(jax.tree.leaves(state.params)[0])
        each = state.replace(step=jnp.broadcast_to(state.step, number))
        each = each.replace(scale=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, number), state.scale))
        new, metrics = over_members(lambda own: step(own, stats, data, grid))(each)
        new = new.replace(step=new.step[0], scale=jax.tree.map(jnp.min, new.scale))
        metrics = joined_metrics(metrics)
        return kept_if_resolved(new, state, metrics), metrics

    return all_steps


def ensemble_metrics(step: Callable) -> Callable:
    """A validation ``(params, stats, data, step, grid) -> metrics`` of one model as the mean over all members."""

    def all_metrics(params: Any, stats: Any, data: Any, number: Any, grid: Any = None) -> dict[str, jax.Array]:
        return joined_metrics(over_members(lambda own: step(own, stats, data, number, grid))(params))

    return all_metrics


def ensemble_values(step: Callable, joined: Callable) -> Callable:
    """Values ``(params, stats, data, grid) -> (values, resolved)`` of one model as the sum or mean over all members.

    Args:
        step: of one model.
        joined: ``jnp.sum`` or ``jnp.mean``.
    """

    def all_values(params: Any, stats: Any, data: Any, grid: Any = None) -> tuple[Any, jax.Array]:
        values, resolved = over_members(lambda own: step(own, stats, data, grid))(params)
        return jax.tree.map(lambda leaf: joined(leaf, axis=0), values), jnp.all(resolved)

    return all_values


def joined_metrics(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Means of metrics (number,); resolved only if all are."""
    return {name: jnp.all(m) if name == RESOLVED else jnp.mean(m) for name, m in metrics.items()}
