"""Options of the ``se_e3`` descriptor: three-body embedding of angles, with networks per pair of neighbour types."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.descriptors.rules import check_per_type_nets
from dpjax.config.schema import Component, Option


@dataclass(frozen=True)
class SeE3Config:
    """Hyper-parameters of ``se_e3``; lengths in angstrom."""

    rcut: float = 6.0
    rcut_smth: float = 0.5
    sel: tuple[int, ...] | str = "auto"  # per neighbour type, or "auto[:factor]" until data has been counted
    neuron: tuple[int, ...] = (10, 20, 40)
    activation_function: str = "tanh"
    resnet_dt: bool = False
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    set_davg_zero: bool = False
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # added to the distance in denominators


def _options() -> list[Option]:
    return [
        options.sel_by_type(),
        *options.cutoff(),
        options.neuron(),
        options.activation(),
        options.resnet_dt(),
        options.precision(),
        options.trainable("the embedding nets"),
        options.seed(),
        options.set_davg_zero(),
        options.exclude_types(),
        options.env_protection(),
    ]


SE_E3 = Component(
    "se_e3",
    SeE3Config,
    _options,
    check_per_type_nets,
    alias=("se_at", "se_a_3be", "se_t"),
    doc="Three-body embedding of the angles between pairs of neighbours (smooth edition).",
)
