"""Losses, chosen by the ``loss`` section.

A loss is a callable ``loss(prediction, label, *, natoms, learning_rate, find, atom_weight=None, frame_weight=None)`` that returns
the value to minimise and the metrics of ``lcurve.out`` (without their ``_trn`` and ``_val``; names that start with ``l2_`` are
internal and not printed).  It also says which labels and predictions it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from dpjax.config import EnerLossConfig, parse_loss
from dpjax.errors import ConfigError
from dpjax.losses.ener import EnerLoss, energy_loss
from dpjax.losses.terms import energy_term, force_term, virial_term

BUILDERS: dict[type, Callable[..., EnerLoss]] = {EnerLossConfig: energy_loss}


def from_config(section: dict | EnerLossConfig, start_lr: float = 1e-3) -> EnerLoss:
    """The loss of a ``loss`` section.

    Args:
        section: the section as read from an input file, or its dataclass.
        start_lr: rate of the schedule after its warm-up, at which the prefactors have their start values.

    Raises:
        ConfigError: the section is malformed, no term is active, or a term is not built yet.
    """
    cfg = parse_loss(section) if isinstance(section, dict) else section
    if type(cfg) not in BUILDERS:
        raise ConfigError(f"loss/type: {type(cfg).__name__} is not built yet; this version has: ener.")
    return BUILDERS[type(cfg)](cfg, start_lr)


def required_labels(section: dict | EnerLossConfig) -> set[str]:
    """Names of the labels whose term is active; data without one of them must be refused or have its ``find`` at 0."""
    return set(from_config(section).labels)


__all__ = ["EnerLoss", "energy_term", "force_term", "from_config", "required_labels", "virial_term"]
