"""Fittings: from descriptors to atomic quantities.  One file per kind and one line per kind in the table below."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn

from dpjax.config import ModelConfig
from dpjax.descriptors import has_one_fitting_net
from dpjax.fittings.direct_forces import DirectForces, DirectValues, build_direct_forces
from dpjax.fittings.dos import DosFitting
from dpjax.fittings.dpa4_ener import Dpa4EnerFitting
from dpjax.fittings.ener import EnerFitting
from dpjax.fittings.network import FittingNet
from dpjax.fittings.nvnmd import NvnmdFitting
from dpjax.fittings.property import PropertyFitting
from dpjax.fittings.tensor import DipoleFitting, PolarFitting
from dpjax.fittings.types import of_type
from dpjax.fittings.widths import with_widths

__all__ = [
    "FITTINGS",
    "DipoleFitting",
    "DirectForces",
    "DirectValues",
    "DosFitting",
    "Dpa4EnerFitting",
    "EnerFitting",
    "NvnmdFitting",
    "PolarFitting",
    "PropertyFitting",
    "build_direct_forces",
    "build_fitting",
    "of_type",
]

FITTINGS: dict[str, type[FittingNet]] = {
    "EnerFittingConfig": EnerFitting,
    "Dpa4EnerFittingConfig": Dpa4EnerFitting,
    "DosFittingConfig": DosFitting,
    "PropertyFittingConfig": PropertyFitting,
    "DipoleFittingConfig": DipoleFitting,
    "PolarFittingConfig": PolarFitting,
}


def build_fitting(
    config: ModelConfig,
    descriptor: nn.Module,
    vectors: nn.Module | None = None,
    lent: Mapping[str, Mapping[str, nn.Module]] | None = None,
) -> FittingNet:
    """The fitting module of a model section, for the outputs of a descriptor module and the model's table of type vectors.

    ``lent`` are layers of other fittings that this one uses, by network and number.
    """
    section, n_type = with_widths(config.fitting_net, descriptor.dim_out), len(config.type_map)
    kind, options = FITTINGS[type(section).__name__], {}
    if config.nvnmd is not None:
        dim_type = getattr(descriptor, "dim_appended", 0)
        kind, options = NvnmdFitting, {"quantized": config.nvnmd.quantize_fitting_net, "dim_type": dim_type}
    options |= {"lent": lent} if lent else {}
    one_net = has_one_fitting_net(config)
    return kind(section, n_type, descriptor.dim_out, one_net, descriptor.dim_frame, vectors, **options)
