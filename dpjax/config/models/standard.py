"""The ``standard`` model: one descriptor and one fitting net."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dpjax.config.descriptors import DESCRIPTORS, SeE2AConfig
from dpjax.config.fittings import FITTINGS, EnerFittingConfig, PropertyFittingConfig
from dpjax.config.models.bridging import bridging_options, check_bridging
from dpjax.config.models.common import CommonModelConfig, check_common, common_sections
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import did_you_mean, join


@dataclass(frozen=True, kw_only=True)
class ModelConfig(CommonModelConfig):
    """A ``standard`` model: one descriptor and one fitting net."""

    descriptor: SeE2AConfig
    fitting_net: EnerFittingConfig
    model_branch_alias: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    bridging_method: str | None = None
    bridging_r_inner: float | None = None
    bridging_r_outer: float | None = None


def network_options() -> list[Option]:
    """Descriptor, fitting net and remarks, of every model that has networks of its own."""
    return [
        Option(
            "descriptor",
            dict,
            "How an atom's neighbourhood becomes numbers.",
            REQUIRED,
            sub_variants=[DESCRIPTORS.variant()],
        ),
        Option(
            "fitting_net", dict, "How these numbers become a prediction.", REQUIRED, sub_variants=[FITTINGS.variant()]
        ),
        Option(
            "model_branch_alias",
            list[str],
            "Other names of this model, for use where a branch of several is chosen by name.",
            [],
            not_built="choosing a branch by its name",
            used_with="model_dict",
        ),
        Option("info", dict, "Free remarks that are stored with the model.", {}),
    ]


def network_sections(section: dict, path: str, context: Context) -> dict[str, Any]:
    """The dataclasses of descriptor, fitting net and whatever else the section holds."""
    return {
        **common_sections(section, path, context),
        "descriptor": DESCRIPTORS.parse(section.get("descriptor"), join(path, "descriptor"), context),
        "fitting_net": FITTINGS.parse(section.get("fitting_net"), join(path, "fitting_net"), context),
    }


def check_networks(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The rules that bind descriptor, fitting net and model."""
    yield from check_common(cfg, path, context)
    predicted = getattr(cfg.fitting_net, "output", None)
    output = predicted.name if predicted else cfg.raw["fitting_net"]["type"]
    for name in cfg.preset_out_bias or {}:
        if name != output:
            text = f"unknown output; a model with this fitting net has: {output}.{did_you_mean(name, [output])}"
            yield Problem(join(path, f"preset_out_bias/{name}"), text)


def _check(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    yield from check_networks(cfg, path, context)
    yield from check_bridging(cfg, path, context)
    if isinstance(cfg.fitting_net, PropertyFittingConfig) and 0 in cfg.fitting_net.neuron:
        here = join(path, f"fitting_net/neuron/{cfg.fitting_net.neuron.index(0)}")
        yield Problem(here, "found 0; only in a model of type dpa4 is the width then found from the input.")


STANDARD = Component(
    "standard",
    ModelConfig,
    lambda: [*network_options(), *bridging_options(newer=True)],
    _check,
    doc="One descriptor and one fitting net.",
    sections=network_sections,
)
