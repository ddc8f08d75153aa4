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
    return [
        *prefactors("e", "energy", "energy.npy", 0.02, 1.0),
        *prefactors("f", "force", "force.npy", 1000, 1.0),
        *prefactors("v", "virial", "virial.npy", 0.0, 0.0),
        *prefactors("h", "Hessian", "hessian.npy", 0.0, 0.0),
        *prefactors("ae", "atomic energy", "atom_ener.npy", 0.0, 0.0),
        *prefactors("pf", "weighted force", "force.npy, with a weight for each atom in atom_pref.npy", 0.0, 0.0),
        *prefactors("gf", "generalised force", "force.npy, with dr/dq in drdq.npy", 0.0, 0.0, float),
        *_force_options(),
        *_form_options(),
    ]


def _force_options() -> list[Option]:
    return [
        Option("use_default_pf", bool, "Take 1 for every atom where atom_pref.npy is missing.", False),
        options.relative_force(),
        Option(
            "f_use_norm",
            bool,
            "Take the length of a force error instead of its components; needs loss_func mae or use_huber.",
            False,
        ),
        Option("numb_generalized_coord", int, "Number of generalised coordinates of the generalised force term.", 0),
    ]


def _form_options() -> list[Option]:
    return [
        options.atom_ener_coeff(),
        Option(
            "use_huber",
            bool,
            "Huber form of energy, force, virial and atomic energy: quadratic for small errors, linear for large ones.",
            False,
        ),
        Option(
            "huber_delta",
            [list[float], float],
            "Where the Huber form turns from quadratic to linear; one number, or one each for energy, force and virial. Used "
            "with use_huber.",
            0.01,
        ),
        options.mse_or_mae(),
        options.intensive(),
    ]


def _check(cfg: EnerLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_prefactors(cfg, _TERMS, path)
    yield from check_choice(cfg.loss_func, ("mse", "mae"), join(path, "loss_func"))
    yield from check_at_least(cfg, 0, ["relative_f", "numb_generalized_coord"], path)
    yield from _check_delta(cfg, join(path, "huber_delta"))
    yield from _check_huber(cfg, join(path, "use_huber"))
    if cfg.f_use_norm and not (cfg.use_huber or cfg.loss_func == "mae"):
        yield Problem(
            join(path, "f_use_norm"), "found true; it needs use_huber true or loss_func mae. Set one, or remove it."
        )
    if active(cfg, "gf") and cfg.numb_generalized_coord == 0:
        text = "found 0, but the generalised force term is active. Give their number, or set start_pref_gf to 0."
        yield Problem(join(path, "numb_generalized_coord"), text)


def _check_delta(cfg: EnerLossConfig, path: str) -> Iterator[Problem]:
    deltas = cfg.huber_delta if isinstance(cfg.huber_delta, tuple) else (cfg.huber_delta,)
    if isinstance(cfg.huber_delta, tuple) and len(deltas) != 3:
        yield Problem(path, f"found {len(deltas)} numbers; give one, or three: energy, force, virial.")
    elif min(deltas) <= 0:
        yield Problem(path, f"found {min(deltas)}; it must be positive.")


def _check_huber(cfg: EnerLossConfig, path: str) -> Iterator[Problem]:
    """Some terms have no Huber form."""
    if not cfg.use_huber:
        return
    asked = [f"start_pref_{letter}" for letter in ("pf", "gf", "h") if active(cfg, letter)]
    asked += [] if cfg.relative_f is None else ["relative_f"]
    if asked:
        yield Problem(
            path, f"found true, but {asked[0]} has no Huber form. Set use_huber to false, or remove {asked[0]}."
        )


def active(cfg: EnerLossConfig, letter: str) -> bool:
    """Whether the loss has the term."""
    return bool(getattr(cfg, f"start_pref_{letter}") and getattr(cfg, f"limit_pref_{letter}"))


def _idle(cfg: EnerLossConfig) -> Iterator[tuple[str, str]]:
    absolute, pf = cfg.loss_func == "mae", active(cfg, "pf")
    if cfg.use_huber and absolute:
        yield "use_huber", "loss_func mae is linear for all errors"
    if cfg.intensive_ener_virial and (absolute or cfg.use_huber):
        yield "intensive_ener_virial", "only squares can be divided by the number of atoms or by its square"
    if cfg.relative_f is not None and absolute and not pf:
        yield "relative_f", "with loss_func mae it is for the weighted force term alone, which is not active"
    if cfg.use_default_pf and not pf:
        yield "use_default_pf", "the weighted force term is not active"
    if cfg.numb_generalized_coord and not active(cfg, "gf"):
        yield "numb_generalized_coord", "the generalised force term is not active"


ENER = Component(
    "ener",
    EnerLossConfig,
    _options,
    _check,
    alias=("ener_hess",),  # an older name, from when the Hessian was a loss of its own; DeePMD-kit 3.2 still takes it
    doc="Errors of energy, force and virial, and of what follows from them.",
    idle=_idle,
)
