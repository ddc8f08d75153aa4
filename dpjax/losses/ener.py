"""Loss of energy models: squared errors of energy, force and virial with prefactors that follow the learning rate.

A prefactor is ``limit + (start - limit) * lr / start_lr``; a term exists only if its start and its limit are both non-zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config import EnerLossConfig
from dpjax.errors import ConfigError
from dpjax.losses.base import Loss
from dpjax.losses.inputs import Inputs, found_flag, predicted
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.terms import Term, energy_term, force_term, virial_term

# letter of the prefactors and metrics -> (name of prediction and label, name of the internal mean square)
TERMS = {"e": ("energy", "l2_ener_loss"), "f": ("force", "l2_force_loss"), "v": ("virial", "l2_virial_loss")}
LATER = ("start_pref_h", "start_pref_ae", "start_pref_pf", "start_pref_gf", "use_default_pf", "relative_f")
LATER += ("enable_atom_ener_coeff", "use_huber", "f_use_norm")


@dataclass(frozen=True, eq=False)
class EnerLoss(Loss):
    """Energy, force and virial loss; see :meth:`evaluate`."""

    prefactors: Mapping[str, Prefactor]  # by letter, active terms only
    start_lr: float
    intensive: bool = False  # divide squared errors of energy and virial by N^2 instead of N

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the active terms compare."""
        return tuple(TERMS[letter][0] for letter in self.prefactors)

    @property
    def predictions(self) -> tuple[str, ...]:
        """Predictions that the active terms compare; called like their labels."""
        return self.labels

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the printed metrics, sorted."""
        return tuple(sorted(["rmse", *(f"rmse_{letter}" for letter in self.prefactors)]))

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        Args:
            prediction, label: energy (n_frame, 1), force (n_frame, n_atom, 3) or flat (n_atom, 3), virial (n_frame, 9).
            from_model: not needed.

        Raises:
            ModelError: the model does not predict what an active term compares.
        """
        ratio = jnp.asarray(learning_rate, float) / self.start_lr
        value, metrics = jnp.zeros(()), {}
        for letter, prefactor in self.prefactors.items():
            name, internal = TERMS[letter]
            found = found_flag(name, inputs.label, inputs.find)
            term = self._term(letter, inputs, found)
            value = value + prefactor.at(ratio) * found * term.value
            metrics[internal] = jnp.where(found > 0.0, term.square, jnp.nan)
            metrics[f"rmse_{letter}"] = jnp.where(found > 0.0, term.rmse, jnp.nan)
        return value, metrics | {"rmse": jnp.sqrt(value)}

    def _term(self, letter: str, inputs: Inputs, found: jax.Array) -> Term:
        name = TERMS[letter][0]
        ours = predicted(inputs.prediction, name, f"start_pref_{letter}")
        theirs = inputs.label.get(name, jnp.zeros_like(ours))
        present = jnp.where(found > 0.0, 1.0, 0.0)  # a label that is not there is padding from end to end
        if letter == "f":
            weight = jnp.ones(()) if inputs.atom_weight is None else inputs.atom_weight
            return force_term(ours, theirs, jnp.broadcast_to(weight * present, ours.shape[:-1]))
        weight = jnp.ones(()) if inputs.frame_weight is None else inputs.frame_weight
        weight = jnp.broadcast_to(weight * present, ours.shape[:1])
        counts = jnp.broadcast_to(jnp.asarray(inputs.natoms), ours.shape[:1])
        return (energy_term if letter == "e" else virial_term)(ours, theirs, counts, weight, self.intensive)


def energy_loss(cfg: EnerLossConfig, start_lr: float, **from_model: Any) -> EnerLoss:
    """The loss of a configuration; it needs no facts about the model.

    Raises:
        ConfigError: no term is active, or one that is not built yet is asked for.
    """
    _refuse_later_options(cfg)
    pairs = {x: Prefactor(getattr(cfg, f"start_pref_{x}"), getattr(cfg, f"limit_pref_{x}")) for x in TERMS}
    active = {letter: prefactor for letter, prefactor in pairs.items() if prefactor.active}
    if not active:
        raise ConfigError(
            "loss: no term is active. Give at least one term a start_pref and a limit_pref that are both non-zero."
        )
    return EnerLoss(active, start_lr, cfg.intensive_ener_virial)


def _refuse_later_options(cfg: EnerLossConfig) -> None:
    neutral = {f.name: f.default for f in fields(EnerLossConfig)}
    asked = [key for key in LATER if getattr(cfg, key) != neutral[key]]
    if cfg.loss_func != "mse":
        asked.append("loss_func")
    if asked:
        raise ConfigError(
            f"loss/{asked[0]}: found {getattr(cfg, asked[0])!r}, which is not built yet. This version has squared errors of "
            "energy, force and virial; remove the key."
        )
