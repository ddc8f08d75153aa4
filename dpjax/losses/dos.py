"""Loss of models of the density of states: squared errors of the curve and of its running sum, of frames and of atoms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.losses import DosLossConfig
from dpjax.losses.comparisons import Comparison
from dpjax.losses.inputs import Inputs
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.sums import SumLoss, sum_of_terms

# ending of the prefactors -> (metric, name of prediction and label, of atoms, running sum)
TERMS = {
    "ados": ("local_dos", "atom_dos", True, False),
    "acdf": ("local_cdf", "atom_dos", True, True),
    "dos": ("global_dos", "dos", False, False),
    "cdf": ("global_cdf", "dos", False, True),
}


@dataclass(frozen=True, eq=False)
class DosLoss(SumLoss):
    """Loss of densities of states; see :meth:`evaluate`."""

    terms: tuple[Comparison, ...]  # active terms only
    start_lr: float

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        Args:
            prediction, label: dos (n_frame, numb_dos), atom_dos (n_frame, n_atom, numb_dos) or flat (n_atom, numb_dos). Of the
                prediction also mask and counted.
            from_model: not needed; the arrays say how many energies there are.

        Raises:
            ModelError: the model does not predict what an active term compares, or on another grid of energies.
        """
        return sum_of_terms(self.terms, inputs, jnp.asarray(learning_rate, float) / self.start_lr)


def dos_loss(cfg: DosLossConfig, start_lr: float, **from_model: Any) -> DosLoss:
    """The loss of a configuration; it needs no facts about the model."""
    pairs = {x: Prefactor(getattr(cfg, f"start_pref_{x}"), getattr(cfg, f"limit_pref_{x}")) for x in TERMS}
    return DosLoss(tuple(_comparison(x, prefactor) for x, prefactor in pairs.items() if prefactor.active), start_lr)


def _comparison(ending: str, prefactor: Prefactor) -> Comparison:
    metric, name, atomic, cumulative = TERMS[ending]
    return Comparison(f"start_pref_{ending}", metric, name, name, prefactor, atomic, cumulative)
