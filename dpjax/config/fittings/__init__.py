"""The table of fitting nets."""

from __future__ import annotations

from dpjax.config.fittings.ener import ENER, EnerFittingConfig
from dpjax.config.schema import Registry

FITTINGS = Registry("fitting net", (ENER,), default="ener", doc="What the fitting net predicts.")

__all__ = ["FITTINGS", "EnerFittingConfig"]
