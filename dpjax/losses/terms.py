"""Terms that are made of the errors of one quantity: which errors, in which form, under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from dpjax.losses.forms import Form
from dpjax.losses.inputs import Inputs, predicted
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.residuals import Measure
from dpjax.losses.sums import Measured


@dataclass(frozen=True)
class ErrorTerm:
    """A term of a loss for energies; see :class:`dpjax.losses.sums.Term`.

    Attributes:
        letter: ending of its prefactors and of the printed metric.
        internal: name of the plain mean square.
        prefactor: weight of the term.
        residuals: the errors of a batch.
        form: what is made of them.
        labels, predictions, optional: as for every term.
    """

    letter: str
    internal: str
    prefactor: Prefactor
    residuals: Measure
    form: Form
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    optional: Mapping[str, float] = field(default_factory=dict)

    @property
    def printed(self) -> tuple[str, ...]:
        """The name of the printed metric."""
        return (f"{self.form.kind}_{self.letter}",)

    def measured(self, inputs: Inputs, present: jax.Array) -> Measured:
        """Value and metrics of one batch; the metrics are NaN where nothing counts.

        Raises:
            ModelError: a prediction is missing, or has other rows than its label.
        """
        for name in self.predictions:
            predicted(inputs.prediction, name, f"start_pref_{self.letter}")
        residuals = self.residuals(inputs, present)
        score = self.form(residuals)
        metrics = {self.printed[0]: score.printed}
        if score.square is not None:
            metrics[self.internal] = score.square
        anything = jnp.any(residuals.weight > 0.0)
        return Measured(score.value, {name: jnp.where(anything, x, jnp.nan) for name, x in metrics.items()})
