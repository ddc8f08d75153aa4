"""Loss of dipole and polarizability models: squared errors of the tensors of atoms and of frames, with constant prefactors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.losses import TensorLossConfig
from dpjax.errors import ConfigError
from dpjax.losses.base import Loss
from dpjax.losses.comparisons import Comparison, metric_names, sum_of_terms
from dpjax.losses.inputs import Inputs, fact
from dpjax.losses.prefactor import Prefactor


@dataclass(frozen=True, eq=False)
class TensorLoss(Loss):
    """Loss of tensors; see :meth:`evaluate`.

    Its names are those of the model: all properties raise a ModelError unless ``facts`` has tensor_name and label_name.
    """

    pref: float
    pref_atomic: float
    enable_atomic_weight: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the active terms compare."""
        return tuple(x.label for x in self._comparisons(self.facts))

    @property
    def optional_labels(self) -> dict[str, float]:
        """Labels that are taken where data have them, and what stands for them elsewhere."""
        return {"atom_weight": 1.0} if self.enable_atomic_weight else {}

    @property
    def predictions(self) -> tuple[str, ...]:
        """Predictions that the active terms compare."""
        return tuple(x.prediction for x in self._comparisons(self.facts))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the printed metrics, sorted."""
        return metric_names(self._comparisons(self.facts))

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        Args:
            prediction: of dipoles dipole (n_frame, n_atom, 3) or flat (n_atom, 3) and global_dipole (n_frame, 3), e angstrom;
                of polarizabilities polar and global_polar with 9 or 3, 3 in the place of 3. Also mask and counted.
            label: dipole and atom_dipole, or polarizability and atom_polarizability, with 3 or 9 components; atom_weight, one
                number for each atom, 1 where it is absent (its flag plays no part): the error is multiplied by it.
            learning_rate: has no influence.
            from_model: tensor_name, label_name and tensor_size, before those the loss was made with.

        Raises:
            ModelError: a fact is missing, or the model does not predict what an active term compares.
        """
        facts = {**self.facts, **from_model}
        size = fact(facts, "tensor_size", "tensor")
        return sum_of_terms(self._comparisons(facts), inputs, jnp.ones(()), size)

    def _comparisons(self, facts: Mapping[str, Any]) -> list[Comparison]:
        tensor, label = (fact(facts, name, "tensor") for name in ("tensor_name", "label_name"))
        local, total = (Prefactor(pref, pref) for pref in (self.pref_atomic, self.pref))
        by = "atom_weight" if self.enable_atomic_weight else None
        terms = [
            Comparison("pref_atomic", f"local_{tensor}", tensor, f"atom_{label}", local, atomic=True, weighted_by=by),
            Comparison("pref", f"global_{tensor}", f"global_{tensor}", label, total, atomic=False),
        ]
        return [x for x in terms if x.prefactor.active]


def tensor_loss(cfg: TensorLossConfig, start_lr: float, **from_model: Any) -> TensorLoss:
    """The loss of a configuration and of the facts tensor_name, label_name and tensor_size, now or at the call.

    Raises:
        ConfigError: no term is active.
    """
    if not cfg.pref and not cfg.pref_atomic:
        raise ConfigError("loss: no term is active. Give pref or pref_atomic a value above 0.")
    return TensorLoss(cfg.pref, cfg.pref_atomic, cfg.enable_atomic_weight, from_model)
