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

    All of it is donated to the step, so an old state must not be used after it.  ``ema`` is the moving average of the parameters, a
    tree like ``params``, for a run that keeps one, else None.  ``scale`` is what the loss is multiplied by in float16, else None.
    """

    step: jax.Array  # () int32, updates done
    params: Any
    opt_state: optax.OptState
    ema: Any = None
    scale: Any = None

    @classmethod
    def create(
        cls, params: Any, tx: optax.GradientTransformation, average: bool = False, members: bool = False
    ) -> TrainState:
        """State before the first update.

        Args:
            average: whether to keep a moving average, which starts at ``params``.
            members: whether the leaves of ``params`` have an axis for several models, each with its own state of the optimizer.
        """
        opt_state = jax.jit(jax.vmap(tx.init) if members else tx.init)(params)  # one program, not one for each shape
        ema = jax.tree.map(jnp.copy, params) if average else None
        return cls(step=jnp.zeros((), jnp.int32), params=params, opt_state=opt_state, ema=ema)


def to_arrays(state: TrainState) -> dict[str, Any]:
    """The state as a plain tree for a checkpoint: optimizer leaves in order, because their tree type belongs to optax.

    ``ema`` and ``scale`` are there only if the state has them.
    """
    leaves = jax.tree.leaves(state.opt_state)
    averaged = {} if state.ema is None else {"ema": state.ema}
    if state.scale is not None:
        averaged["scale"] = {"factor": state.scale.factor, "good": state.scale.good}
    return {
        "step": state.step,
        "params": state.params,
        "opt_state": {f"{i:05d}": leaf for i, leaf in enumerate(leaves)},
    } | averaged


def from_arrays(arrays: dict[str, Any], like: TrainState) -> TrainState:
    """The state of a checkpoint in the structure and the dtypes of ``like``.

    Raises:
        ValueError: the checkpoint has other optimizer leaves or parameters than ``like``, or only one of them has averaged
            parameters.
    """
    leaves, structure = jax.tree.flatten(like.opt_state)
    saved = [arrays["opt_state"][key] for key in sorted(arrays.get("opt_state", {}))]
    if not _fits(saved, leaves) or not _fits(arrays["params"], like.params):
        raise ValueError("parameters or optimizer state of the checkpoint do not fit this input")
    averaged = arrays.get("ema")
    if averaged is None and like.ema is not None:
        raise ValueError("this input averages the parameters, but the checkpoint has no averaged ones (ema)")
    if averaged is not None and like.ema is None:
        raise ValueError("the checkpoint has averaged parameters (ema), but this input averages none")
    if not _fits(averaged, like.ema):
        raise ValueError("the averaged parameters (ema) of the checkpoint do not fit this input")
    return TrainState(
        step=jnp.asarray(arrays["step"], jnp.int32),
        params=_as(arrays["params"], like.params),
        opt_state=structure.unflatten(_as(saved, leaves)),
        ema=_as(averaged, like.ema),
        scale=_scale(arrays.get("scale"), like.scale),
    )


def _scale(saved: dict[str, Any] | None, like: Any) -> Any:
    """The scale of the loss as it was saved; a new one where the checkpoint, of another precision, has none."""
    return like if saved is None or like is None else type(like)(**_as(saved, dict(factor=like.factor, good=like.good)))


def _fits(tree: Any, like: Any) -> bool:
    """Whether two trees have the same structure and shapes."""
    return jax.tree.structure(tree) == jax.tree.structure(like) and all(
        jnp.shape(a) == jnp.shape(b) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True)
    )


def _as(tree: Any, like: Any) -> Any:
    """The arrays of ``tree`` on the device, in the dtypes of ``like``."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.asarray(b).dtype), tree, like)
