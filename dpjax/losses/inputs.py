"""What losses are handed: predictions, labels and their flags, facts about the model, weights and numbers of atoms.

Every function takes arrays of a rectangular batch, (n_frame, n_atom, ...), as well as those of a flat one, (n_atom, ...), where the
atoms of all frames stand on one axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.errors import ModelError

Arrays = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Inputs:
    """The arguments of a loss that its terms need; as :class:`dpjax.losses.Loss` has them."""

    prediction: Arrays
    label: Arrays
    natoms: int | jax.Array
    find: Mapping[str, Any] = field(default_factory=dict)
    atom_weight: jax.Array | None = None
    frame_weight: jax.Array | None = None
    frame: jax.Array | None = None


def fact(facts: Mapping[str, Any], name: str, loss: str) -> Any:
    """What the model says about ``name``.

    Raises:
        ModelError: it is not among the facts.
    """
    if name not in facts:
        raise ModelError(
            f"loss: the {loss} loss needs {name} of its model, but was given only: {', '.join(sorted(facts)) or 'nothing'}. "
            f"Pass {name}=... to dpjax.losses.from_config or to the loss."
        )
    return facts[name]


def predicted(prediction: Arrays, name: str, asked_by: str) -> jax.Array:
    """The prediction of a term.

    Raises:
        ModelError: the model does not predict it.
    """
    if name not in prediction:
        raise ModelError(
            f"loss/{asked_by} asks for a {name} term, but the model predicts only: {', '.join(sorted(prediction))}."
        )
    return prediction[name]


def found_flag(name: str, label: Arrays, find: Mapping[str, Any]) -> jax.Array:
    """1 if the data have a label, else 0, (): absent from ``label`` is not found, absent from ``find`` is found."""
    return jnp.asarray(find.get(name, 1.0) if name in label else 0.0, float)


def compared(ours: jax.Array, label: Arrays, name: str, size: int) -> tuple[jax.Array, jax.Array]:
    """Prediction and label as rows of ``size`` numbers, (n_row, size); zeros stand for a label that is not there.

    Raises:
        ModelError: the two hold different amounts of numbers.
    """
    theirs = label.get(name)
    if theirs is None:
        theirs = jnp.zeros_like(ours)
    if jnp.size(theirs) != jnp.size(ours) or jnp.size(ours) % size:
        raise ModelError(
            f"loss: the label {name} has the shape {jnp.shape(theirs)}, the prediction {jnp.shape(ours)}; both need rows of "
            f"{size} numbers for the same atoms or frames."
        )
    return ours.reshape(-1, size), theirs.reshape(-1, size)


def row_weights(weight: jax.Array | None, n_row: int) -> jax.Array:
    """One weight for each row, (n_row,): ones from None, else from one for each row, in any shape, or for each atom of a frame."""
    if weight is None:
        return jnp.ones(n_row)
    weight = jnp.asarray(weight, float)
    if weight.size != n_row:  # the same for all frames
        weight = jnp.broadcast_to(weight, (n_row // weight.size, weight.size))
    return weight.reshape(n_row)


def counted_atoms(prediction: Arrays, natoms: int | jax.Array, n_frame: int) -> jax.Array:
    """How many atoms of each frame count, (n_frame,).

    That is ``counted`` where the model predicts it, else what a rectangular ``mask`` says, else ``natoms``.
    """
    mask = prediction.get("mask")
    if "counted" in prediction:
        count = prediction["counted"]
    elif mask is not None and mask.ndim == 2:
        count = jnp.sum(mask > 0, axis=1)
    else:
        count = jnp.asarray(natoms)
    return jnp.broadcast_to(count, (n_frame,)).astype(float)


def label_rows(label: Arrays, name: str, n_row: int, default: float, columns: tuple[int, ...] = (1,)) -> jax.Array:
    """A label that is not compared but multiplied, (n_row, k) with k among ``columns``; ``default`` where it is absent.

    Raises:
        ModelError: it has another width.
    """
    if name not in label:
        return jnp.full((n_row, columns[0]), default)
    values = jnp.asarray(label[name])
    if values.size not in [n_row * k for k in columns]:
        raise ModelError(
            f"loss: the label {name} has the shape {values.shape}; it needs {' or '.join(map(str, columns))} numbers for each of "
            f"{n_row} atoms."
        )
    return values.reshape(n_row, -1)


def atom_frames(inputs: Inputs, values: jax.Array, name: str) -> tuple[jax.Array, int]:
    """Frame of each atom, (n_row,), and the number of frames, for terms that add up the atoms of a frame.

    Args:
        inputs: with ``frame`` and one number of atoms for each frame, where the atoms of all frames are on one axis.
        values: prediction of atoms; (n_frame, n_atom, k) says itself what belongs to which frame.
        name: what the prediction is called.

    Raises:
        ModelError: neither is so.
    """
    if inputs.frame is not None and jnp.ndim(inputs.natoms) == 1:
        return jnp.reshape(jnp.asarray(inputs.frame), -1), jnp.shape(inputs.natoms)[0]
    if inputs.frame is not None or values.ndim < 3:
        raise ModelError(
            f"loss: the prediction {name} has the shape {values.shape}, but a term adds up the atoms of each frame. Give the loss "
            "frame=..., the frame of each atom, and natoms as one number for each frame."
        )
    n_frame, n_atom = values.shape[:2]
    return jnp.repeat(jnp.arange(n_frame), n_atom), n_frame
