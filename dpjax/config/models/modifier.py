"""The ``modifier`` section of a model: a correction that is added to the prediction of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from dpjax.config.checks import check_per_type, check_positive
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import join


@dataclass(frozen=True, eq=False)
class DipoleModel:
    """The model that a modifier names, as it was read.

    Attributes:
        config: its ``ModelConfig``, with its conventions.
        variables: its collections.
    """

    config: Any
    variables: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DipoleChargeConfig:
    """Electrostatics of ions and Wannier centroids at long range."""

    model_name: str
    model_charge_map: tuple[float, ...]  # in units of the elementary charge
    sys_charge_map: tuple[float, ...]
    ewald_beta: float = 0.4  # 1/angstrom
    ewald_h: float = 1.0  # angstrom
    type: str = "dipole_charge"
    # once it is read; no option of the input
    dipole: DipoleModel | None = field(default=None, compare=False, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """What the input says."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dipole"}


def _options() -> list[Option]:
    return [
        Option(
            "model_name",
            str,
            "File of a trained dipole model, which says where the Wannier centroids are relative to their atoms.",
            REQUIRED,
        ),
        Option(
            "model_charge_map",
            list[float],
            "Charge of the Wannier centroid in elementary charges, one for each type in sel_type of the dipole model.",
            REQUIRED,
        ),
        Option(
            "sys_charge_map",
            list[float],
            "Charge of the atoms themselves, without their centroids, in elementary charges; one per entry of type_map.",
            REQUIRED,
        ),
        Option(
            "ewald_beta",
            float,
            "Splitting parameter of the Ewald sum in 1/angstrom: the larger it is, the sharper are the smeared charges.",
            0.4,
        ),
        Option(
            "ewald_h",
            float,
            "Grid spacing in angstrom that sets how many reciprocal vectors are summed; smaller is more accurate and slower.",
            1.0,
        ),
    ]


def _check(cfg: DipoleChargeConfig, path: str, context: Context) -> Iterator[Problem]:
    if not cfg.model_name:
        yield Problem(join(path, "model_name"), "found an empty name; give the file of the dipole model.")
    if not cfg.model_charge_map:
        text = "found an empty list; give one charge for each type with a Wannier centroid."
        yield Problem(join(path, "model_charge_map"), text)
    if not cfg.sys_charge_map:
        yield Problem(join(path, "sys_charge_map"), "found an empty list; give one charge per type.")
    yield from check_per_type(cfg.sys_charge_map, context.type_map, "one charge", join(path, "sys_charge_map"))
    yield from check_positive(cfg, ["ewald_beta", "ewald_h"], path)


PARTS = ("models", "qm_model", "qmmm_model")  # options that hold models which are part of another


def check_use(cfg: Any, path: str) -> Iterator[Problem]:
    """A modifier belongs to a whole model of energies."""
    if cfg.modifier is None:
        return
    if set(path.split("/")) & set(PARTS):
        text = "found a section in a model that is part of another. Write it into the section of the whole, which it corrects once."
        yield Problem(join(path, "modifier"), text)
    output = getattr(getattr(cfg, "fitting_net", None), "output", None)
    if output is not None and output.label != "energy":
        text = f"found a section, but the fitting_net predicts {output.label} and the correction is one of energies. Remove it."
        yield Problem(join(path, "modifier"), text)


DIPOLE_CHARGE = Component(
    "dipole_charge",
    DipoleChargeConfig,
    _options,
    _check,
    doc="Ewald sum over the charges of ions and Wannier centroids, so that the network learns only the rest.",
)

MODIFIERS = Registry("modifier", (DIPOLE_CHARGE,), doc="Which correction is added.")


def argument() -> Option:
    """The ``modifier`` section."""
    return Option(
        "modifier",
        dict,
        "A correction that is added to what the network predicts, and taken off the labels before training.",
        sub_variants=[MODIFIERS.variant()],
    )


def parse(section: dict, path: str, context: Context) -> Any:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return MODIFIERS.parse(section, path, context)
