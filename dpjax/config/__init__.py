"""The input language: DeePMD-kit's JSON or YAML as frozen dataclasses, with errors that name the key.

One file per section or component; each holds a dataclass, its options and its checks.  Adding a component adds such a
file and a line in the registry table of its kind (``DESCRIPTORS`` in ``descriptors/``, ``FITTINGS``, ``MODELS``, ``LOSSES``,
``OPTIMIZERS`` likewise, ``LEARNING_RATES``).
"""

from __future__ import annotations

from dpjax.config.data import DataConfig
from dpjax.config.descriptors import HybridConfig, SeE2AConfig
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.config.fittings import EnerFittingConfig
from dpjax.config.learning_rate import CosineConfig, ExpConfig, LearningRateConfig, WsdConfig
from dpjax.config.loading import (
    Config,
    Tasks,
    arguments,
    json_schema,
    load,
    load_any,
    load_tasks,
    model_of,
    normalize,
    not_built,
    options_table,
    parse_learning_rate,
    parse_loss,
    parse_model,
    parse_optimizer,
)
from dpjax.config.losses import EnerLossConfig
from dpjax.config.models import ModelConfig, with_direct_forces
from dpjax.config.optimizers import AdamConfig
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
    "HybridConfig",
    "LearningRateConfig",
    "ModelConfig",
    "SeE2AConfig",
    "Tasks",
    "TrainingConfig",
    "WsdConfig",
    "arguments",
    "json_schema",
    "load",
    "load_any",
    "load_tasks",
    "model_of",
    "normalize",
    "not_built",
    "options_table",
    "parse_learning_rate",
    "parse_loss",
    "parse_model",
    "parse_optimizer",
    "with_direct_forces",
]
