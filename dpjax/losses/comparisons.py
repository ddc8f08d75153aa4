"""Losses that are sums of mean squared errors of a quantity of the atoms and of its total over a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dpjax.losses.inputs import Inputs, compared, counted_atoms, found_flag, predicted, row_weights
from dpjax.losses.means import error_of
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.terms import Term, atomic_term, total_term


@dataclass(frozen=True)
class Comparison:
    """One term: a prediction, the label it is compared with, and how.

    Attributes:
        option: of the ``loss`` section that switches the term on, for messages.
        metric: what the term is called among the metrics, behind ``rmse_``.
        prediction, label: their names.
        prefactor: weight of the term.
        atomic: one row for each atom, instead of one for each frame.
        cumulative: compare running sums over the components.
        weighted_by: label (one number for each atom, 1 where it is absent) that multiplies the errors.
    """

    option: str
    metric: str
    prediction: str
    label: str
    prefactor: Prefactor
    atomic: bool
    cumulative: bool = False
    weighted_by: str | None = None


def metric_names(comparisons: Iterable[Comparison]) -> tuple[str, ...]:
    """Names of the printed metrics, sorted."""
    return tuple(sorted(f"rmse_{x.metric}" for x in comparisons))


def sum_of_terms(
    comparisons: Iterable[Comparison], inputs: Inputs, ratio: jax.Array, size: int | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss value () and metrics of one batch.

    Args:
        comparisons: the active terms.
        inputs: predictions and labels in any shape that ends in the components. What belongs to an atom of mask 0 may be NaN.
        ratio: learning rate over start rate.
        size: number of components; None takes the last axis of the predictions.

    Raises:
        ModelError: a prediction is missing, or has other rows than its label.
    """
    value, metrics = jnp.zeros(()), {}
    for one in comparisons:
        found = found_flag(one.label, inputs.label, inputs.find)
        term = _term(one, inputs, found, size)
        value = value + one.prefactor.at(ratio) * found * term.value
        metrics[f"l2_{one.metric}_loss"] = jnp.where(found > 0.0, term.square, jnp.nan)
        metrics[f"rmse_{one.metric}"] = jnp.where(found > 0.0, term.rmse, jnp.nan)
    return value, metrics


def _term(one: Comparison, inputs: Inputs, found: jax.Array, size: int | None) -> Term:
    ours = predicted(inputs.prediction, one.prediction, one.option)
    ours, theirs = compared(ours, inputs.label, one.label, size or ours.shape[-1])
    present = jnp.where(found > 0.0, 1.0, 0.0)  # a label that is not there is padding from end to end
    if not one.atomic:
        count = counted_atoms(inputs.prediction, inputs.natoms, len(ours))
        weight = row_weights(inputs.frame_weight, len(ours)) * present
        return total_term(_sums(one, error_of(ours, theirs, (weight * count)[:, None])), count, weight)
    weight = (
        row_weights(inputs.atom_weight, len(ours)) * row_weights(inputs.prediction.get("mask"), len(ours)) * present
    )
    error = error_of(ours, theirs, weight[:, None])
    if one.weighted_by in inputs.label:
        factor = row_weights(inputs.label[one.weighted_by], len(ours))
        error = error * jnp.where(weight > 0.0, factor, 0.0)[:, None]
    return atomic_term(_sums(one, error), weight)


def _sums(one: Comparison, error: jax.Array) -> jax.Array:
    return jnp.cumsum(error, axis=-1) if one.cumulative else error
