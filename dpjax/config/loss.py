"""The ``loss`` section.

Each term has a prefactor that moves with the learning rate from ``start_pref`` to ``limit_pref``; a term exists only if
both are non-zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpjax.config.schema import Component, Context, Option, Registry
from dpjax.errors import ConfigError

_NUMBER = [int, float]


@dataclass(frozen=True, kw_only=True)
class EnerLossConfig:
    """Loss of energy models; terms other than energy, force and virial keep their neutral values in this version."""

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


def _prefactors(letter: str, what: str, file: str, start: float, limit: float, **rest: Any) -> list[Option]:
    """The two prefactors of a term."""
    doc = f"Prefactor of the {what} term (label {file}) "
    return [
        Option(
            f"start_pref_{letter}",
            rest.get("dtype", _NUMBER),
            doc + "at the start.",
            start,
            not_built=rest.get("not_built", ""),
        ),
        Option(
            f"limit_pref_{letter}",
            rest.get("dtype", _NUMBER),
            doc + "when the learning rate has become zero. A term counts only if both of its prefactors are non-zero.",
            limit,
            not_built=rest.get("not_built", ""),
        ),
    ]


def _ener_options() -> list[Option]:
    later = "the {} term of the energy loss"
    return [
        *_prefactors("e", "energy", "energy.npy", 0.02, 1.0),
        *_prefactors("f", "force", "force.npy", 1000, 1.0),
        *_prefactors("v", "virial", "virial.npy", 0.0, 0.0),
        *_prefactors("h", "Hessian", "hessian.npy", 0.0, 0.0, not_built=later.format("Hessian")),
        *_prefactors("ae", "atomic energy", "atom_ener.npy", 0.0, 0.0, not_built=later.format("atomic energy")),
        *_prefactors("pf", "weighted force", "atom_pref.npy", 0.0, 0.0, not_built=later.format("weighted force")),
        *_prefactors(
            "gf", "generalised force", "drdq.npy", 0.0, 0.0, not_built=later.format("generalised force"), dtype=float
        ),
        *_form_options(),
    ]


def _form_options() -> list[Option]:
    return [
        Option(
            "use_default_pf",
            bool,
            "Take 1 for every atom where atom_pref.npy is missing.",
            False,
            not_built="the weighted force term of the energy loss",
        ),
        Option(
            "relative_f",
            [float, None],
            "Divide force errors by the length of the labelled force plus this number (eV/angstrom).",
            not_built="the relative force error",
        ),
        Option(
            "enable_atom_ener_coeff",
            bool,
            "Weigh atomic energies by atom_ener_coeff.npy in the energy.",
            False,
            not_built="the weighted sum of atomic energies",
        ),
        Option(
            "numb_generalized_coord", int, "Number of generalised coordinates; used with the generalised force term.", 0
        ),
        Option(
            "use_huber",
            bool,
            "Huber form: quadratic for small errors, linear for large ones.",
            False,
            not_built="the Huber loss",
        ),
        Option(
            "loss_func", str, "`mse` (squares) or `mae` (absolute values).", "mse", not_built="the absolute-value loss"
        ),
        Option(
            "f_use_norm",
            bool,
            "Take the length of a force error instead of its components.",
            False,
            not_built="the loss on lengths of force errors",
        ),
        Option(
            "huber_delta",
            [list[float], float],
            "Where the Huber form turns from quadratic to linear; one number, or one each for energy, force and "
            "virial. Used with "
            "use_huber.",
            0.01,
        ),
        Option(
            "intensive_ener_virial",
            bool,
            "Divide squared energy and virial errors by the square of the number of atoms instead of the number.",
            False,
        ),
    ]


def _check_ener(cfg: EnerLossConfig, path: str, context: Context) -> None:
    for letter in "efv":
        for key in (f"start_pref_{letter}", f"limit_pref_{letter}"):
            if getattr(cfg, key) < 0:
                raise ConfigError(f"{path}/{key}: found {getattr(cfg, key)}; a prefactor must not be negative.")
    if not any(getattr(cfg, f"start_pref_{x}") and getattr(cfg, f"limit_pref_{x}") for x in "efv"):
        raise ConfigError(
            f"{path}: no term is active. A term counts only if its start and its limit prefactor are both non-zero, "
            "for example "
            "start_pref_f 1000 and limit_pref_f 1."
        )


LOSSES = Registry(
    "loss",
    (Component("ener", EnerLossConfig, _ener_options, _check_ener, doc="Energy, force and virial."),),
    planned=("dens", "ener_spin", "dos", "property", "tensor"),
    default="ener",
    doc="Which errors are minimised.",
)


def argument() -> Option:
    """The ``loss`` argument."""
    return Option("loss", dict, "What training minimises.", sub_variants=[LOSSES.variant()])
