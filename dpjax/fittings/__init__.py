"""Fittings: from descriptors to atomic quantities.  One file per kind and one line per kind in the table below."""

from __future__ import annotations

import flax.linen as nn

from dpjax.config import ModelConfig
from dpjax.fittings.ener import EnerFitting

__all__ = ["FITTINGS", "EnerFitting", "build_fitting"]

FITTINGS: dict[str, type[nn.Module]] = {"EnerFittingConfig": EnerFitting}


def build_fitting(config: ModelConfig, dim_descriptor: int) -> nn.Module:
    """The fitting module of a model section for descriptors of the given dimension."""
    section = config.fitting_net
    return FITTINGS[type(section).__name__](section, len(config.type_map), dim_descriptor)
