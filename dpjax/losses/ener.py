"""Loss of energy models: errors of energy, force, virial and what belongs to them, squared, absolute or in the Huber form.

A prefactor is ``limit + (start - limit) * lr / start_lr``; a term exists only if its start and its limit are both non-zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config import EnerLossConfig
from dpjax.losses import residuals
from dpjax.losses.forms import Absolute, Form, Huber, Squared
from dpjax.losses.inputs import Inputs
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.sums import TotalledLoss, sum_of_terms
from dpjax.losses.terms import ErrorTerm


@dataclass(frozen=True, eq=False)
class EnerLoss(TotalledLoss):
    """Loss of energies and their derivatives; see :meth:`evaluate`."""

    terms: tuple[ErrorTerm, ...]  # active terms only
    start_lr: float
    numb_generalized_coord: int = 0  # a third of the numbers of ``drdq`` for each atom

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        Args:
            prediction, label: energy (n_frame, 1), virial (n_frame, 9); of atoms, (n_frame, n_atom, ...) or flat (n_atom, ...),
                force (3), atom_energy and atom_ener (1); hessian as :func:`dpjax.losses.residuals.hessian` has it.  Of the
                label alone, for each atom: atom_ener_coeff (1), atom_pref (1 or 3), drdq (3 numb_generalized_coord).
            from_model: not needed.

        Raises:
            ModelError: the model does not predict what an active term compares, an array has another shape, or atoms on one
                axis come without their frames where a term adds up the atoms of a frame.
        """
        value, metrics = sum_of_terms(self.terms, inputs, jnp.asarray(learning_rate, float) / self.start_lr)
        return value, metrics | {"rmse": jnp.sqrt(value)}


def energy_loss(cfg: EnerLossConfig, start_lr: float, **from_model: Any) -> EnerLoss:
    """The loss of a configuration; it needs no facts about the model."""
    return EnerLoss(active_terms(cfg, TERMS), start_lr, cfg.numb_generalized_coord)


def active_terms(cfg: Any, makers: Mapping[str, Callable[[Any, Prefactor], ErrorTerm]]) -> tuple[ErrorTerm, ...]:
    """The terms whose prefactors are both non-zero, of those in a table by letter."""
    pairs = {x: Prefactor(getattr(cfg, f"start_pref_{x}"), getattr(cfg, f"limit_pref_{x}")) for x in makers}
    return tuple(makers[x](cfg, prefactor) for x, prefactor in pairs.items() if prefactor.active)


def energy_term(cfg: Any, prefactor: Prefactor, form: Form) -> ErrorTerm:
    """Energy of the frame, or the weighted sum of the energies of its atoms."""
    names = ("energy",)
    if not cfg.enable_atom_ener_coeff:
        return ErrorTerm("e", "l2_ener_loss", prefactor, residuals.energy, form, names, names)
    weighted, optional = residuals.weighted_energy, {"atom_ener_coeff": 1.0}
    return ErrorTerm("e", "l2_ener_loss", prefactor, weighted, form, names, ("atom_energy",), optional)


def virial_term(prefactor: Prefactor, form: Form) -> ErrorTerm:
    """Virial of the frame."""
    return ErrorTerm("v", "l2_virial_loss", prefactor, residuals.virial, form, ("virial",), ("virial",))


def atomic_energy_term(prefactor: Prefactor, form: Form) -> ErrorTerm:
    """Energies of the atoms."""
    labels, predictions = ("atom_ener",), ("atom_energy",)
    return ErrorTerm("ae", "l2_atom_ener_loss", prefactor, residuals.atomic_energy, form, labels, predictions)


def _energy(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return energy_term(cfg, prefactor, _form(cfg, 0, power=power_of(cfg)))


def _force(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    relative = cfg.relative_f if cfg.loss_func == "mse" else None  # absolute errors are taken as they are
    errors = partial(residuals.force, relative=relative)
    form = _form(cfg, 1, lengths=cfg.f_use_norm)
    return ErrorTerm("f", "l2_force_loss", prefactor, errors, form, ("force",), ("force",))


def _virial(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return virial_term(prefactor, _form(cfg, 2, power=power_of(cfg)))


def _atomic_energy(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return atomic_energy_term(prefactor, _form(cfg, 0))


def _weighted_force(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    errors = partial(residuals.preferred_force, relative=cfg.relative_f)
    labels, optional = (("force",), {"atom_pref": 1.0}) if cfg.use_default_pf else (("force", "atom_pref"), {})
    form = Absolute() if cfg.loss_func == "mae" else Squared()
    return ErrorTerm("pf", "l2_pref_force_loss", prefactor, errors, form, labels, ("force",), optional)


def _generalized_force(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    errors = partial(residuals.generalized_force, number=cfg.numb_generalized_coord)
    return ErrorTerm("gf", "l2_gen_force_loss", prefactor, errors, Squared(), ("force", "drdq"), ("force",))


def _hessian(cfg: EnerLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return ErrorTerm("h", "l2_hessian_loss", prefactor, residuals.hessian, Squared(), ("hessian",), ("hessian",))


TERMS: dict[str, Callable[[EnerLossConfig, Prefactor], ErrorTerm]] = {
    "e": _energy,
    "f": _force,
    "v": _virial,
    "ae": _atomic_energy,
    "pf": _weighted_force,
    "gf": _generalized_force,
    "h": _hessian,
}


def power_of(cfg: Any) -> int:
    """By which power of the number of atoms squared errors of energy and virial are divided."""
    return 2 if cfg.intensive_ener_virial else 1


def _form(cfg: EnerLossConfig, place: int, *, power: int = 2, lengths: bool = False) -> Form:
    """The form that the options ask for; ``place`` of the threshold among those for energy, force and virial."""
    if cfg.loss_func == "mae":
        return Absolute(lengths)
    if cfg.use_huber:
        delta = cfg.huber_delta
        return Huber(delta[place] if isinstance(delta, tuple) else delta, lengths)
    return Squared(power)
