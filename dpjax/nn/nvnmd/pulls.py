"""Derivatives by parameters of quantised functions, kept above what their roundings swallow.

Fixed-point numbers round what is pulled at them to 2^-21 or 2^-23.  That is fine for forces, as the hardware computes them, but the
derivatives of a loss by energies are often smaller.  So they are multiplied by a power of two before they go through a model, and
the derivatives by parameters, which are not rounded, are divided by it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp

FACTOR = 2.0**20


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pulled(tree: Any, factor: float) -> Any:
    return tree


def _pull(factor: float, _: None, pulls: Any) -> tuple[Any]:
    return (jax.tree.map(lambda g: g * factor if jnp.issubdtype(g.dtype, jnp.inexact) else g, pulls),)


_pulled.defvjp(lambda tree, factor: (tree, None), _pull)


def magnified(predict: Callable) -> Callable:
    """``predict(variables, ...)`` with the same values, whose derivatives are multiplied by 2^20 on their way through it."""

    @wraps(predict)
    def wrapped(variables: Any, *rest: Any, **options: Any) -> Any:
        return _pulled(predict(_pulled(variables, 1.0 / FACTOR), *rest, **options), FACTOR)

    return wrapped
