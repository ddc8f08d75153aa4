"""Options of the ``se_e2_a`` descriptor: two-body embedding with radial and angular detail."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config.networks import (
    ACTIVATION_DOC,
    PRECISION_DOC,
    check_activation,
    check_neuron,
    check_precision,
    check_type_pairs,
)
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join
from dpjax.errors import ConfigError


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


def _options() -> list[Option]:
    return [
        Option(
            "sel",
            [list[int], str],
            "How many neighbours of each type count: one number per entry of type_map, the largest number that "
            "occurs within "
            "rcut or a little more. It normalises the descriptor, and neighbours beyond it are dropped, the farthest "
            "first. "
            "`auto` counts them in the training data and adds 10 %; `auto:f` multiplies the count by f instead. The "
            "result is "
            "rounded up to a multiple of 4.",
            "auto",
        ),
        Option(
            "rcut",
            float,
            "Cut-off radius in angstrom: an atom's energy depends on the neighbours closer than this.",
            6.0,
        ),
        Option(
            "rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight 1/r is switched smoothly to zero at rcut.",
            0.5,
        ),
        Option(
            "neuron",
            list[int],
            "Widths of the layers of the embedding net. A layer as wide as the one before it, or twice as wide, gets "
            "a skip "
            "connection.",
            [10, 20, 40],
        ),
        Option(
            "axis_neuron",
            int,
            "How many columns of the embedding matrix form its second factor; at most the last entry of neuron. The "
            "descriptor has "
            "neuron[-1] * axis_neuron components.",
            4,
            alias=["n_axis_neuron"],
        ),
        Option("activation_function", str, ACTIVATION_DOC, "tanh"),
        Option("resnet_dt", bool, "Whether skip connections carry a trained step size.", False),
        Option(
            "type_one_side",
            bool,
            "true: one embedding net per type of neighbour. false: one per pair of centre and neighbour type.",
            False,
        ),
        Option("precision", str, PRECISION_DOC, "default"),
        Option("trainable", bool, "Whether training changes the embedding nets.", True),
        Option(
            "seed",
            [int, None],
            "Seed of the initial parameters of the embedding nets; drawn from training/seed if absent.",
        ),
        Option(
            "exclude_types",
            list[list[int]],
            "Pairs of types that do not see each other in this descriptor, as in [[0, 1]].",
            [],
        ),
        Option(
            "env_protection",
            float,
            "Length in angstrom added to distances in denominators; keeps the descriptor of very close atoms finite.",
            0.0,
        ),
        Option(
            "set_davg_zero",
            bool,
            "Do not subtract the mean of the environment, so that an atom without neighbours has a zero descriptor. "
            "Wanted with "
            "atom_ener or preset_out_bias.",
            False,
        ),
    ]


def _check(cfg: SeE2AConfig, path: str, context: Context) -> None:
    if cfg.rcut <= 0:
        raise ConfigError(f"{path}/rcut: found {cfg.rcut}; the cut-off must be a positive length in angstrom.")
    if not 0 <= cfg.rcut_smth < cfg.rcut:
        raise ConfigError(
            f"{path}/rcut_smth: found {cfg.rcut_smth} with rcut {cfg.rcut}; it must be at least 0 and less than rcut."
        )
    check_sel(cfg.sel, context.type_map, join(path, "sel"))
    check_neuron(cfg.neuron, join(path, "neuron"))
    if not 1 <= cfg.axis_neuron <= cfg.neuron[-1]:
        raise ConfigError(
            f"{path}/axis_neuron: found {cfg.axis_neuron}; it must lie between 1 and the last entry of neuron "
            f"({cfg.neuron[-1]})."
        )
    check_activation(cfg.activation_function, join(path, "activation_function"))
    check_precision(cfg.precision, join(path, "precision"))
    check_type_pairs(cfg.exclude_types, context.type_map, join(path, "exclude_types"))
    if cfg.env_protection < 0:
        raise ConfigError(f"{path}/env_protection: found {cfg.env_protection}; it must not be negative.")


def check_sel(sel: tuple[int, ...] | str, type_map: tuple[str, ...], path: str) -> None:
    """Raise ConfigError unless ``sel`` is ``auto[:factor]`` or one non-negative number per type."""
    if isinstance(sel, str):
        _check_auto(sel, path)
        return
    if type_map and len(sel) != len(type_map):
        raise ConfigError(
            f"{path}: found {len(sel)} entries {list(sel)}, but model/type_map has {len(type_map)} "
            f"({', '.join(type_map)}). "
            'Give one number per type; `dpjax neighbor-stat` suggests values from your data, or write "auto".'
        )
    if any(n < 0 for n in sel) or sum(sel) == 0:
        raise ConfigError(f"{path}: found {list(sel)}; numbers of neighbours must not be negative, nor all zero.")


def _check_auto(sel: str, path: str) -> None:
    word, colon, factor = sel.partition(":")
    try:
        valid = word == "auto" and (not colon or float(factor) >= 1.0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f'{path}: found "{sel}"; write one number per type, "auto", or "auto:f" with a factor f of at least 1, '
            'as in "auto:1.2".'
        )


SE_E2_A = Component(
    "se_e2_a",
    SeE2AConfig,
    _options,
    _check,
    alias=("se_a",),
    doc="Two-body embedding with radial and angular detail (smooth edition).",
)
