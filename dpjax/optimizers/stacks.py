"""What the optimizers of matrices share: momentum, and one call for all matrices of a shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp


def nesterov(gradient: Any, momentum: Any, beta: float) -> tuple[Any, Any]:
    """The gradient with momentum that looks one step ahead, and the new momentum; trees like ``gradient``."""

    def mixed(g: jax.Array, m: jax.Array) -> jax.Array:
        return beta * m + (1.0 - beta) * g

    momentum = jax.tree.map(mixed, gradient, momentum)
    return jax.tree.map(mixed, gradient, momentum), momentum


def in_batches(fn: Callable[[jax.Array], jax.Array], stacks: Sequence[jax.Array]) -> list[jax.Array]:
    """``fn`` of all matrices, those of one shape together in one call.

    Args:
        fn: of a stack of matrices (n_matrix, rows, columns) with rows <= columns, each by itself; keeps the shape.
        stacks: each (n_matrix, rows, columns), of any shape.

    Returns:
        The results in the shapes of ``stacks``.
    """
    wide = [x.mT if _is_tall(x) else x for x in stacks]
    groups = defaultdict(list)
    for i, x in enumerate(wide):
        groups[x.shape[1:], x.dtype].append(i)
    results: dict[int, jax.Array] = {}
    for members in groups.values():
        ends = list(accumulate(len(wide[i]) for i in members))
        parts = jnp.split(fn(jnp.concatenate([wide[i] for i in members])), ends[:-1])
        results |= zip(members, parts, strict=True)
    return [results[i].mT if _is_tall(x) else results[i] for i, x in enumerate(stacks)]


def _is_tall(x: jax.Array) -> bool:
    """Whether the matrices (n_matrix, rows, columns) have more rows than columns."""
    return x.shape[1] > x.shape[2]


def shape_factor(rows: int, columns: int, lr_adjust: float, lr_adjust_coeff: float) -> float:
    """What the orthogonal matrix is multiplied by, so that one learning rate suits matrices of any shape."""
    if lr_adjust > 0:
        return max(1.0, rows / columns) ** 0.5
    return lr_adjust_coeff * max(rows, columns) ** 0.5


def adam_share(lr_adjust: float) -> float:
    """What the rate is multiplied by for parameters that Adam updates."""
    return 1.0 / lr_adjust if lr_adjust > 0 else 1.0
