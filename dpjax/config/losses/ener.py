"""Options of the ``ener`` loss.

Each term has a prefactor that moves with the learning rate from ``start_pref`` to ``limit_pref``; a term exists only if
both are non-zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice
from dpjax.config.losses import options
from dpjax.config.losses.options import check_prefactors, prefactors
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

_TERMS = ("e", "f", "v", "h", "ae", "pf", "gf")


@dataclass(frozen=True, kw_only=True)
class EnerLossConfig:
    """Loss of energy models."""

    start_pref_e: float = 0.02
    limit_pref_e: float = 1.0
    start_pref_f: float = 1000
    limit_pref_f: float = 1.0
    start_pref_v: float = 0.0
    limit_pref_v: float = 0.0
    start_pref_h: float = 0.0
    limit_pref_h: float = 0.0
    start_pref_ae: float = 0.0
    limit_pref_ae: float = 0.0
    start_pref_pf: float = 0.0
    limit_pref_pf: float = 0.0
    use_default_pf: bool = False
    relative_f: float | None = None
    enable_atom_ener_coeff: bool = False
    start_pref_gf: float = 0.0
    limit_pref_gf: float = 0.0
    numb_generalized_coord: int = 0
    use_huber: bool = False
    loss_func: str = "mse"
    f_use_norm: bool = False
    huber_delta: float | tuple[float, ...] = 0.01
    intensive_ener_virial: bool = False
    type: str = "ener"


def _options() -> list[Option]:
    later = "the {} term of the energy loss"
    return [
        *prefactors("e", "energy", "energy.npy", 0.02, 1.0),
        *prefactors("f", "force", "force.npy", 1000, 1.0),
        *prefactors("v", "virial", "virial.npy", 0.0, 0.0),
        *prefactors("h", "Hessian", "hessian.npy", 0.0, 0.0, not_built=later.format("Hessian")),
        *prefactors("ae", "atomic energy", "atom_ener.npy", 0.0, 0.0, not_built=later.format("atomic energy")),
        *prefactors("pf", "weighted force", "atom_pref.npy", 0.0, 0.0, not_built=later.format("weighted force")),
        *prefactors(
            "gf", "generalised force", "drdq.npy", 0.0, 0.0, float, not_built=later.format("generalised force")
        ),
        *_force_options(),
        *_form_options(),
    ]


def _force_options() -> list[Option]:
    weighted = "the weighted force term of the energy loss"
    return [
        Option(
            "use_default_pf",
            bool,
            "Take 1 for every atom where atom_pref.npy is missing.",
            False,
            not_built=weighted,
            used_with="start_pref_pf",
        ),
        options.relative_force(not_built="the relative force error"),
        Option(
            "f_use_norm",
            bool,
            "Take the length of a force error instead of its components; needs loss_func mae or use_huber.",
            False,
            not_built="the loss on lengths of force errors",
        ),
        Option(
            "numb_generalized_coord",
            int,
            "Number of generalised coordinates of the generalised force term.",
            0,
            not_built="the generalised force term of the energy loss",
            used_with="start_pref_gf",
        ),
    ]


def _form_options() -> list[Option]:
    return [
        options.atom_ener_coeff(not_built="the weighted sum of atomic energies"),
        Option(
            "use_huber",
            bool,
            "Huber form: quadratic for small errors, linear for large ones.",
            False,
            not_built="the Huber loss",
        ),
        Option(
            "huber_delta",
            [list[float], float],
            "Where the Huber form turns from quadratic to linear; one number, or one each for energy, force and virial. Used "
            "with use_huber.",
            0.01,
            not_built="the Huber loss",
            used_with="use_huber",
        ),
        options.mse_or_mae(not_built="the absolute-value loss"),
        options.intensive(),
    ]


def _check(cfg: EnerLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_prefactors(cfg, _TERMS, path)
    yield from check_choice(cfg.loss_func, ("mse", "mae"), join(path, "loss_func"))
    yield from check_at_least(cfg, 0, ["relative_f", "numb_generalized_coord"], path)
    deltas = cfg.huber_delta if isinstance(cfg.huber_delta, tuple) else (cfg.huber_delta,)
    if isinstance(cfg.huber_delta, tuple) and len(deltas) != 3:
        yield Problem(
            join(path, "huber_delta"), f"found {len(deltas)} numbers; give one, or three: energy, force, virial."
        )
    elif min(deltas) <= 0:
        yield Problem(join(path, "huber_delta"), f"found {min(deltas)}; it must be positive.")


ENER = Component(
    "ener",
    EnerLossConfig,
    _options,
    _check,
    alias=("ener_hess",),  # an older name, from when the Hessian was a loss of its own; DeePMD-kit 3.2 still takes it
    doc="Errors of energy, force and virial, and of what follows from them.",
)
