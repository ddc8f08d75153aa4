"""Layers of equal shape one after another, as a loop in the program: it is compiled once, however many layers there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

State = TypeVar("State")


def repeated(layers: Sequence[nn.Module], state: State, *others: object) -> State:
    """What the layers make of a state, each of what the one before it has left.

    Args:
        layers: bound modules ``layer(state, *others) -> state`` whose parameters have equal shapes and that have nothing else.
        state: tree of arrays whose shapes and dtypes layers do not change.
        others: trees of arrays that all layers are given.
    """
    if len(layers) == 1:
        return layers[0](state, *others)
    own = [layer.variables["params"] for layer in layers]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *own)
    shell = layers[0].clone(parent=None, name=None)

    def step(state: State, params: object) -> tuple[State, None]:
        return shell.apply({"params": params}, state, *others), None

    return jax.lax.scan(step, state, stacked)[0]
