"""Loss of dipole and polarizability models: squared errors of the tensors of atoms and of frames, with constant prefactors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.losses import TensorLossConfig
from dpjax.losses.comparisons import Comparison
from dpjax.losses.inputs import Inputs, fact
from dpjax.losses.prefactor import Prefactor
from dpjax.losses.sums import SumLoss, sum_of_terms


@dataclass(frozen=True, eq=False)
class TensorLoss(SumLoss):
    """Loss of tensors; see :meth:`evaluate`.

    Its names are those of the model: all properties raise a ModelError unless ``facts`` has tensor_name and label_name.
    """

    pref: float
    pref_atomic: float
    enable_atomic_weight: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def terms(self) -> tuple[Comparison, ...]:
        """The active terms."""
        return self._terms(self.facts)

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
        return sum_of_terms(self._terms(facts, fact(facts, "tensor_size", "tensor")), inputs, jnp.ones(()))

    def _terms(self, facts: Mapping[str, Any], size: int | None = None) -> tuple[Comparison, ...]:
        tensor, label = (fact(facts, name, "tensor") for name in ("tensor_name", "label_name"))
        local, total = (Prefactor(pref, pref) for pref in (self.pref_atomic, self.pref))
        atoms = Comparison("pref_atomic", f"local_{tensor}", tensor, f"atom_{label}", local, atomic=True, size=size)
        if self.enable_atomic_weight:
            atoms = replace(atoms, weighted_by="atom_weight")
        frames = Comparison("pref", f"global_{tensor}", f"global_{tensor}", label, total, atomic=False, size=size)
        return tuple(term for term in (atoms, frames) if term.prefactor.active)


def tensor_loss(cfg: TensorLossConfig, start_lr: float, **from_model: Any) -> TensorLoss:
    """The loss of a configuration and of the facts tensor_name, label_name and tensor_size, now or at the call."""
    return TensorLoss(cfg.pref, cfg.pref_atomic, cfg.enable_atomic_weight, from_model)
