"""Loss of models that give forces directly and learn from disturbed structures: errors of energy, forces and displacements.

Of a batch some atoms may have been displaced by noise.  They are asked for their displacement, in units of its standard deviation,
the others for their force; energies and forces are compared in units of their spread over the data.  Of each kind of atoms the
loss has the mean times their share of all atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.losses import DensLossConfig
from dpjax.losses import residuals
from dpjax.losses.forms import Absolute, Form, Residuals, Squared
from dpjax.losses.inputs import Arrays, Inputs, compared, fact, predicted, row_weights
from dpjax.losses.means import error_of, real_values
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.sums import Measured, Term, TotalledLoss, sum_of_terms
from dpjax.losses.terms import ErrorTerm

FACTS = {"energy": "energy_std", "force": "force_rmsd"}  # quantity -> fact about the model that is its unit


@dataclass(frozen=True, eq=False)
class DensLoss(TotalledLoss):
    """Loss of energies, direct forces and displacements; see :meth:`evaluate`."""

    terms: tuple[Term, ...]  # active terms only
    start_lr: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch, those of energies and forces in eV and eV/angstrom.

        Args:
            prediction: energy (n_frame, 1); of atoms, (n_frame, n_atom, ...) or flat (n_atom, ...), force (3) and
                denoising_force_norm (3), the displacement in units of its standard deviation.  Where the batch was disturbed,
                also what was done to it: noise_mask, one number for each atom, 0 where it was left alone, and noise (3), the
                displacement in angstrom.
            label: energy (n_frame, 1) and force, shaped like the prediction.
            from_model: energy_std (eV) and force_rmsd (eV/angstrom), () each, before those the loss was made with.

        Raises:
            ModelError: a fact is missing, the model does not predict what an active term compares, or an array has another shape.
        """
        facts = {**self.facts, **from_model}
        units = {name: jnp.asarray(fact(facts, FACTS[name], "dens"), float).reshape(()) for name in self.labels}
        scaled = replace(inputs, prediction=_in(units, inputs.prediction), label=_in(units, inputs.label))
        value, metrics = sum_of_terms(self.terms, scaled, jnp.asarray(learning_rate, float) / self.start_lr)
        printed = {name: metrics[name] * units[term.labels[0]] for term in self.terms for name in term.printed}
        return value, metrics | printed | {"rmse": jnp.sqrt(value)}


@dataclass(frozen=True)
class ForceTerm:
    """Error of the forces of atoms that were left alone; see :class:`dpjax.losses.sums.Term`."""

    prefactor: Prefactor
    form: Form
    std: float  # angstrom
    labels: tuple[str, ...] = ("force",)
    predictions: tuple[str, ...] = ("force", "denoising_force_norm")
    optional: Mapping[str, float] = field(default_factory=dict)

    @property
    def printed(self) -> tuple[str, ...]:
        """The name of the printed metric."""
        return (f"{self.form.kind}_f",)

    def measured(self, inputs: Inputs, present: jax.Array) -> Measured:
        """Value and metrics of one batch; the printed one is NaN where all atoms were displaced.

        The internal mean square is over forces and displacements.
        """
        predicted(inputs.prediction, "force", "start_pref_f")
        errors = residuals.force(inputs, present)
        alone = 1.0 - _displaced(inputs.prediction, len(errors.error))
        own = errors._replace(error=real_values(errors.error, errors.weight * alone), weight=errors.weight * alone)
        score = self.form(own._replace(weight=errors.weight, factor=alone))
        metrics = {self.printed[0]: jnp.where(jnp.any(own.weight > 0.0), self.form(own).printed, jnp.nan)}
        if score.square is not None:
            metrics["l2_force_loss"] = score.square + self.form(displacement(inputs, present, std=self.std)).square
        return Measured(score.value, metrics)


@dataclass(frozen=True)
class DisplacementTerm:
    """Error of the displacements of atoms that were displaced; see :class:`dpjax.losses.sums.Term`."""

    prefactor: Prefactor
    form: Form
    std: float  # angstrom
    labels: tuple[str, ...] = ("force",)  # it counts where forces do
    predictions: tuple[str, ...] = ("denoising_force_norm",)
    optional: Mapping[str, float] = field(default_factory=dict)
    printed: tuple[str, ...] = ()

    def measured(self, inputs: Inputs, present: jax.Array) -> Measured:
        """Value of one batch; it has no metrics of its own."""
        return Measured(self.form(displacement(inputs, present, std=self.std)).value, {})


def displacement(inputs: Inputs, present: jax.Array, *, std: float) -> Residuals:
    """Displacements (n_row, 3) in units of ``std`` (angstrom); the factor of atoms that were left alone is 0.

    Raises:
        ModelError: the model does not predict them, or the batch was disturbed and does not say how.
    """
    ours = predicted(inputs.prediction, "denoising_force_norm", "dens_denoising_pos_coefficient")
    true = {}
    if "noise_mask" in inputs.prediction:
        true = {"noise": predicted(inputs.prediction, "noise", "dens_denoising_pos_coefficient") / std}
    ours, theirs = compared(ours, true, "noise", 3)
    weight = row_weights(inputs.atom_weight, len(ours))[:, None] * present
    factor = _displaced(inputs.prediction, len(ours))
    chosen = weight * factor  # keeps what was not displaced out of the gradient
    return Residuals(error_of(ours, theirs, chosen), weight, factor=factor)


def dens_loss(cfg: DensLossConfig, start_lr: float, **from_model: Any) -> DensLoss:
    """The loss of a configuration and of the facts energy_std and force_rmsd, now or at the call."""
    absolute = cfg.loss_func == "mae"
    energy, force = (Prefactor(getattr(cfg, f"start_pref_{x}"), getattr(cfg, f"limit_pref_{x}")) for x in "ef")
    found = Prefactor(cfg.dens_denoising_pos_coefficient, cfg.dens_denoising_pos_coefficient)
    terms: list[Term] = []
    if energy.active:
        form, names = Absolute() if absolute else Squared(1), ("energy",)
        terms.append(ErrorTerm("e", "l2_ener_loss", energy, residuals.energy, form, names, names))
    if force.active:
        form = Absolute(lengths=True) if absolute else Squared()
        terms.append(ForceTerm(force, form, cfg.dens_std))
        terms += [DisplacementTerm(found, form, cfg.dens_std)] if found.active else []
    return DensLoss(tuple(terms), start_lr, from_model)


def _in(units: Mapping[str, jax.Array], arrays: Arrays) -> Arrays:
    """The arrays, those that have a unit divided by it."""
    return {**arrays, **{name: arrays[name] / unit for name, unit in units.items() if name in arrays}}


def _displaced(prediction: Arrays, n_row: int) -> jax.Array:
    """1 for atoms that were displaced, else 0, (n_row, 1); none were where the batch does not say so."""
    if "noise_mask" not in prediction:
        return jnp.zeros((n_row, 1))
    return (row_weights(prediction["noise_mask"], n_row) > 0.0).astype(float)[:, None]
