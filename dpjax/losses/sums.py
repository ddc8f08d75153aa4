"""Losses that are sums of terms: what a term is, and how terms add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dpjax.losses.base import Loss
from dpjax.losses.inputs import Inputs, found_flag
from dpjax.losses.prefactor import Prefactor


class Measured(NamedTuple):
    """What a term makes of a batch, without its prefactor."""

    value: jax.Array  # () what is minimised
    metrics: dict[str, jax.Array]  # () each


class Term(Protocol):
    """One term of a loss.

    Attributes:
        prefactor: its weight.
        labels: those without which the term is silent.
        optional: labels that it takes where data have them -> what stands for them elsewhere.
        predictions: those it needs.
        printed: names of the metrics that ``lcurve.out`` shows.
    """

    @property
    def prefactor(self) -> Prefactor: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def optional(self) -> Mapping[str, float]: ...

    @property
    def predictions(self) -> tuple[str, ...]: ...

    @property
    def printed(self) -> tuple[str, ...]: ...

    def measured(self, inputs: Inputs, present: jax.Array) -> Measured:
        """Value and metrics of one batch.

        ``present`` () is 1 if the data have the labels, else 0: then value and gradient are 0, whatever stands in their place.
        """
        ...


class SumLoss(Loss):
    """A loss that is the sum of its active ``terms``."""

    terms: tuple[Term, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the active terms compare."""
        return _once(name for term in self.terms for name in term.labels)

    @property
    def optional_labels(self) -> dict[str, float]:
        """Labels that are taken where data have them, and what stands for them elsewhere."""
        return {name: default for term in self.terms for name, default in term.optional.items()}

    @property
    def predictions(self) -> tuple[str, ...]:
        """Predictions that the active terms compare."""
        return _once(name for term in self.terms for name in term.predictions)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the printed metrics, sorted."""
        return tuple(sorted(name for term in self.terms for name in term.printed))


class TotalledLoss(SumLoss):
    """One whose metrics also have ``rmse``, the root of its value."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the printed metrics, sorted."""
        return tuple(sorted([*super().metrics, "rmse"]))


def sum_of_terms(terms: Iterable[Term], inputs: Inputs, ratio: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss value () and metrics of one batch; ``ratio`` is the learning rate over the start rate.

    Raises:
        ModelError: a prediction is missing, or has other rows than its label.
    """
    value, metrics = jnp.zeros(()), {}
    for term in terms:
        found = jnp.ones(())
        for name in term.labels:
            found = found * found_flag(name, inputs.label, inputs.find)
        measured = term.measured(inputs, jnp.where(found > 0.0, 1.0, 0.0))
        value = value + term.prefactor.at(ratio) * found * measured.value
        metrics |= {name: jnp.where(found > 0.0, metric, jnp.nan) for name, metric in measured.metrics.items()}
    return value, metrics


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
