"""The table of losses, and the ``loss`` argument."""

from __future__ import annotations

from dpjax.config.losses.ener import ENER, EnerLossConfig
from dpjax.config.schema import Option, Registry

LOSSES = Registry("loss", (ENER,), default="ener", doc="Which errors are minimised.")


def argument() -> Option:
    """The ``loss`` argument."""
    return Option("loss", dict, "What training minimises.", sub_variants=[LOSSES.variant()])


__all__ = ["LOSSES", "EnerLossConfig", "argument"]
