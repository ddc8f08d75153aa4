"""Options of the ``dpa4c`` descriptor of DeePMD-kit 3.2: a compact relative of ``dpa4``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.charge_spin import check_chg_spin
from dpjax.config.checks import (
    check_at_least,
    check_choice,
    check_positive,
    check_precision,
    check_type_pairs,
)
from dpjax.config.descriptors.dpa4_options import BASES
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

_CHANNELS = (8, 16, 32, 64, 128)
_DEGREES = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Dpa4cConfig:
    """Hyper-parameters of ``dpa4c``; None where absent."""

    rcut: float | None = None
    channels: int | None = None
    lmax: int | None = None
    basis_type: str | None = None
    n_radial: int | None = None
    radial_modes: int | None = None
    use_amp: bool | None = None
    exclude_types: tuple[tuple[int, int], ...] | None = None
    precision: str | None = None
    trainable: bool | None = None
    add_chg_spin_ebd: bool | None = None
    default_chg_spin: tuple[float, ...] | None = None
    seed: int | None = None


def _options() -> list[Option]:
    return [options.newer(option) for option in _as_released()]


def _as_released() -> list[Option]:
    """The options with the defaults that they have in DeePMD-kit 3.2."""
    return [
        Option("rcut", float, "Cut-off radius in angstrom; 6 if absent.", 6.0),
        Option("channels", int, f"Number of channels of scalars and edges; 32 if absent, {_one_of(_CHANNELS)}.", 32),
        Option("lmax", int, f"Highest degree of the angular part; 2 if absent, {_one_of(_DEGREES)}.", 2),
        Option("basis_type", str, "Radial functions: `bessel`, if absent, or `gaussian`.", "bessel"),
        Option("n_radial", int, "Number of radial functions; 16 if absent.", 16),
        Option(
            "radial_modes",
            int,
            "Number of radial profiles that each pair of types mixes in its own way; 0, if absent, scales one profile.",
            0,
        ),
        Option("use_amp", bool, "Use bfloat16 for what is done per edge in training on a GPU; false if absent.", False),
        options.exclude_types(),
        Option("precision", str, "Floating-point type of the parameters; float32 if absent.", "float32"),
        options.trainable(),
        options.add_chg_spin_ebd(),
        options.default_chg_spin(),
        options.seed("the descriptor"),
    ]


def _one_of(valid: tuple[int, ...]) -> str:
    return f"one of {', '.join(map(str, valid))}"


def _check(cfg: Dpa4cConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_positive(cfg, ["rcut"], path)
    yield from check_at_least(cfg, 1, ["n_radial"], path)
    yield from check_at_least(cfg, 0, ["radial_modes"], path)
    for key, valid in (("channels", _CHANNELS), ("lmax", _DEGREES)):
        value = getattr(cfg, key)
        if value is not None and value not in valid:
            yield Problem(join(path, key), f"found {value}; it must be {_one_of(valid)}.")
    if cfg.basis_type is not None:
        yield from check_choice(cfg.basis_type.lower(), BASES, join(path, "basis_type"))
    if cfg.precision is not None:
        yield from check_precision(cfg.precision, join(path, "precision"))
    yield from check_chg_spin(cfg.default_chg_spin, bool(cfg.add_chg_spin_ebd), join(path, "default_chg_spin"))
    yield from check_type_pairs(cfg.exclude_types or (), context.type_map, join(path, "exclude_types"))


DPA4C = Component(
    "dpa4c",
    Dpa4cConfig,
    _options,
    _check,
    alias=("DPA4C",),
    doc="Compact relative of dpa4 that sums over the neighbours once, without messages.",
    built=False,
    newer=True,
)
