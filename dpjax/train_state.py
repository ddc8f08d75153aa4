"""The whole state of a training: one pytree of arrays."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """What a step reads and replaces.

    ``params`` and ``opt_state`` are donated to the step, so an old state must not be used after it.
    """

    step: jax.Array  # () int32, updates done
    params: Any
    opt_state: optax.OptState

    @classmethod
    def create(cls, params: Any, tx: optax.GradientTransformation) -> TrainState:
        """State before the first update."""
        return cls(step=jnp.zeros((), jnp.int32), params=params, opt_state=tx.init(params))


def to_arrays(state: TrainState) -> dict[str, Any]:
    """The state as a plain tree for a checkpoint: optimizer leaves in order, because their tree type belongs to optax."""
    leaves = jax.tree.leaves(state.opt_state)
    return {
        "step": state.step,
        "params": state.params,
        "opt_state": {f"{i:05d}": leaf for i, leaf in enumerate(leaves)},
    }


def from_arrays(arrays: dict[str, Any], like: TrainState) -> TrainState:
    """The state of a checkpoint in the structure of ``like``.

    Raises:
        ValueError: the checkpoint has other optimizer leaves or parameters than ``like``.
    """
    leaves, structure = jax.tree.flatten(like.opt_state)
    saved = [arrays["opt_state"][key] for key in sorted(arrays.get("opt_state", {}))]
    same = len(saved) == len(leaves) and all(jnp.shape(a) == jnp.shape(b) for a, b in zip(saved, leaves, strict=True))
    if not same or jax.tree.structure(arrays["params"]) != jax.tree.structure(like.params):
        raise ValueError("parameters or optimizer state of the checkpoint do not fit this input")
    opt_state = structure.unflatten([jnp.asarray(a, jnp.asarray(b).dtype) for a, b in zip(saved, leaves, strict=True)])
    params = jax.tree.map(jnp.asarray, arrays["params"])
    return TrainState(step=jnp.asarray(arrays["step"], jnp.int32), params=params, opt_state=opt_state)
