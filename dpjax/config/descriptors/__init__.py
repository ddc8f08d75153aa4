"""The table of descriptors."""

from __future__ import annotations

from dpjax.config.descriptors.dpa2 import DPA2, DPA2Config
from dpjax.config.descriptors.dpa3 import DPA3, DPA3Config
from dpjax.config.descriptors.dpa4 import DPA4, Dpa4Config
from dpjax.config.descriptors.dpa4c import DPA4C, Dpa4cConfig
from dpjax.config.descriptors.hybrid import HybridConfig, hybrid
from dpjax.config.descriptors.loc_frame import LOC_FRAME, LocFrameConfig
from dpjax.config.descriptors.se_a_mask import SE_A_MASK, SeAMaskConfig
from dpjax.config.descriptors.se_a_tpe import SE_A_EBD_V2, SE_A_TPE, SeAEbdV2Config, SeATpeConfig
from dpjax.config.descriptors.se_atten import SE_ATTEN, SE_ATTEN_V2, SeAttenConfig, SeAttenV2Config
from dpjax.config.descriptors.se_e2_a import SE_E2_A, SeE2AConfig
from dpjax.config.descriptors.se_e2_r import SE_E2_R, SeE2RConfig
from dpjax.config.descriptors.se_e3 import SE_E3, SeE3Config
from dpjax.config.descriptors.se_e3_tebd import SE_E3_TEBD, SeE3TebdConfig
from dpjax.config.schema import Registry

# those that can stand alone or be a part of a hybrid
_SINGLE = (
    LOC_FRAME,
    SE_E2_A,
    DPA4,
    SE_E3,
    SE_A_TPE,
    SE_E2_R,
    SE_ATTEN,
    SE_E3_TEBD,
    SE_ATTEN_V2,
    DPA2,
    DPA3,
    SE_A_EBD_V2,
    SE_A_MASK,
    DPA4C,
)

DESCRIPTORS = Registry(
    "descriptor",
    (*_SINGLE, hybrid(_SINGLE)),
    doc="Which descriptor turns an atom's neighbourhood into numbers.",
)

__all__ = [
    "DESCRIPTORS",
    "DPA2Config",
    "DPA3Config",
    "Dpa4Config",
    "Dpa4cConfig",
    "HybridConfig",
    "LocFrameConfig",
    "SeAEbdV2Config",
    "SeAMaskConfig",
    "SeATpeConfig",
    "SeAttenConfig",
    "SeAttenV2Config",
    "SeE2AConfig",
    "SeE2RConfig",
    "SeE3Config",
    "SeE3TebdConfig",
]
