"""Descriptors: what an atom sees of its neighbours.  One file per family and one line per family in the table below."""

from __future__ import annotations

import flax.linen as nn

from dpjax.config import ModelConfig
from dpjax.descriptors.facts import RADIAL, capacity, cutoff, has_type_networks, is_by_type, is_mixed, kept, members
from dpjax.descriptors.neighborhood import Features, Neighborhood, ordered_pairs
from dpjax.descriptors.se_e2_a import SeE2A

__all__ = [
    "DESCRIPTORS",
    "RADIAL",
    "Features",
    "Neighborhood",
    "SeE2A",
    "build_descriptor",
    "capacity",
    "cutoff",
    "has_type_networks",
    "is_by_type",
    "is_mixed",
    "kept",
    "members",
    "ordered_pairs",
]

DESCRIPTORS: dict[str, type[nn.Module]] = {"SeE2AConfig": SeE2A}


def build_descriptor(config: ModelConfig) -> nn.Module:
    """The descriptor module of a model section.

    Raises:
        ConfigError: ``sel`` is still ``auto`` (it is resolved from data before a model is built).
    """
    section = config.descriptor
    for member in members(section):
        kept(member)
    return DESCRIPTORS[type(section).__name__](section, len(config.type_map), ordered_pairs(config.pair_exclude_types))
