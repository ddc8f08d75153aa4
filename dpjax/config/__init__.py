"""The input language: DeePMD-kit's JSON or YAML as frozen dataclasses, with errors that name the key.

One file per section or component; each holds a dataclass, its options and its checks.  Adding a component adds such a
file and a line in a registry table (``DESCRIPTORS`` and ``FITTINGS`` in ``model.py``, ``LEARNING_RATES``,
``OPTIMIZERS``, ``LOSSES``).
"""

from __future__ import annotations

from dpjax.config.data import DataConfig
from dpjax.config.descriptor_se_e2_a import SeE2AConfig
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.config.fitting_ener import EnerFittingConfig
from dpjax.config.learning_rate import CosineConfig, ExpConfig, LearningRateConfig, WsdConfig
from dpjax.config.loading import (
    Config,
    arguments,
    document,
    load,
    normalize,
    parse_learning_rate,
    parse_loss,
    parse_model,
    parse_optimizer,
)
from dpjax.config.loss import EnerLossConfig
from dpjax.config.model import ModelConfig
from dpjax.config.optimizer import AdamConfig
from dpjax.config.training import TrainingConfig

__all__ = [
    "AdamConfig",
    "Config",
    "CosineConfig",
    "DataConfig",
    "DpjaxConfig",
    "EnerFittingConfig",
    "EnerLossConfig",
    "ExpConfig",
    "LearningRateConfig",
    "ModelConfig",
    "SeE2AConfig",
    "TrainingConfig",
    "WsdConfig",
    "arguments",
    "document",
    "load",
    "normalize",
    "parse_learning_rate",
    "parse_loss",
    "parse_model",
    "parse_optimizer",
]
