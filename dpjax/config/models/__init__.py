"""The table of model types, and the ``model`` argument."""

from __future__ import annotations

from typing import Any

from dpjax.config.models import type_embedding
from dpjax.config.models.common import CommonModelConfig, common_options, parse_model
from dpjax.config.models.dpa4 import (
    DPA4_MODEL,
    Dpa4ModelConfig,
    check_direct_forces,
    fill_types,
    rename_newer,
    with_direct_forces,
)
from dpjax.config.models.frozen import FROZEN, FrozenModelConfig
from dpjax.config.models.linear_ener import LinearEnergyConfig, linear_ener
from dpjax.config.models.modifier import DipoleChargeConfig
from dpjax.config.models.pairtab import PAIRTAB, PairTableConfig
from dpjax.config.models.pairwise_dprc import PARTS as DPRC_PARTS
from dpjax.config.models.pairwise_dprc import PairwiseDPRcConfig, pairwise_dprc
from dpjax.config.models.pairwise_dprc import completed as completed_dprc
from dpjax.config.models.parts import MadeOfParts
from dpjax.config.models.spin import SpinConfig
from dpjax.config.models.standard import STANDARD, ModelConfig
from dpjax.config.models.type_embedding import TypeEmbeddingConfig
from dpjax.config.models.virtual_atoms import lacks, misplaced, with_virtual_atoms
from dpjax.config.schema import REQUIRED, Context, Option, Registry

# models that are not made of other models, and can be part of one that is
_SIMPLE = (STANDARD, DPA4_MODEL, FROZEN, PAIRTAB)

MODELS = Registry(
    "model",
    (*_SIMPLE, pairwise_dprc(_SIMPLE), linear_ener(_SIMPLE)),
    default="standard",
    doc="How the model is put together.",
)


def argument() -> Option:
    """The ``model`` argument of a training of one model."""
    return Option(
        "model", dict, "The model to train.", REQUIRED, sub_fields=common_options(), sub_variants=[MODELS.variant()]
    )


def complete(section: Any) -> None:
    """Gives, in place, a model section as the user wrote it the types that dpa4 models may leave out, and keys their names.

    A descriptor that needs type vectors of the model gets them.

    The parts of linear and DPRc models are models, too.
    """
    if not isinstance(section, dict):
        return
    fill_types(section)
    type_embedding.completed(section)
    completed_dprc(section)
    _complete_parts(section)
    for part in _items(section, "models"):
        complete(part)


def _complete_parts(section: dict) -> None:
    """Descriptors, and the two models of a DPRc model, whose type vectors are those of the whole."""
    descriptor = section.get("descriptor")
    for part in (descriptor, *_items(descriptor, "list")):
        rename_newer(part)
    for key in DPRC_PARTS:
        if isinstance(section.get(key), dict):
            fill_types(section[key])
            _complete_parts(section[key])


def _items(section: Any, key: str) -> list[Any]:
    inner = section.get(key) if isinstance(section, dict) else None
    return list(inner.values()) if isinstance(inner, dict) else inner if isinstance(inner, list) else []


def parse(section: dict | None, path: str, context: Context) -> CommonModelConfig | None:
    """The dataclass of a normalised ``model`` section; None where something in it is wrong.

    That of a model with spins is over all types, those of virtual atoms included, as far as it can be built.
    """
    config = parse_model(MODELS, section, path, context)
    if config is None:
        return None
    context.report.extend(misplaced(section, path))
    buildable = type(config) is ModelConfig and not context.report.problems and not any(lacks(section, path))
    return with_virtual_atoms(config) if buildable else config


__all__ = [
    "DPRC_PARTS",
    "MODELS",
    "DipoleChargeConfig",
    "Dpa4ModelConfig",
    "FrozenModelConfig",
    "LinearEnergyConfig",
    "MadeOfParts",
    "ModelConfig",
    "PairTableConfig",
    "PairwiseDPRcConfig",
    "SpinConfig",
    "TypeEmbeddingConfig",
    "argument",
    "check_direct_forces",
    "complete",
    "completed_dprc",
    "parse",
    "with_direct_forces",
]
