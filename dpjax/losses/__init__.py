"""Losses, chosen by the ``loss`` section.

A loss is a callable that compares predictions with labels (:class:`Loss`) and returns the value to minimise and the metrics of
``lcurve.out`` (without their ``_trn`` and ``_val``; names that start with ``l2_`` are internal and not printed).  It also says
which labels and predictions it needs.  What it has to know about the model, the facts, is handed in by name: var_name (of
prediction and label), intensive and out_std for ``property``; tensor_name (of the prediction), label_name and tensor_size for
``tensor``; energy_std and force_rmsd for ``dens``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpjax.config import parse_loss
from dpjax.config.losses import (
    DensLossConfig,
    DosLossConfig,
    EnerLossConfig,
    EnerSpinLossConfig,
    LossConfig,
    PropertyLossConfig,
    TensorLossConfig,
    check,
)
from dpjax.errors import ConfigError
from dpjax.losses.base import Loss
from dpjax.losses.dens import DensLoss, dens_loss
from dpjax.losses.dos import DosLoss, dos_loss
from dpjax.losses.ener import EnerLoss, energy_loss
from dpjax.losses.ener_spin import EnerSpinLoss, energy_spin_loss
from dpjax.losses.facts import model_facts
from dpjax.losses.property import PropertyLoss, property_loss
from dpjax.losses.tensor import TensorLoss, tensor_loss

BUILDERS: dict[type, Callable[..., Loss]] = {
    EnerLossConfig: energy_loss,
    EnerSpinLossConfig: energy_spin_loss,
    DensLossConfig: dens_loss,
    DosLossConfig: dos_loss,
    PropertyLossConfig: property_loss,
    TensorLossConfig: tensor_loss,
}


def from_config(section: dict | LossConfig, start_lr: float = 1e-3, **from_model: Any) -> Loss:
    """The loss of a ``loss`` section.

    Args:
        section: the section as read from an input file, or its dataclass.
        start_lr: rate of the schedule after its warm-up, at which the prefactors have their start values.
        from_model: facts about the model, by name; those the loss has no use for are ignored, those that are missing can be
            given at the call.

    Raises:
        ConfigError: the section is malformed, its options contradict each other, no term is active, or the loss is not built
            yet.
    """
    cfg = parse_loss(section) if isinstance(section, dict) else section
    if type(cfg) not in BUILDERS:
        built = ", ".join(sorted(known.type for known in BUILDERS))
        raise ConfigError(f"loss/type: {type(cfg).__name__} is not built yet; this version has: {built}.")
    check(cfg)
    return BUILDERS[type(cfg)](cfg, start_lr, **from_model)


def required_labels(section: dict | LossConfig, **from_model: Any) -> set[str]:
    """Names of the labels whose term is active; data without one of them must be refused or have its ``find`` at 0.

    Raises:
        ConfigError: as :func:`from_config`.
        ModelError: the names depend on a fact about the model that is not given.
    """
    return set(from_config(section, **from_model).labels)


__all__ = [
    "DensLoss",
    "DosLoss",
    "EnerLoss",
    "EnerSpinLoss",
    "Loss",
    "PropertyLoss",
    "TensorLoss",
    "from_config",
    "model_facts",
    "required_labels",
]
