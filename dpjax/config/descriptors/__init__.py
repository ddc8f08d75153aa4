"""The table of descriptors."""

from __future__ import annotations

from dpjax.config.descriptors.se_e2_a import SE_E2_A, SeE2AConfig
from dpjax.config.schema import Registry

DESCRIPTORS = Registry(
    "descriptor",
    (SE_E2_A,),
    doc="Which descriptor turns an atom's neighbourhood into numbers.",
)

__all__ = ["DESCRIPTORS", "SeE2AConfig"]
