"""Options of the ``se_e2_r`` descriptor: two-body embedding of distances."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.descriptors.rules import check_per_type_nets
from dpjax.config.schema import Component, Option


@dataclass(frozen=True)
class SeE2RConfig:
    """Hyper-parameters of ``se_e2_r``; lengths in angstrom."""

    rcut: float = 6.0
    rcut_smth: float = 0.5
    sel: tuple[int, ...] | str = "auto"  # per neighbour type, or "auto[:factor]" until data has been counted
    neuron: tuple[int, ...] = (10, 20, 40)
    activation_function: str = "tanh"
    resnet_dt: bool = False
    type_one_side: bool = False
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    exclude_types: tuple[tuple[int, int], ...] = ()
    set_davg_zero: bool = False
    env_protection: float = 0.0  # added to the distance in denominators


def _options() -> list[Option]:
    return [
        options.sel_by_type(),
        *options.cutoff(),
        options.neuron(),
        options.activation(),
        options.resnet_dt(),
        options.type_one_side(),
        options.precision(),
        options.trainable("the embedding nets"),
        options.seed(),
        options.exclude_types(),
        options.set_davg_zero(),
        options.env_protection(),
    ]


SE_E2_R = Component(
    "se_e2_r",
    SeE2RConfig,
    _options,
    check_per_type_nets,
    alias=("se_r",),
    doc="Two-body embedding of distances only (smooth edition).",
)
