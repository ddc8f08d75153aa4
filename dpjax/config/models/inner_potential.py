"""The ``inner_potential`` part of a linear model: a formula for atoms that come closer than the data reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_choice, check_positive
from dpjax.config.elements import ELEMENTS
from dpjax.config.models.common import CommonModelConfig, check_common, common_sections
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class InnerPotentialConfig(CommonModelConfig):
    """A repulsive pair potential; lengths in angstrom."""

    mode: str = "zbl"
    r_inner: float = 0.5
    r_outer: float = 0.8
    type: str = "inner_potential"


def _options() -> list[Option]:
    return [
        Option("mode", str, "Formula of the pair energy: `zbl`, the screened repulsion of the nuclei.", "zbl"),
        Option(
            "r_inner",
            float,
            "Distance in angstrom below which the network of the other part sees no further change of a distance.",
            0.5,
        ),
        Option(
            "r_outer",
            float,
            "Distance in angstrom from which the network of the other part sees distances as they are; in between it changes "
            "smoothly.",
            0.8,
        ),
    ]


def _check(cfg: InnerPotentialConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    yield from check_choice(cfg.mode.lower(), ("zbl",), join(path, "mode"))
    yield from check_positive(cfg, ["r_inner"], path)
    if cfg.r_outer <= cfg.r_inner:
        text = f"found {cfg.r_outer} with r_inner {cfg.r_inner}; it must be greater than r_inner."
        yield Problem(join(path, "r_outer"), text)
    others = [name for name in context.type_map if name not in ELEMENTS]
    if others:
        text = f"found {cfg.mode!r}, but the types {', '.join(others)} are no elements, so that their nuclear charge is unknown."
        yield Problem(join(path, "mode"), text)


INNER_POTENTIAL = Component(
    "inner_potential",
    InnerPotentialConfig,
    _options,
    _check,
    doc="Repulsion of the nuclei at short distances, beside one model with a DPA4 descriptor.",
    built=False,
    newer=True,
    sections=common_sections,
)
