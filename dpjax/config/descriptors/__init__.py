"""The table of descriptors."""

from __future__ import annotations

from dpjax.config.descriptors.hybrid import HybridConfig, hybrid
from dpjax.config.descriptors.se_e2_a import SE_E2_A, SeE2AConfig
from dpjax.config.schema import Registry

# those that can stand alone or be a part of a hybrid
_SINGLE = (SE_E2_A,)

DESCRIPTORS = Registry(
    "descriptor",
    (*_SINGLE, hybrid(_SINGLE)),
    doc="Which descriptor turns an atom's neighbourhood into numbers.",
)

__all__ = ["DESCRIPTORS", "HybridConfig", "SeE2AConfig"]
