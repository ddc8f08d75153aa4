"""Options of the ``dpa4_ener`` fitting net: atomic energies by layers in which one half gates the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options as shared
from dpjax.config.fittings import options
from dpjax.config.fittings.ener import EnerFittingConfig, check_energy, energy_options
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class Dpa4EnerFittingConfig(EnerFittingConfig):
    """Hyper-parameters of ``dpa4_ener``; energies in eV."""

    neuron: tuple[int, ...] = (0,)  # 0: from the width of the input; empty: a linear map
    activation_function: str = "silu"
    resnet_dt: bool = False
    precision: str = "float32"
    case_film_embd: bool = False


def _options() -> list[Option]:
    return [
        *options.input_options(),
        Option(
            "neuron",
            list[int],
            "Widths of the hidden layers, each of which is gated by another layer of its width. 0 takes 8/3 of the width of "
            "the input, rounded up to a multiple of 32; an empty list makes the net a linear map.",
            [0],
            alias=["n_neuron"],
        ),
        shared.activation("silu", "the gates"),
        shared.precision("float32"),
        Option(
            "resnet_dt",
            bool,
            "Would give skip connections a trained step size.",
            False,
            no_effect="this net has no skip connections",
        ),
        shared.seed("the net", default=None),
        *energy_options(),
        Option(
            "case_film_embd",
            bool,
            "Let the vector of dim_case_embd numbers, which tells data sets apart, scale and shift the descriptor and the "
            "hidden layers instead of entering the net.",
            False,
        ),
    ]


def _check(cfg: Dpa4EnerFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from options.check_net(cfg, path, widths=False)
    yield from check_energy(cfg, path, context)
    yield from options.check_widths_or_auto(cfg.neuron, join(path, "neuron"))
    names = [name for name in cfg.layer_name or () if name is not None]
    if len(set(names)) < len(names):
        text = (
            "found one name for several layers, but gated layers do not share parameters. Give each its own, or null."
        )
        yield Problem(join(path, "layer_name"), text)


DPA4_ENER = Component(
    "dpa4_ener",
    Dpa4EnerFittingConfig,
    _options,
    _check,
    alias=("sezm_ener",),
    doc="Atomic energies by gated layers, made for the dpa4 descriptor; one net for all types.",
)
