"""Several models trained together: a tree of parameters that they partly share, and which of them a step trains.

The common tree holds pieces, such as ``shared:dpa1`` or ``water:fitting_net``.  A task's model sees its own arrangement of them
(:func:`arranged`), so the program of a task is that of its model alone; a step changes the pieces of its task and leaves the others
and the state of their optimizers as they are.  Statistics of the data belong to a task, but those of a shared descriptor are
pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dpjax.config.tasks import Pieces
from dpjax.training.environment import Blocks

Tree = dict[str, Any]
BLOCK = 1024  # steps whose tasks are drawn at once
DRAW = 3  # kind of random numbers, beside those of the sampler


def arranged(common: Tree, pieces: Pieces) -> Tree:
    """The parameters of one model out of the common tree."""
    model: Tree = {}
    for place, piece in sorted(pieces.items()):  # what lies within another place comes after it
        *parents, last = place.split(".")
        holder = model
        for key in parents:
            holder[key] = dict(holder.get(key, {}))
            holder = holder[key]
        holder[last] = common[piece]
    return model


def taken_apart(params: Tree, pieces: Pieces) -> Tree:
    """The pieces of one model's parameters; the inverse of :func:`arranged`."""
    apart: Tree = {}
    for place, piece in pieces.items():
        inner = [other.removeprefix(f"{place}.") for other in pieces if other.startswith(f"{place}.")]
        subtree = params
        for key in place.split("."):
            subtree = subtree[key]
        apart[piece] = {key: leaf for key, leaf in subtree.items() if key not in inner} if inner else subtree
    return apart


def common_tree(models: Mapping[str, Tree], pieces: Mapping[str, Pieces]) -> Tree:
    """The tree of all tasks; a shared piece is that of the first task that has it."""
    tree: Tree = {}
    for name, params in models.items():
        for piece, subtree in taken_apart(params, pieces[name]).items():
            tree.setdefault(piece, subtree)
    return tree


class Gathered(NamedTuple):
    """Gradients of several steps, added up until they become one update."""

    own: Tree  # states of the optimizers of all pieces
    total: Tree  # sum of the gradients since the last update, like the parameters
    trained: dict[str, jax.Array]  # piece -> () bool, whether one of these steps trained it
    count: jax.Array  # () int32, of these steps


@dataclass(frozen=True)
class PieceOptimizer:
    """An optimizer for each piece, with a state of its own, and a clipping of all gradients of an update together.

    Attributes:
        clip: of the gradients of the pieces that are updated.
        by_piece: piece -> optimizer; all take the rate as extra argument ``learning_rate``.
        accumulate: steps, of whichever tasks, whose gradients are added up for one update.
    """

    clip: optax.GradientTransformation
    by_piece: Mapping[str, optax.GradientTransformationExtraArgs]
    accumulate: int = 1

    def init(self, params: Tree) -> Tree | Gathered:
        """State of all pieces."""
        own = {piece: self.by_piece[piece].init(subtree) for piece, subtree in params.items()}
        return own if self.accumulate == 1 else _nothing_gathered(own, params)

    def of(self, pieces: Sequence[str]) -> optax.GradientTransformationExtraArgs:
        """The transformation of a step that trains some pieces of the common tree; the others stay, with their state."""
        wanted = sorted(set(pieces))

        def update(gradients: Tree, state: Any, params: Tree, **extra: Any) -> tuple[Tree, Any]:
            if self.accumulate > 1:
                return self._gather(wanted, gradients, state, params, extra)
            own = {piece: gradients[piece] for piece in wanted}
            changed, new = self._updated(own, state, params, extra)
            return _unmoved(params) | changed, state | new

        return optax.GradientTransformationExtraArgs(self.init, update)

    def _updated(self, gradients: Tree, state: Tree, params: Tree, extra: Mapping[str, Any]) -> tuple[Tree, Tree]:
        """Updates and new states of those pieces that have gradients."""
        clipped, _ = self.clip.update(gradients, self.clip.init(gradients), None)
        both = {
            piece: self.by_piece[piece].update(own, state[piece], params[piece], **extra)
            for piece, own in clipped.items()
        }
        return {piece: update for piece, (update, _) in both.items()}, {piece: new for piece, (_, new) in both.items()}

    def _gather(
        self, wanted: Sequence[str], gradients: Tree, state: Gathered, params: Tree, extra: Mapping[str, Any]
    ) -> tuple[Tree, Gathered]:
        """A step's gradients join those before it; the last of so many steps updates the pieces that any of them trained."""
        total = state.total | {piece: jax.tree.map(jnp.add, state.total[piece], gradients[piece]) for piece in wanted}
        trained = state.trained | {piece: jnp.ones((), bool) for piece in wanted}
        count = state.count + 1

        def settle() -> tuple[Tree, Gathered]:
            updates, new = self._updated(total, state.own, params, extra)
            updates, own = (
                {piece: _chosen(trained[piece], after[piece], before[piece]) for piece in after}
                for after, before in ((updates, _unmoved(params)), (new, state.own))
            )
            return updates, _nothing_gathered(own, params)

        def wait() -> tuple[Tree, Gathered]:
            return _unmoved(params), Gathered(state.own, total, trained, count)

        return jax.lax.cond(count == self.accumulate, settle, wait)


def _nothing_gathered(own: Tree, params: Tree) -> Gathered:
    return Gathered(own, _unmoved(params), {piece: jnp.zeros((), bool) for piece in params}, jnp.zeros((), jnp.int32))


def _unmoved(params: Tree) -> Tree:
    return jax.tree.map(jnp.zeros_like, params)


def _chosen(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


class TaskDraw:
    """Which task a step trains, drawn with replacement: a function of the seed and the step, the same on every machine.

    Args:
        weights: by task; they need not sum to 1.
        seed: of the training.
    """

    def __init__(self, weights: Mapping[str, float], seed: int) -> None:
        self.names = list(weights)
        total = sum(weights.values())
        self.probabilities = np.array([weights[name] / total for name in self.names])
        self._seed, self._block, self._drawn = seed, -1, np.zeros(0, int)

    def task(self, step: int) -> str:
        """The task of a step, counted from 0."""
        block, place = divmod(step, BLOCK)
        if block != self._block:
            rng = np.random.default_rng([self._seed, DRAW, block])
            self._drawn, self._block = rng.choice(len(self.names), BLOCK, p=self.probabilities), block
        return self.names[int(self._drawn[place])]


def pooled(moments: Mapping[str, Blocks], weights: Mapping[str, float]) -> Blocks:
    """Moments of a shared descriptor: those of the first task, and of the others by their weight relative to it."""
    first, *others = moments
    total = dict(moments[first])
    for name in others:
        share = weights[name] / weights[first]
        total = {block: own + moments[name][block].scaled(share) for block, own in total.items()}
    return total
