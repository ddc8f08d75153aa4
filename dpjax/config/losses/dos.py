"""Options of the ``dos`` loss, for models of the density of states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.losses.options import check_prefactors, prefactors
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option


@dataclass(frozen=True, kw_only=True)
class DosLossConfig:
    """Loss of models of the density of states."""

    start_pref_dos: float = 0.0
    limit_pref_dos: float = 0.0
    start_pref_cdf: float = 0.0
    limit_pref_cdf: float = 0.0
    start_pref_ados: float = 1.0
    limit_pref_ados: float = 1.0
    start_pref_acdf: float = 0.0
    limit_pref_acdf: float = 0.0
    type: str = "dos"


def _options() -> list[Option]:
    return [
        *prefactors("dos", "density of states", "dos.npy", 0.0, 0.0),
        *prefactors("cdf", "integrated density of states", "dos.npy", 0.0, 0.0),
        *prefactors("ados", "atomic density of states", "atom_dos.npy", 1.0, 1.0),
        *prefactors("acdf", "integrated atomic density of states", "atom_dos.npy", 0.0, 0.0),
    ]


def _check(cfg: DosLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_prefactors(cfg, ("dos", "cdf", "ados", "acdf"), path)


DOS = Component(
    "dos",
    DosLossConfig,
    _options,
    _check,
    doc="Errors of the density of states and of its running sum over energy, of the frame and of each atom.",
)
