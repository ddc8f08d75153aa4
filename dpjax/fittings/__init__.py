"""Fittings: from descriptors to atomic quantities.  One file per kind and one line per kind in the table below."""

from __future__ import annotations

import flax.linen as nn

from dpjax.config import ModelConfig
from dpjax.descriptors import is_mixed
from dpjax.fittings.ener import EnerFitting
from dpjax.fittings.types import of_type

__all__ = ["FITTINGS", "EnerFitting", "build_fitting", "of_type"]

FITTINGS: dict[str, type[nn.Module]] = {"EnerFittingConfig": EnerFitting}


def build_fitting(config: ModelConfig, descriptor: nn.Module) -> nn.Module:
    """The fitting module of a model section, for the outputs of a descriptor module."""
    section, n_type = config.fitting_net, len(config.type_map)
    return FITTINGS[type(section).__name__](section, n_type, descriptor.dim_out, is_mixed(config.descriptor))
