"""The table of model types, and the ``model`` argument."""

from __future__ import annotations

from dpjax.config.models.common import check_type_map, common_options
from dpjax.config.models.standard import STANDARD, ModelConfig
from dpjax.config.schema import REQUIRED, Context, Option, Registry
from dpjax.config.suggestions import join

MODELS = Registry("model", (STANDARD,), default="standard", doc="How the model is put together.")


def argument() -> Option:
    """The ``model`` argument of a training of one model."""
    return Option(
        "model", dict, "The model to train.", REQUIRED, sub_fields=common_options(), sub_variants=[MODELS.variant()]
    )


def parse(section: dict | None, path: str, context: Context) -> ModelConfig | None:
    """The dataclass of a normalised ``model`` section; None where something in it is wrong."""
    if not section:
        return None
    type_map = tuple(section.get("type_map", ()))
    context.report.extend(check_type_map(type_map, join(path, "type_map")))
    return MODELS.parse(section, path, Context(type_map, context.report))


__all__ = ["MODELS", "ModelConfig", "argument", "parse"]
