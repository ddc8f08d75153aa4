"""Terms that are mean squared errors of a quantity of the atoms or of its total over a frame."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dpjax.losses.forms import Residuals, Score, Squared
from dpjax.losses.inputs import Inputs, compared, counted_atoms, label_rows, predicted, row_weights
from dpjax.losses.means import error_of, real_values, weighted_mean
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.sums import Measured


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
        size: number of components; None takes the last axis of the prediction.
    """

    option: str
    metric: str
    prediction: str
    label: str
    prefactor: Prefactor
    atomic: bool
    cumulative: bool = False
    weighted_by: str | None = None
    size: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The label without which the term is silent."""
        return (self.label,)

    @property
    def optional(self) -> dict[str, float]:
        """Labels that are taken where data have them, and what stands for them elsewhere."""
        return {} if self.weighted_by is None else {self.weighted_by: 1.0}

    @property
    def predictions(self) -> tuple[str, ...]:
        """The prediction."""
        return (self.prediction,)

    @property
    def printed(self) -> tuple[str, ...]:
        """The name of the printed metric."""
        return (f"rmse_{self.metric}",)

    def measured(self, inputs: Inputs, present: jax.Array) -> Measured:
        """Value and metrics of one batch, of arrays in any shape that ends in the components.

        What belongs to an atom of mask 0 may be NaN.

        Raises:
            ModelError: the prediction is missing, or has other rows than its label.
        """
        score = (self._of_atoms if self.atomic else self._of_frames)(inputs, present)
        return Measured(score.value, {f"l2_{self.metric}_loss": score.square, self.printed[0]: score.printed})

    def _compared(self, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        ours = predicted(inputs.prediction, self.prediction, self.option)
        return compared(ours, inputs.label, self.label, self.size or ours.shape[-1])

    def _of_frames(self, inputs: Inputs, present: jax.Array) -> Score:
        ours, theirs = self._compared(inputs)
        count = counted_atoms(inputs.prediction, inputs.natoms, len(ours))
        weight = row_weights(inputs.frame_weight, len(ours)) * present
        return total_score(self._sums(error_of(ours, theirs, (weight * count)[:, None])), count, weight)

    def _of_atoms(self, inputs: Inputs, present: jax.Array) -> Score:
        ours, theirs = self._compared(inputs)
        mask = row_weights(inputs.prediction.get("mask"), len(ours))
        weight = (row_weights(inputs.atom_weight, len(ours)) * mask * present)[:, None]
        error = error_of(ours, theirs, weight)
        if self.weighted_by is not None:
            error = error * real_values(label_rows(inputs.label, self.weighted_by, len(ours), 1.0), weight)
        return Squared()(Residuals(self._sums(error), weight))

    def _sums(self, error: jax.Array) -> jax.Array:
        return jnp.cumsum(error, axis=-1) if self.cumulative else error


def total_score(error: jax.Array, count: jax.Array, weight: jax.Array) -> Score:
    """Mean over frames, each as often as it has atoms that count, and components of error^2.

    The rmse is divided by the mean number of these atoms. Error (n_frame, n), count and weight (n_frame,).
    """
    square = weighted_mean(error**2, (weight * count)[:, None])
    mean_count = weighted_mean(count, weight)
    return Score(square, jnp.sqrt(square) / jnp.where(mean_count > 0.0, mean_count, 1.0), square)
