"""Options of the ``se_e2_a`` descriptor: two-body embedding with radial and angular detail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import check_axis_neuron
from dpjax.config.descriptors.rules import check_per_type_nets
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class SeE2AConfig:
    """Hyper-parameters of ``se_e2_a``; lengths in angstrom."""

    rcut: float = 6.0
    rcut_smth: float = 0.5
    sel: tuple[int, ...] | str = "auto"  # per neighbour type, or "auto[:factor]" until data has been counted
    neuron: tuple[int, ...] = (10, 20, 40)
    axis_neuron: int = 4
    activation_function: str = "tanh"
    resnet_dt: bool = False
    type_one_side: bool = False
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # added to the distance in denominators
    set_davg_zero: bool = False


def se_e2_a_options() -> list[Option]:
    """The options of ``se_e2_a``, which other descriptors extend."""
    return [
        options.sel_by_type(),
        *options.cutoff(),
        options.neuron(),
        options.axis_neuron(),
        options.activation(),
        options.resnet_dt(),
        options.type_one_side(),
        options.precision(),
        options.trainable("the embedding nets"),
        options.seed(),
        options.exclude_types(),
        options.env_protection(),
        options.set_davg_zero(),
    ]


def check_se_e2_a(cfg: SeE2AConfig, path: str, context: Context) -> Iterator[Problem]:
    """The rules of ``se_e2_a``, which other descriptors extend."""
    yield from check_per_type_nets(cfg, path, context)
    yield from check_axis_neuron(cfg.axis_neuron, cfg.neuron, join(path, "axis_neuron"))


SE_E2_A = Component(
    "se_e2_a",
    SeE2AConfig,
    se_e2_a_options,
    check_se_e2_a,
    alias=("se_a",),
    doc="Two-body embedding with radial and angular detail (smooth edition).",
)
