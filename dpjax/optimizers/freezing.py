"""Which parameters an optimizer may touch, said by a tree of flags instead of an ``if`` in the update."""

from __future__ import annotations

from typing import Any

import jax
import optax

TRAINED, FROZEN = "trained", "frozen"


def freeze(tx: optax.GradientTransformation, trainable: Any) -> optax.GradientTransformationExtraArgs:
    """``tx`` on the trainable parameters; the others keep their bits and have no state.

    Args:
        tx: the optimizer, clipping included: frozen parameters do not count in the global norm.
        trainable: bool per parameter, a tree like the parameters.
    """
    labels = jax.tree.map(lambda flag: TRAINED if flag else FROZEN, trainable)
    return optax.partition({TRAINED: tx, FROZEN: optax.set_to_zero()}, labels)


def parameter_names(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree joined with ".", in tree order."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }
