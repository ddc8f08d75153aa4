"""Options of the fitting nets for tensors: ``polar`` (polarizabilities) and ``dipole``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_per_type, check_type_indices
from dpjax.config.fittings import options, outputs
from dpjax.config.fittings.outputs import AtomicOutput
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class TensorFittingConfig:
    """Hyper-parameters that both nets have."""

    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    dim_case_embd: int = 0
    neuron: tuple[int, ...] = (120, 120, 120)
    activation_function: str = "tanh"
    resnet_dt: bool = True
    precision: str = "default"
    sel_type: int | tuple[int, ...] | None = None  # None: all types
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class DipoleFittingConfig(TensorFittingConfig):
    """Hyper-parameters of the net for dipoles."""

    @property
    def output(self) -> AtomicOutput:
        """What the net predicts."""
        return outputs.DIPOLE


@dataclass(frozen=True, kw_only=True)
class PolarFittingConfig(TensorFittingConfig):
    """Hyper-parameters of the net for polarizabilities."""

    fit_diag: bool = True
    scale: float | tuple[float, ...] = 1.0  # a tuple has one entry per type
    shift_diag: bool = True

    @property
    def output(self) -> AtomicOutput:
        """What the net predicts."""
        return outputs.POLARIZABILITY


def _shared_options(what: str, alias: str) -> list[Option]:
    doc = f"Types whose atoms have a {what}, as indices into type_map; all types if absent or null."
    return [
        *options.input_options(),
        *options.network_options(),
        Option("sel_type", [list[int], int, None], doc, alias=[alias]),
    ]


def _dipole_options() -> list[Option]:
    return _shared_options("dipole", "dipole_type")


def _polar_options() -> list[Option]:
    return [
        *_shared_options("polarizability", "pol_type"),
        Option(
            "fit_diag",
            bool,
            "Let the net predict only the diagonal of the rotation-invariant matrix from which the polarizability is made; "
            "false predicts the whole matrix.",
            True,
        ),
        Option(
            "scale",
            [list[float], float],
            "Factor on the predicted polarizability, one for all types or one per type.",
            1.0,
        ),
        Option(
            "shift_diag",
            bool,
            "Add the mean diagonal of the polarizability of each type, taken from the data, so that the net only learns what "
            "differs from it.",
            True,
        ),
    ]


def _check(cfg: TensorFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from options.check_net(cfg, path)
    here, selected = join(path, "sel_type"), cfg.sel_type
    if selected == ():
        yield Problem(here, "found an empty list; name at least one type, or remove the key to take all.")
    elif selected is not None:
        indices = selected if isinstance(selected, tuple) else (selected,)
        yield from check_type_indices(indices, context.type_map, here)


def _check_polar(cfg: PolarFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from _check(cfg, path, context)
    if cfg.scale == ():
        yield Problem(join(path, "scale"), "found an empty list; give one factor, or one per type.")
    elif isinstance(cfg.scale, tuple):
        yield from check_per_type(cfg.scale, context.type_map, "one factor", join(path, "scale"))


POLAR = Component(
    "polar",
    PolarFittingConfig,
    _polar_options,
    _check_polar,
    doc="Atomic polarizabilities, 3 x 3 matrices that turn with the frame.",
)
DIPOLE = Component(
    "dipole",
    DipoleFittingConfig,
    _dipole_options,
    _check,
    doc="Atomic dipoles, or the displacements of Wannier centres; vectors that turn with the frame.",
)
