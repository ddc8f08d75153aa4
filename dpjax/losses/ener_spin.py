"""Loss of energy models with spins: errors of energy, force, magnetic force, virial and energies of atoms.

Absolute errors of energies and forces are sums over frames, where the loss of models without spins has means: the energy is not
divided by the number of atoms, and of forces a frame has the mean over its atoms of the sum over xyz.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dpjax.config.losses import EnerSpinLossConfig
from dpjax.losses import residuals
from dpjax.losses.ener import EnerLoss, active_terms, atomic_energy_term, energy_term, power_of, virial_term
from dpjax.losses.forms import Absolute, Squared, SummedAbsolute
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.terms import ErrorTerm


@dataclass(frozen=True, eq=False)
class EnerSpinLoss(EnerLoss):
    """Loss of energies, forces and magnetic forces.

    Shapes as :meth:`EnerLoss.evaluate` has them; force_mag is shaped like force, and the prediction mask_mag, one number for each
    atom, is 0 where an atom has no spin.  Without any such atom the term of magnetic forces is 0 and its metric NaN.
    """


def energy_spin_loss(cfg: EnerSpinLossConfig, start_lr: float, **from_model: Any) -> EnerSpinLoss:
    """The loss of a configuration; it needs no facts about the model."""
    return EnerSpinLoss(active_terms(cfg, TERMS), start_lr)


def _energy(cfg: EnerSpinLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return energy_term(cfg, prefactor, SummedAbsolute() if _absolute(cfg) else Squared(power_of(cfg)))


def _force(cfg: EnerSpinLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return _force_term("fr", "l2_force_r_loss", cfg, prefactor, residuals.force, "force", ("force",))


def _magnetic_force(cfg: EnerSpinLossConfig, prefactor: Prefactor) -> ErrorTerm:
    predictions = ("force_mag", "mask_mag")
    return _force_term("fm", "l2_force_m_loss", cfg, prefactor, residuals.magnetic_force, "force_mag", predictions)


def _force_term(
    letter: str,
    internal: str,
    cfg: EnerSpinLossConfig,
    prefactor: Prefactor,
    errors: residuals.Measure,
    name: str,
    predictions: tuple[str, ...],
) -> ErrorTerm:
    if not _absolute(cfg):
        return ErrorTerm(letter, internal, prefactor, errors, Squared(), (name,), predictions)
    each = partial(residuals.by_frame, of=errors, name=name)
    return ErrorTerm(letter, internal, prefactor, each, SummedAbsolute(), (name,), predictions)


def _virial(cfg: EnerSpinLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return virial_term(prefactor, Absolute() if _absolute(cfg) else Squared(power_of(cfg)))


def _atomic_energy(cfg: EnerSpinLossConfig, prefactor: Prefactor) -> ErrorTerm:
    return atomic_energy_term(prefactor, Absolute() if _absolute(cfg) else Squared())


def _absolute(cfg: EnerSpinLossConfig) -> bool:
    return cfg.loss_func == "mae"


TERMS: dict[str, Callable[[EnerSpinLossConfig, Prefactor], ErrorTerm]] = {
    "e": _energy,
    "fr": _force,
    "fm": _magnetic_force,
    "v": _virial,
    "ae": _atomic_energy,
}
