"""Options of the ``se_e3_tebd`` descriptor: three-body embedding of angles, with a vector per type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import (
    check_at_least,
    check_choice,
)
from dpjax.config.descriptors.rules import check_activation_and_environment, check_common_nets
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class SeE3TebdConfig:
    """Hyper-parameters of ``se_e3_tebd``; lengths in angstrom."""

    rcut: float = 6.0
    rcut_smth: float = 0.5
    sel: int | tuple[int, ...] | str = (
        "auto"  # of all types, a tuple is summed; "auto[:factor]" until data has been counted
    )
    neuron: tuple[int, ...] = (10, 20, 40)
    tebd_dim: int = 8
    tebd_input_mode: str = "concat"
    resnet_dt: bool = False
    set_davg_zero: bool = True
    activation_function: str = "tanh"
    env_protection: float = 0.0  # added to the distance in denominators
    smooth: bool = True
    exclude_types: tuple[tuple[int, int], ...] = ()
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    concat_output_tebd: bool = True
    use_econf_tebd: bool = False
    use_tebd_bias: bool = True


def _options() -> list[Option]:
    smooth = (
        "Let the effect of the type vectors of two neighbours go smoothly to zero as either of them nears rcut. It matters "
        "with tebd_input_mode `strip` only."
    )
    return [
        options.sel_in_all(),
        *options.cutoff(),
        options.neuron(),
        options.tebd_dim(),
        options.tebd_input_mode(of="the angle"),
        options.resnet_dt(),
        options.set_davg_zero(True),
        options.activation(),
        options.env_protection(),
        Option("smooth", bool, smooth, True),
        options.exclude_types(),
        options.precision(),
        options.trainable(),
        options.seed("the descriptor"),
        options.concat_output_tebd(),
        options.use_econf_tebd(),
        options.use_tebd_bias(True),
    ]


def _check(cfg: SeE3TebdConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common_nets(cfg, path, context)
    yield from check_at_least(cfg, 1, ["tebd_dim"], path)
    yield from check_choice(cfg.tebd_input_mode, options.TEBD_INPUT_MODES, join(path, "tebd_input_mode"))
    yield from check_activation_and_environment(cfg, path, context)


SE_E3_TEBD = Component(
    "se_e3_tebd",
    SeE3TebdConfig,
    _options,
    _check,
    doc="Three-body embedding of the angles between pairs of neighbours, with a trained vector per atom type.",
)
