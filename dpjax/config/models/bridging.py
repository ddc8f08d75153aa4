"""Bridging: at short distances an analytical repulsion takes over from the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dpjax.config.elements import ELEMENTS
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option
from dpjax.config.suggestions import did_you_mean, join

_R_INNER, _R_OUTER = 0.5, 0.8
_OFF = ("none", "")
_ENERGIES = ("ener", "dpa4_ener")  # fitting nets


def bridging_options(*, newer: bool = False) -> list[Option]:
    """``bridging_method`` and its radii; ``newer`` where only DeePMD-kit 3.2 has them."""
    method = (
        "Repulsion that takes over between atoms that are very close: `ZBL` (screened nuclear charges; type_map must then hold "
        "element symbols) or `None`. Case does not matter."
    )
    inner = (
        "Distance in angstrom below which the network sees no change; the atoms it sees are then this far apart. Leave out "
        "training frames with closer pairs by min_pair_dist."
    )
    outer = "Distance in angstrom above which the network sees the true distance. Used with bridging_method."
    kept = {"used_with": "bridging_method"}
    return [
        _option("bridging_method", str, method, "None", newer, {}),
        _option("bridging_r_inner", float, inner, _R_INNER, newer, kept),
        _option("bridging_r_outer", float, outer, _R_OUTER, newer, kept),
    ]


def _option(name: str, dtype: type, doc: str, default: Any, newer: bool, rest: dict[str, str]) -> Option:
    return (
        Option(name, dtype, doc, newer=True, neutral=default, **rest)
        if newer
        else Option(name, dtype, doc, default, **rest)
    )


def bridged(cfg: Any) -> bool:
    """Whether a model asks for bridging."""
    return (cfg.bridging_method or "").lower() not in _OFF


def bridge_of(cfg: Any) -> tuple[float, float] | None:
    """The inner and the outer distance, angstrom; None without bridging."""
    if not bridged(cfg):
        return None
    given = cfg.bridging_r_inner, cfg.bridging_r_outer
    return tuple(default if r is None else r for r, default in zip(given, (_R_INNER, _R_OUTER), strict=True))


def check_bridging(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The rules of :func:`bridging_options`."""
    if not bridged(cfg):
        return
    here = join(path, "bridging_method")
    if cfg.bridging_method.lower() != "zbl":
        guess = did_you_mean(cfg.bridging_method, ("ZBL", "None"))
        yield Problem(here, f"found {cfg.bridging_method!r}.{guess} Choose one of: None, ZBL.")
    unknown = [name for name in context.type_map if name not in ELEMENTS]
    if unknown:
        text = f"found {cfg.bridging_method!r}, which needs element symbols in type_map, but {', '.join(unknown)} "
        yield Problem(here, text + ("is none." if len(unknown) == 1 else "are none."))
    yield from _check_networks(cfg, here)
    inner, outer = bridge_of(cfg)
    if inner <= 0:
        yield Problem(join(path, "bridging_r_inner"), f"found {inner}; it must be a positive length in angstrom.")
    elif inner >= outer:
        text = f"found {inner} with bridging_r_outer {outer}; it must be less than bridging_r_outer."
        yield Problem(join(path, "bridging_r_inner"), text)
    elif outer >= getattr(cfg.descriptor, "rcut", math.inf):
        text = f"found {outer}; it must be less than the cut-off descriptor/rcut, which is {cfg.descriptor.rcut}."
        yield Problem(join(path, "bridging_r_outer"), text)


def _check_networks(cfg: Any, path: str) -> Iterator[Problem]:
    """Only dpa4 knows how to look away from close atoms, and the repulsion is added to an energy."""
    descriptor, fitting = cfg.raw["descriptor"]["type"], cfg.raw["fitting_net"]["type"]
    if descriptor != "dpa4":
        yield Problem(
            path, f'found {cfg.bridging_method!r}, which needs a dpa4 descriptor, not {descriptor}. Set it to "None".'
        )
    if fitting not in _ENERGIES:
        text = f'found {cfg.bridging_method!r}, but the fitting net {fitting} predicts no energy. Set it to "None".'
        yield Problem(path, text)
