"""The ``frozen`` model: one that was trained before and is read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.models.common import CommonModelConfig, check_common, check_file, common_sections
from dpjax.config.models.parts import lacks
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option


@dataclass(frozen=True, kw_only=True)
class FrozenModelConfig(CommonModelConfig):
    """A model from a file, which training leaves as it is."""

    model_file: str
    type: str = "frozen"


def _options() -> list[Option]:
    return [Option("model_file", str, "File of the trained model; its parameters do not change.", REQUIRED)]


def _check(cfg: FrozenModelConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    yield from check_file(cfg, "model_file", path)


FROZEN = Component(
    "frozen",
    FrozenModelConfig,
    _options,
    _check,
    doc="A trained model from a file, as it is or as part of a linear model.",
    sections=common_sections,
    lacks=lacks,
)
