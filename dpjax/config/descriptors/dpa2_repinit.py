"""Options of ``repinit``, the first block of ``dpa2``: a two-body embedding, and a three-body one if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import (
    check_activation,
    check_at_least,
    check_axis_neuron,
    check_choice,
    check_cutoff,
    check_neuron,
    check_sel_in_all,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class RepinitConfig:
    """Hyper-parameters of ``repinit``; lengths in angstrom."""

    rcut: float
    rcut_smth: float
    nsel: int | str  # of all types together, or "auto[:factor]" until data has been counted
    neuron: tuple[int, ...] = (25, 50, 100)
    axis_neuron: int = 16
    tebd_dim: int = 8
    tebd_input_mode: str = "concat"
    set_davg_zero: bool = True
    activation_function: str = "tanh"
    type_one_side: bool = False
    resnet_dt: bool = False
    use_three_body: bool = False
    three_body_neuron: tuple[int, ...] = (2, 4, 8)
    three_body_rcut: float = 4.0
    three_body_rcut_smth: float = 0.5
    three_body_sel: int | str = 40


def _options() -> list[Option]:
    return [
        Option(
            "rcut",
            float,
            "Cut-off radius in angstrom of the whole descriptor: neighbours beyond it are seen by no block.",
            REQUIRED,
        ),
        Option(
            "rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight 1/r is switched smoothly to zero at rcut.",
            REQUIRED,
        ),
        options.nsel(),
        options.neuron((25, 50, 100), list),
        options.axis_neuron(16, ()),
        options.tebd_dim(),
        options.tebd_input_mode(),
        options.set_davg_zero(True),
        options.activation(of="the embedding nets"),
        Option(
            "type_one_side",
            bool,
            "true: the embedding net takes the type vector of the neighbour only. false: that of the centre as well.",
            False,
        ),
        options.resnet_dt(),
        *_three_body_options(),
    ]


def _three_body_options() -> list[Option]:
    return [
        Option(
            "use_three_body",
            bool,
            "Append a second embedding, made from the angles between pairs of near neighbours, to what the block hands on.",
            False,
        ),
        Option(
            "three_body_neuron",
            list,
            "Widths of the layers of the embedding net of the angles. A layer as wide as the one before it, or twice as wide, "
            "gets a skip connection.",
            [2, 4, 8],
        ),
        Option(
            "three_body_rcut",
            float,
            "Cut-off radius in angstrom within which neighbours form angles.",
            4.0,
        ),
        Option(
            "three_body_rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight in the angles is switched smoothly to zero at "
            "three_body_rcut.",
            0.5,
        ),
        options.nsel("three_body_sel", "three_body_rcut", 40),
    ]


def _check(cfg: RepinitConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_cutoff(cfg.rcut, cfg.rcut_smth, path)
    yield from check_sel_in_all(cfg.nsel, (), join(path, "nsel"))
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
    yield from check_axis_neuron(cfg.axis_neuron, cfg.neuron, join(path, "axis_neuron"))
    yield from check_at_least(cfg, 1, ["tebd_dim"], path)
    yield from check_choice(cfg.tebd_input_mode, options.TEBD_INPUT_MODES, join(path, "tebd_input_mode"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    if cfg.use_three_body:
        yield from check_cutoff(cfg.three_body_rcut, cfg.three_body_rcut_smth, path, "three_body_")
        yield from check_neuron(cfg.three_body_neuron, join(path, "three_body_neuron"))
    if cfg.use_three_body or isinstance(cfg.three_body_sel, str):
        yield from check_sel_in_all(cfg.three_body_sel, (), join(path, "three_body_sel"))


REPINIT = Component(
    "repinit",
    RepinitConfig,
    _options,
    _check,
    doc="The first vector of every atom: an embedding of its neighbourhood, without messages between atoms.",
)
