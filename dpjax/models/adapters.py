"""Models with adapters (:mod:`dpjax.descriptors.dpa4.lora`): put beside the weights of another model, or taken into them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dpjax.config import ModelConfig
from dpjax.config.models.dpa4 import LoraConfig
from dpjax.descriptors.dpa4.lora import merged, with_adapters

Tree = dict[str, Any]


def without_adapters(config: ModelConfig, variables: Tree) -> tuple[ModelConfig, Tree]:
    """The same model with its corrections in the weights, as it is written, exported and trained on from.

    A model that has none stays as it is.

    Args:
        config: of the model.
        variables: of it, arrays of numpy or of JAX.
    """
    if config.lora is None:
        return config, variables
    return plain(config), variables | {"params": merged_params(variables["params"], config.lora)}


def plain(config: ModelConfig) -> ModelConfig:
    """The configuration of the model without adapters."""
    return config if config.lora is None else replace(config, lora=None, raw=config.raw | {"lora": None})


def merged_params(params: Tree, lora: LoraConfig) -> Tree:
    """Parameters of a model without adapters, or of an ensemble of such."""
    return params | {"descriptor": merged(params["descriptor"], lora.scaling)}


def params_with_adapters(params: Tree, fresh: Tree) -> Tree:
    """Parameters of a model without adapters, with those of a fresh one that has some."""
    return params | {"descriptor": with_adapters(params["descriptor"], fresh["descriptor"])}
