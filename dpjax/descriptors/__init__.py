"""Descriptors: what an atom sees of its neighbours.  One file per family and one line per family in the table below."""

from __future__ import annotations

import flax.linen as nn

from dpjax.config import HybridConfig, ModelConfig
from dpjax.descriptors.dpa2 import DPA2
from dpjax.descriptors.dpa3 import DPA3
from dpjax.descriptors.dpa4 import DPA4
from dpjax.descriptors.facts import (
    Selection,
    capacity,
    cutoff,
    has_one_fitting_net,
    has_type_networks,
    is_by_type,
    is_mixed,
    is_one_of,
    kept,
    listed_neighbors,
    members,
    passes_messages,
    sees_parameters,
    selections,
    unresolved,
    with_selections,
)
from dpjax.descriptors.hybrid import Hybrid
from dpjax.descriptors.loc_frame import LocFrame
from dpjax.descriptors.model_vectors import SeAEbdV2, SeE2AVectors, TakesModelVectors
from dpjax.descriptors.neighborhood import Features, Neighborhood, ordered_pairs
from dpjax.descriptors.nvnmd import ContinuousSeAtten, ContinuousSeE2A, QuantizedSeAtten, QuantizedSeE2A
from dpjax.descriptors.se_a_mask import SeAMask
from dpjax.descriptors.se_a_tpe import SeATpe
from dpjax.descriptors.se_atten import SeAtten
from dpjax.descriptors.se_e2_a import SeE2A
from dpjax.descriptors.se_e2_r import SeE2R
from dpjax.descriptors.se_e3 import SeE3
from dpjax.descriptors.se_e3_tebd import SeE3Tebd
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.nn.bridging import Bridge

__all__ = [
    "DESCRIPTORS",
    "DPA2",
    "DPA3",
    "DPA4",
    "Features",
    "Hybrid",
    "LocFrame",
    "Neighborhood",
    "SeAEbdV2",
    "SeAMask",
    "SeATpe",
    "SeAtten",
    "SeE2A",
    "SeE2AVectors",
    "SeE2R",
    "SeE3",
    "SeE3Tebd",
    "Selection",
    "bridge_of",
    "build_descriptor",
    "capacity",
    "cutoff",
    "has_one_fitting_net",
    "has_type_networks",
    "is_by_type",
    "is_mixed",
    "is_one_of",
    "kept",
    "listed_neighbors",
    "members",
    "ordered_pairs",
    "passes_messages",
    "sees_parameters",
    "selections",
    "unresolved",
    "with_selections",
]

DESCRIPTORS: dict[str, type[nn.Module]] = {
    "SeE2AConfig": SeE2A,
    "SeE2RConfig": SeE2R,
    "SeE3Config": SeE3,
    "SeE3TebdConfig": SeE3Tebd,
    "DPA2Config": DPA2,
    "DPA3Config": DPA3,
    "Dpa4Config": DPA4,
    "SeAttenConfig": SeAtten,
    "SeAttenV2Config": SeAtten,
    "SeAEbdV2Config": SeAEbdV2,
    "SeATpeConfig": SeATpe,
    "LocFrameConfig": LocFrame,
    "SeAMaskConfig": SeAMask,
}
WITH_VECTORS = DESCRIPTORS | {"SeE2AConfig": SeE2AVectors}  # in models with type vectors of their own
CONTINUOUS_NVNMD = {"SeE2AConfig": ContinuousSeE2A, "SeAttenConfig": ContinuousSeAtten}
QUANTIZED_NVNMD = {"SeE2AConfig": QuantizedSeE2A, "SeAttenConfig": QuantizedSeAtten}


def _table(config: ModelConfig) -> dict[str, type[nn.Module]]:
    """The descriptors among which a model has one."""
    if config.nvnmd is None:
        return DESCRIPTORS if config.type_embedding is None else WITH_VECTORS
    return QUANTIZED_NVNMD if config.nvnmd.quantize_descriptor else CONTINUOUS_NVNMD


def bridge_of(config: ModelConfig) -> Bridge | None:
    """Where the network of a model gives way to an analytical repulsion; None: nowhere."""
    return Bridge(*config.bridge) if config.bridge else None


def build_descriptor(config: ModelConfig, vectors: nn.Module | None = None) -> nn.Module:
    """The descriptor module of a model section.

    Args:
        config: of the model.
        vectors: its table of type vectors, where it has one and the descriptor is to be called.

    Raises:
        ConfigError: ``sel`` is still ``auto`` (it is resolved from data before a model is built).
    """
    section, excluded = config.descriptor, ordered_pairs(config.pair_exclude_types)
    for member in members(section):
        kept(member)

    def make(member, **options) -> nn.Module:
        options["tabulated"] = config.compress is not None
        kind = _table(config)[type(member).__name__]
        if issubclass(kind, (TypeVectors, TakesModelVectors)):
            options["vectors"] = vectors
        if not has_type_networks(member):  # type vectors may come from the elements
            options["type_map"] = config.type_map
        if kind is SeAEbdV2:
            options["padding"] = config.conventions == "reference"
        if kind is DPA4:
            options |= {"bridge": bridge_of(config), "exact": config.conventions == "corrected", "lora": config.lora}
        return kind(member, len(config.type_map), excluded, **options)

    if isinstance(section, HybridConfig):
        return Hybrid(section, tuple(make(member, parent=None) for member in section.list))
    return make(section)
