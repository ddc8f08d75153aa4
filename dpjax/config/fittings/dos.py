"""Options of the ``dos`` fitting net: the electronic density of states of each atom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least
from dpjax.config.fittings import options
from dpjax.config.fittings.outputs import AtomicOutput, density_of_states
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option


@dataclass(frozen=True)
class DosFittingConfig:
    """Hyper-parameters of the net for the density of states."""

    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    dim_case_embd: int = 0
    neuron: tuple[int, ...] = (120, 120, 120)
    activation_function: str = "tanh"
    precision: str = "float64"
    resnet_dt: bool = True
    trainable: bool | tuple[bool, ...] = True  # a tuple has one entry per layer, the output layer included
    rcond: float | None = None
    seed: int | None = None
    numb_dos: int = 300

    @property
    def output(self) -> AtomicOutput:
        """What the net predicts."""
        return density_of_states(self.numb_dos)


def _options() -> list[Option]:
    grid = (
        "How many points the energy grid has on which the density of states is predicted; dos.npy has as many columns."
    )
    return [
        *options.input_options(),
        *options.network_options(precision="float64", alias=()),
        options.trainable(),
        options.rcond(),
        Option("numb_dos", int, grid, 300),
    ]


def _check(cfg: DosFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from options.check_net(cfg, path)
    yield from check_at_least(cfg, 0, ["rcond"], path)
    yield from check_at_least(cfg, 1, ["numb_dos"], path)


DOS = Component(
    "dos",
    DosFittingConfig,
    _options,
    _check,
    doc="The electronic density of states of each atom; their sum is that of the frame.",
)
