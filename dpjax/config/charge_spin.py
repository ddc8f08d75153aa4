"""Charge and spin of a frame as inputs of a model: which models take them, and which numbers they may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpjax.config.problems import Problem
from dpjax.config.suggestions import join, show

RANGES = (("charge", -100, 99), ("spin", 0, 99))
"""Name and bounds of both numbers: whole numbers in between have a trained vector, and digits after the point are cut off."""


def takes_charge_spin(descriptor: Any) -> bool:
    """Whether a descriptor, or one of those in a hybrid, is told charge and spin of the frame."""
    return bool(_takers(descriptor))


def default_charge_spin(descriptor: Any) -> tuple[float, float] | None:
    """Charge and spin of frames that give none; None: each must give them, or no descriptor takes them.

    The members of a hybrid are given the same charge and spin, so what they have is a default only if all that take them agree.
    """
    defaults = {taker.default_chg_spin for taker in _takers(descriptor)}
    return defaults.pop() if len(defaults) == 1 else None


def _takers(descriptor: Any) -> list[Any]:
    members = getattr(descriptor, "list", (descriptor,))
    return [member for member in members if getattr(member, "add_chg_spin_ebd", None)]


def check_chg_spin(default_chg_spin: tuple[float, ...] | None, used: bool, path: str) -> Iterator[Problem]:
    """``default_chg_spin`` must be a charge and a spin; where they are ``used``, there must be vectors for them."""
    if default_chg_spin is None:
        return
    if len(default_chg_spin) != len(RANGES):
        yield Problem(path, f"found {len(default_chg_spin)} numbers; give two: the charge and the spin, as in [0, 1].")
        return
    for i, (name, least, most) in enumerate(RANGES):
        if used and not within(default_chg_spin[i], least, most):
            text = f"found {show(default_chg_spin[i])}; the {name} must lie between {least} and {most}."
            yield Problem(join(path, i), text)


def within(value: Any, least: int, most: int) -> Any:
    """Whether numbers, without their digits after the point, lie between two others that enclose zero; NaN does not."""
    return (least - 1 < value) & (value < most + 1)
