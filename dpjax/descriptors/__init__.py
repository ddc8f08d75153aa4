"""Descriptors: what an atom sees of its neighbours.  One file per family and one line per family in the table below."""

from __future__ import annotations

import flax.linen as nn

from dpjax.config import ModelConfig
from dpjax.descriptors.neighborhood import ordered_pairs
from dpjax.descriptors.se_e2_a import SeE2A
from dpjax.errors import ConfigError

__all__ = ["DESCRIPTORS", "SeE2A", "build_descriptor", "ordered_pairs"]

DESCRIPTORS: dict[str, type[nn.Module]] = {"SeE2AConfig": SeE2A}


def build_descriptor(config: ModelConfig) -> nn.Module:
    """The descriptor module of a model section.

    Raises:
        ConfigError: ``sel`` is still ``auto`` (it is resolved from data before a model is built).
    """
    section = config.descriptor
    if isinstance(section.sel, str):
        raise ConfigError(
            f"model/descriptor/sel: found {section.sel!r}, which only training can resolve because it counts neighbours in the "
            "training data. Give one number for each type; `dpjax neighbor-stat` suggests them."
        )
    return DESCRIPTORS[type(section).__name__](section, len(config.type_map), ordered_pairs(config.pair_exclude_types))
