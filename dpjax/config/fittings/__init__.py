"""The table of fitting nets."""

from __future__ import annotations

from dpjax.config.fittings.dos import DOS, DosFittingConfig
from dpjax.config.fittings.dpa4_ener import DPA4_ENER, Dpa4EnerFittingConfig
from dpjax.config.fittings.ener import ENER, EnerFittingConfig
from dpjax.config.fittings.outputs import AtomicOutput
from dpjax.config.fittings.population import POPULATION, PopulationFittingConfig
from dpjax.config.fittings.property import PROPERTY, PropertyFittingConfig
from dpjax.config.fittings.tensor import DIPOLE, POLAR, DipoleFittingConfig, PolarFittingConfig
from dpjax.config.schema import Registry

FITTINGS = Registry(
    "fitting net",
    (ENER, DPA4_ENER, DOS, PROPERTY, POLAR, DIPOLE, POPULATION),
    default="ener",
    doc="What the fitting net predicts.",
)

__all__ = [
    "FITTINGS",
    "AtomicOutput",
    "DipoleFittingConfig",
    "DosFittingConfig",
    "Dpa4EnerFittingConfig",
    "EnerFittingConfig",
    "PolarFittingConfig",
    "PopulationFittingConfig",
    "PropertyFittingConfig",
]
