"""The table of losses, and the ``loss`` argument."""

from __future__ import annotations

from dpjax.config.losses.dens import DENS, DensLossConfig
from dpjax.config.losses.dos import DOS, DosLossConfig
from dpjax.config.losses.ener import ENER, EnerLossConfig
from dpjax.config.losses.ener_spin import ENER_SPIN, EnerSpinLossConfig
from dpjax.config.losses.population import POPULATION, PopulationLossConfig
from dpjax.config.losses.property import PROPERTY, PropertyLossConfig
from dpjax.config.losses.tensor import TENSOR, TensorLossConfig
from dpjax.config.problems import Report
from dpjax.config.schema import Context, Option, Registry

LossConfig = (
    EnerLossConfig
    | DensLossConfig
    | EnerSpinLossConfig
    | DosLossConfig
    | PropertyLossConfig
    | TensorLossConfig
    | PopulationLossConfig
)

LOSSES = Registry(
    "loss",
    (ENER, DENS, ENER_SPIN, DOS, PROPERTY, TENSOR, POPULATION),
    default="ener",
    doc="Which errors are minimised.",
)


def argument() -> Option:
    """The ``loss`` argument."""
    return Option("loss", dict, "What training minimises.", sub_variants=[LOSSES.variant()])


def check(cfg: LossConfig) -> None:
    """Checks values that did not come from an input.

    Raises:
        ConfigError: some of them are wrong or contradict each other.
    """
    report = Report()
    report.extend(LOSSES[LOSSES.name_of(cfg)].check(cfg, "loss", Context(report=report)))
    report.raise_any()


__all__ = [
    "LOSSES",
    "DensLossConfig",
    "DosLossConfig",
    "EnerLossConfig",
    "EnerSpinLossConfig",
    "LossConfig",
    "PopulationLossConfig",
    "PropertyLossConfig",
    "TensorLossConfig",
    "argument",
    "check",
]
