"""The learning rate, which every optimizer applies once, as the last link of its chain."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ScaleByRateState(NamedTuple):
    """How many updates were made."""

    count: jax.Array  # () int32


def scale_by_rate(schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Direction -> ``-rate * direction``, in the dtype of the direction.

    ``update(..., learning_rate=rate)`` imposes a rate on that update; without it the rate is ``schedule(count)``, where
    ``count`` is the number of updates before this one, imposed rates or not.

    Args:
        schedule: step -> learning rate; the first update uses step 0.
    """

    def init_fn(params: Any) -> ScaleByRateState:
        del params
        return ScaleByRateState(jnp.zeros((), jnp.int32))

    def update_fn(
        updates: Any, state: ScaleByRateState, params: Any = None, *, learning_rate: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByRateState]:
        del params, extra
        rate = schedule(state.count) if learning_rate is None else learning_rate
        updates = jax.tree.map(lambda u: jnp.asarray(-rate, u.dtype) * u, updates)
        return updates, ScaleByRateState(optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
