"""Options of the ``tensor`` loss, for models of dipoles and polarizabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least
from dpjax.config.losses.options import NUMBER
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option


@dataclass(frozen=True, kw_only=True)
class TensorLossConfig:
    """Loss of dipole and polarizability models."""

    pref: float
    pref_atomic: float
    enable_atomic_weight: bool = False
    type: str = "tensor"


def _options() -> list[Option]:
    return [
        Option(
            "pref",
            NUMBER,
            "Prefactor of the tensor of the frame (label dipole.npy or polarizability.npy), the same in all steps; 0 leaves "
            "it out.",
            REQUIRED,
        ),
        Option(
            "pref_atomic",
            NUMBER,
            "Prefactor of the tensors of the atoms (label atomic_dipole.npy or atomic_polarizability.npy), the same in all "
            "steps; 0 leaves them out.",
            REQUIRED,
        ),
        Option(
            "enable_atomic_weight", bool, "Multiply the error of each atom by its entry in atomic_weight.npy.", False
        ),
    ]


def _check(cfg: TensorLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_at_least(cfg, 0, ["pref", "pref_atomic"], path)
    if cfg.pref == 0 and cfg.pref_atomic == 0:
        yield Problem(
            path, "no term is active: pref and pref_atomic are both 0. Set one of them, for example pref to 1."
        )


TENSOR = Component(
    "tensor",
    TensorLossConfig,
    _options,
    _check,
    doc="Errors of dipoles or polarizabilities, of the frame and of each atom.",
)
