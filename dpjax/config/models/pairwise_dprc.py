"""The ``pairwise_dprc`` model: one network for a molecule treated by quantum mechanics, one for it and each fragment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpjax.config.models.common import (
    CommonModelConfig,
    check_common,
    common_options,
    common_sections,
    parse_model,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import join

_PARTS = ("qm_model", "qmmm_model")


@dataclass(frozen=True, kw_only=True)
class PairwiseDPRcConfig(CommonModelConfig):
    """Two energy models; the type names of both are those of the whole."""

    qm_model: CommonModelConfig
    qmmm_model: CommonModelConfig
    type: str = "pairwise_dprc"


def pairwise_dprc(simple: tuple[Component, ...]) -> Component:
    """The component; ``simple`` are the kinds of model that its parts can be."""
    parts = Registry("model", simple, default="standard", doc="How this part is put together.")

    def options() -> list[Option]:
        return [
            _part(parts, "qm_model", "Model of the energy of the QM molecule alone."),
            _part(parts, "qmmm_model", "Model of the energy of the QM molecule together with each single MM fragment."),
        ]

    def sections(section: dict, path: str, context: Context) -> dict[str, Any]:
        inner = {key: parse_model(parts, section.get(key), join(path, key), context) for key in _PARTS}
        return common_sections(section, path, context) | inner

    return Component(
        "pairwise_dprc",
        PairwiseDPRcConfig,
        options,
        _check,
        doc="Range correction of a QM/MM calculation as a sum over fragments, which the atomic parameter numbers.",
        built=False,
        sections=sections,
    )


def _part(parts: Registry, name: str, doc: str) -> Option:
    return Option(
        name, dict, doc, REQUIRED, sub_fields=common_options(), sub_variants=[parts.variant()], fold_subdoc=True
    )


def _check(cfg: PairwiseDPRcConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    for key in _PARTS:
        part, here = getattr(cfg, key), join(path, key)
        if cfg.type_map and part.type_map != cfg.type_map:
            text = f"found {list(part.type_map)}, but {path}/type_map is {list(cfg.type_map)}. Keep the latter only."
            yield Problem(join(here, "type_map"), text)
        if part.type_embedding is not None:
            text = f"both parts share one type embedding. Give it as {path}/type_embedding."
            yield Problem(join(here, "type_embedding"), text)
