"""Options of the ``ener`` fitting net: atomic energies from descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpjax.config.checks import check_at_least, check_per_type
from dpjax.config.fittings import options
from dpjax.config.fittings.outputs import ENERGY, AtomicOutput
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class EnerFittingConfig:
    """Hyper-parameters of the energy fitting net; energies in eV."""

    neuron: tuple[int, ...] = (120, 120, 120)
    activation_function: str = "tanh"
    resnet_dt: bool = True
    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    dim_case_embd: int = 0
    precision: str = "default"
    trainable: bool | tuple[bool, ...] = True  # a tuple has one entry per layer, the output layer included
    rcond: float | None = None
    seed: int | None = None
    atom_ener: tuple[float | None, ...] = ()
    layer_name: tuple[str | None, ...] | None = None
    use_aparam_as_mask: bool = False

    @property
    def output(self) -> AtomicOutput:
        """What the net predicts."""
        return ENERGY


def energy_options() -> list[Option]:
    """What only nets for energies have."""
    return [
        options.trainable(),
        options.rcond(),
        Option(
            "atom_ener",
            list[float | None],
            "Energy in eV of an isolated atom of each type, kept as the bias of that type; null leaves it to the data.",
            [],
        ),
        Option(
            "layer_name",
            list[str],
            "A name for each hidden layer and the output layer. Layers of the same name share their parameters, also those of "
            "several parts of a linear model; null shares nothing.",
            also=[list[str | None]],
        ),
        Option(
            "use_aparam_as_mask",
            bool,
            "Treat the atomic parameter as a real/virtual flag for the descriptor and do not feed it to the net.",
            False,
        ),
    ]


def check_energy(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The rules of :func:`energy_options`."""
    yield from options.check_per_layer(cfg, "layer_name", path)
    yield from check_per_type(cfg.atom_ener, context.type_map, "one energy in eV, or null,", join(path, "atom_ener"))
    yield from check_at_least(cfg, 0, ["rcond"], path)
    if cfg.use_aparam_as_mask and cfg.numb_aparam == 0:
        text = "found true, but numb_aparam is 0. Set numb_aparam, or remove the key."
        yield Problem(join(path, "use_aparam_as_mask"), text)


def _options() -> list[Option]:
    return [*options.input_options(), *options.network_options(), *energy_options()]


def _check(cfg: EnerFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from options.check_net(cfg, path)
    yield from check_energy(cfg, path, context)


ENER = Component(
    "ener", EnerFittingConfig, _options, _check, doc="Atomic energies; their sum is the energy of the frame."
)
