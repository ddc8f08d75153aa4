"""Options and rules that ``dpa2`` and ``dpa3`` share: both pass messages between atoms in layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpjax.config.checks import (
    check_choice,
    check_elements,
)
from dpjax.config.descriptors.rules import check_environment
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option
from dpjax.config.suggestions import join, show

UPDATE_STYLES = ("res_avg", "res_incr", "res_residual")
UPDATE_RESIDUAL_INITS = ("norm", "const")


def update_options(style: str, residual: float, init: str) -> list[Option]:
    """How a layer adds its terms to a vector; the arguments are the defaults."""
    return [
        Option(
            "update_style",
            str,
            "How a layer adds its n terms to a vector. `res_avg`: the sum of all n + 1, divided by sqrt(n + 1). `res_incr`: the "
            "vector plus the sum of the terms divided by sqrt(n). `res_residual`: the vector plus the terms, each component "
            "times a trained weight.",
            style,
        ),
        Option(
            "update_residual",
            float,
            "With update_style `res_residual`: the size of the weights before training, see update_residual_init.",
            residual,
        ),
        Option(
            "update_residual_init",
            str,
            "With update_style `res_residual`: whether the weights start as random numbers with mean zero and standard "
            "deviation update_residual (`norm`), or all as update_residual (`const`).",
            init,
        ),
    ]


def check_update(cfg: Any, path: str) -> Iterator[Problem]:
    """The rules of :func:`update_options`."""
    yield from check_choice(cfg.update_style, UPDATE_STYLES, join(path, "update_style"))
    yield from check_choice(cfg.update_residual_init, UPDATE_RESIDUAL_INITS, join(path, "update_residual_init"))
    if cfg.update_style == "res_residual" and cfg.update_residual_init == "norm" and cfg.update_residual < 0:
        text = f"found {show(cfg.update_residual)}; a standard deviation must not be negative."
        yield Problem(join(path, "update_residual"), text)


def check_axis_within(axis_neuron: int, widths: dict[str, int], path: str) -> Iterator[Problem]:
    """``axis_neuron`` columns are taken of matrices which have as many as the options ``widths`` say."""
    narrowest = min(widths, key=lambda name: widths[name], default="")
    most = widths.get(narrowest, axis_neuron)
    if not 1 <= axis_neuron <= most and most > 0:
        yield Problem(path, f"found {axis_neuron}; it must lie between 1 and {narrowest} ({most}).")


def check_surroundings(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The rules of the options that both descriptors have beside their layers."""
    yield from check_environment(cfg, path, context)
    yield from check_elements(cfg.use_econf_tebd, context.type_map, join(path, "use_econf_tebd"))
