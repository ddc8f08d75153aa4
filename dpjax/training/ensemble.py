"""Several models in one training: the same data and settings, other initial parameters, for model deviation.

Parameters, their averages and the optimizer's state get a leading axis for the members; statistics of the data are common.  Every
member does exactly what it would do in a run of its own on the same batches: its gradient is clipped by its own norm.

On an accelerator the members of a step are computed together.  On a CPU, where arrays of all would leave the cache, they take turns
in the programs of one model, each with a state of its own (:class:`Members`), which become one again in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dpjax.errors import ConfigError
from dpjax.models import RESOLVED, init_variables
from dpjax.train_state import TrainState
from dpjax.training.devices import stacked
from dpjax.training.hosts import fetched
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


def take_turns() -> bool:
    """Whether members are computed one after another."""
    return jax.default_backend() == "cpu"


@flax.struct.dataclass
class Members:
    """The states of members that take turns, all after the same step."""

    each: tuple[TrainState, ...]

    @property
    def step(self) -> jax.Array:
        """() int32, updates done."""
        return self.each[0].step

    @property
    def params(self) -> tuple[Any, ...]:
        """The parameters of each."""
        return tuple(own.params for own in self.each)

    @property
    def opt_state(self) -> tuple[Any, ...]:
        """The state of the optimizer of each."""
        return tuple(own.opt_state for own in self.each)

    @property
    def ema(self) -> tuple[Any, ...] | None:
        """The averaged parameters of each, if there are any."""
        return None if self.each[0].ema is None else tuple(own.ema for own in self.each)


def apart(state: TrainState, number: int) -> Members:
    """A state of so many members as one state for each."""
    own = [state.replace(**member_of(_of_their_own(state), i), step=state.step + 0) for i in range(number)]
    return Members(tuple(own))


def together(state: TrainState | Members) -> TrainState:
    """The state of all members, on the host; that of a single model as it is."""
    if isinstance(state, TrainState):
        return state
    each = [fetched(own) for own in state.each]
    return each[0].replace(**stacked([_of_their_own(own) for own in each]))


def _of_their_own(state: TrainState) -> dict[str, Any]:
    """What differs between members."""
    return {"params": state.params, "opt_state": state.opt_state, "ema": state.ema, "scale": state.scale}


@jax.jit
def mean_metrics(each: Sequence[dict[str, jax.Array]]) -> dict[str, jax.Array]:
    """Means of the metrics of all members."""
    return joined_metrics(jax.tree.map(lambda *values: jnp.stack(values), *each))


def ensemble_step(step: Callable) -> Callable:
    """A training step ``(state, stats, data, grid) -> (state, metrics)`` of one model as that of all members.

    Metrics are means over the members.  Where a grid does not resolve the networks of one of them, all come back as they were.
    """

    def all_steps(
        state: TrainState, stats: Any, data: Any, grid: Any = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        number = len(jax.tree.leaves(state.params)[0])
        each = state.replace(step=jnp.broadcast_to(state.step, number))
        new, metrics = jax.vmap(lambda own: step(own, stats, data, grid))(each)
        metrics = joined_metrics(metrics)
        return kept_if_resolved(new.replace(step=new.step[0]), state, metrics), metrics

    return all_steps


def ensemble_metrics(step: Callable) -> Callable:
    """A validation ``(params, stats, data, step, grid) -> metrics`` of one model as the mean over all members."""

    def all_metrics(params: Any, stats: Any, data: Any, number: Any, grid: Any = None) -> dict[str, jax.Array]:
        return joined_metrics(jax.vmap(lambda own: step(own, stats, data, number, grid))(params))

    return all_metrics


def ensemble_values(step: Callable, joined: Callable) -> Callable:
    """Values ``(params, stats, data, grid) -> (values, resolved)`` of one model as the sum or mean over all members.

    Args:
        step: of one model.
        joined: ``jnp.sum`` or ``jnp.mean``.
    """

    def all_values(params: Any, stats: Any, data: Any, grid: Any = None) -> tuple[Any, jax.Array]:
        values, resolved = jax.vmap(lambda own: step(own, stats, data, grid))(params)
        return jax.tree.map(lambda leaf: joined(leaf, axis=0), values), jnp.all(resolved)

    return all_values


def joined_metrics(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Means of metrics (number,); resolved only if all are."""
    return {name: jnp.all(m) if name == RESOLVED else jnp.mean(m) for name, m in metrics.items()}
