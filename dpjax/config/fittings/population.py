"""Options of the ``population`` fitting net, which DeePMD-kit has since 3.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dpjax.config.fittings import options
from dpjax.config.options import newer
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option


@dataclass(frozen=True, kw_only=True)
class PopulationFittingConfig:
    """Hyper-parameters of the net for electron populations; what is not given is None."""

    numb_fparam: int | None = None
    numb_aparam: int | None = None
    dim_case_embd: int | None = None
    neuron: tuple[int, ...] | None = None
    activation_function: str | None = None
    resnet_dt: bool | None = None
    precision: str | None = None
    seed: int | None = None
    trainable: bool | tuple[bool, ...] | None = None


def _options() -> list[Option]:
    inputs = [option for option in options.input_options() if option.name != "default_fparam"]
    network = options.network_options(neuron=(128, 128, 128))
    return [newer(option) for option in (*inputs, *network, options.trainable())]


def _check(cfg: PopulationFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    defaults = {o.name: tuple(o.neutral) if isinstance(o.neutral, list) else o.neutral for o in _options()}
    absent = [name for name in defaults if getattr(cfg, name) is None]
    yield from options.check_net(replace(cfg, **{name: defaults[name] for name in absent}), path)


POPULATION = Component(
    "population",
    PopulationFittingConfig,
    _options,
    _check,
    doc="Electrons of either spin on each atom.",
    built=False,
    newer=True,
)
