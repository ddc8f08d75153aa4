"""The state of a training split over its devices, in the stages of ZeRO (Rajbhandari et al., 2020, arXiv:1910.02054).

Stage 1 splits the state of the optimizer and the averaged parameters, stage 2 also the gradient, stage 3 also the parameters.  A
stage only says where numbers lie: the program is the same, and the compiler inserts what moves them.  What a stage splits lies on
every device before the step, or in it, and each device updates its own part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dpjax.train_state import TrainState
from dpjax.training.devices import AXIS, put

SMALLEST = 1024  # numbers of an array that is worth splitting


def split(shape: Sequence[int], n_device: int, first: int = 0) -> PartitionSpec:
    """How an array lies on so many devices: its longest axis that they divide is split, without padding.

    An array of few numbers, or without such an axis, lies on every device.

    Args:
        first: the first axis that may be split.
    """
    axes = [axis for axis in range(first, len(shape)) if shape[axis] % n_device == 0]
    if not axes or n_device == 1 or math.prod(shape) < SMALLEST:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, AXIS)


@dataclass(frozen=True)
class Zero:
    """Where the state of a training lies.

    Attributes:
        stage: 0 to 3.
        mesh: the devices; None for a single one, which has everything at any stage.
        members: models that are trained together; above 1 the leaves have an axis for them, which is not split.
    """

    stage: int
    mesh: Mesh | None
    members: int = 1

    @property
    def splits(self) -> bool:
        """Whether any array may be split."""
        return self.mesh is not None and self.stage > 0

    def shardings(self, state: TrainState) -> TrainState:
        """The sharding of each leaf of a state, of which only the shapes count."""
        first = 1 if self.members > 1 else 0
        return jax.tree.map(lambda _: self._whole, state).replace(
            params=self._of(state.params, 3, first),
            opt_state=self._of(state.opt_state, 1, first),
            ema=self._of(state.ema, 1, first),
        )

    def placed(self, state: TrainState) -> TrainState:
        """The state on its devices."""
        return jax.device_put(state) if self.mesh is None else put(state, self.shardings(state))

    def step(self, step: Callable) -> Callable:
        """A training step ``(state, ...) -> (state, metrics)`` after which the state lies as before it."""
        if not self.splits:
            return step

        def same_places(state: TrainState, *rest: Any) -> tuple[TrainState, Any]:
            new, metrics = step(state, *rest)
            return jax.lax.with_sharding_constraint(new, self.shardings(new)), metrics

        return same_places

    def optimizer(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """``tx``, which from stage 2 on gets a gradient that is split like the state that it updates."""
        if not self.splits or self.stage < 2:
            return tx

        def update(gradient: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            return tx.update(jax.lax.with_sharding_constraint(gradient, self._of(gradient, 2)), state, params, **extra)

        return optax.GradientTransformationExtraArgs(tx.init, update)

    @property
    def _whole(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def _of(self, tree: Any, least: int, first: int = 0) -> Any:
        """Shardings of the leaves of a tree that is split from the stage ``least`` on."""
        if self.stage < least:
            return jax.tree.map(lambda _: self._whole, tree)
        return jax.tree.map(lambda leaf: NamedSharding(self.mesh, split(leaf.shape, self.mesh.size, first)), tree)
