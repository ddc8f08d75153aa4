"""Options of the ``ener_spin`` loss, for models with magnetic moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_choice
from dpjax.config.losses import options
from dpjax.config.losses.options import check_prefactors, prefactors
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class EnerSpinLossConfig:
    """Loss of energy models with spins."""

    start_pref_e: float = 0.02
    limit_pref_e: float = 1.0
    start_pref_fr: float = 1000
    limit_pref_fr: float = 1.0
    start_pref_fm: float = 10000
    limit_pref_fm: float = 10.0
    start_pref_v: float = 0.0
    limit_pref_v: float = 0.0
    start_pref_ae: float = 0.0
    limit_pref_ae: float = 0.0
    start_pref_pf: float = 0.0
    limit_pref_pf: float = 0.0
    relative_f: float | None = None
    enable_atom_ener_coeff: bool = False
    loss_func: str = "mse"
    intensive_ener_virial: bool = False
    type: str = "ener_spin"


def _options() -> list[Option]:
    weighted = "this loss has no weighted force term, here as in DeePMD-kit"
    relative = "this loss takes force errors as they are, here as in DeePMD-kit"
    return [
        *prefactors("e", "energy", "energy.npy", 0.02, 1.0),
        *prefactors("fr", "force", "force.npy", 1000, 1.0),
        *prefactors("fm", "magnetic force", "force_mag.npy", 10000, 10.0),
        *prefactors("v", "virial", "virial.npy", 0.0, 0.0),
        *prefactors("ae", "atomic energy", "atom_ener.npy", 0.0, 0.0),
        *prefactors("pf", "weighted force", "atom_pref.npy", 0.0, 0.0, no_effect=weighted),
        options.relative_force(no_effect=relative),
        options.atom_ener_coeff(),
        options.mse_or_mae(),
        options.intensive(),
    ]


def _check(cfg: EnerSpinLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_prefactors(cfg, ("e", "fr", "fm", "v", "ae"), path)
    yield from check_choice(cfg.loss_func, ("mse", "mae"), join(path, "loss_func"))


def _idle(cfg: EnerSpinLossConfig) -> Iterator[tuple[str, str]]:
    if cfg.intensive_ener_virial and cfg.loss_func == "mae":
        yield "intensive_ener_virial", "only squares can be divided by the number of atoms or by its square"


ENER_SPIN = Component(
    "ener_spin",
    EnerSpinLossConfig,
    _options,
    _check,
    doc="Errors of energy, force, magnetic force and virial of a model with spins.",
    idle=_idle,
)
