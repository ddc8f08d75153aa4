"""Options of the ``loc_frame`` descriptor: neighbours seen from a frame of axes that two of them span; not smooth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_positive
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join, show

_RULE = 3  # numbers per axis: class of the neighbour, its type, its rank by distance


@dataclass(frozen=True)
class LocFrameConfig:
    """Hyper-parameters of ``loc_frame``; lengths in angstrom."""

    sel_a: tuple[int, ...]  # per neighbour type: seen with their coordinates
    sel_r: tuple[int, ...]  # per neighbour type: seen with their distance, after those of sel_a
    axis_rule: tuple[
        int, ...
    ]  # per centre type: (class, type, rank) of the neighbour on each of two axes; may be empty
    rcut: float = 6.0

    # There are no networks, so there are no such options: coordinates are computed as they come.
    precision = "default"
    trainable = True
    seed = None

    @property
    def sel(self) -> tuple[int, ...]:
        """Neighbours of each type that are seen at all."""
        return tuple(a + r for a, r in zip(self.sel_a, self.sel_r, strict=True))


def _options() -> list[Option]:
    return [
        Option(
            "sel_a",
            list[int],
            "How many neighbours of each type are seen with all their coordinates, the nearest first: one number per entry of "
            "type_map.",
            REQUIRED,
        ),
        Option(
            "sel_r",
            list[int],
            "How many neighbours of each type, after those of sel_a, are seen with their distance only. sel_a and sel_r "
            "together should cover all neighbours within rcut.",
            REQUIRED,
        ),
        Option("rcut", float, "Cut-off radius in angstrom: an atom sees the neighbours up to this distance.", 6.0),
        Option(
            "axis_rule",
            list[int],
            "Which neighbours lie on the first and second axis of an atom's frame: twice three numbers per type of the "
            "atom. They are the class of the neighbour (0: of sel_a, 1: of sel_r), its type, and its rank by distance "
            "among those, from 0. A negative type leaves it open: one of the nearest of every type but one, t, which is -(t + 1) "
            "for class 0 and -t for class 1. An empty list takes the first two neighbours.",
            REQUIRED,
        ),
    ]


def _check(cfg: LocFrameConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_positive(cfg, ["rcut"], path)
    wrong = [*_check_counts(cfg, path, context)]
    yield from wrong
    if not wrong:
        yield from _check_rules(cfg, join(path, "axis_rule"))


def _check_counts(cfg: LocFrameConfig, path: str, context: Context) -> Iterator[Problem]:
    """One number of neighbours per type, and enough of them to span a frame."""
    n_type = len(context.type_map) or max(len(cfg.sel_a), len(cfg.sel_r))
    names = f" ({', '.join(context.type_map)})" if context.type_map else ""
    for key in ("sel_a", "sel_r"):
        sel = getattr(cfg, key)
        if len(sel) != n_type:
            text = f"found {len(sel)} entries {show(sel)}; give one number for each of the {n_type} types{names}."
            yield Problem(join(path, key), text)
        elif any(n < 0 for n in sel):
            yield Problem(join(path, key), f"found {show(sel)}; a number of neighbours must not be negative.")
    if sum(cfg.sel_a) + sum(cfg.sel_r) < 2:
        text = (
            f"found {show(cfg.sel_a)} with sel_r {show(cfg.sel_r)}; at least two neighbours must count to span a frame."
        )
        yield Problem(join(path, "sel_a"), text)


def _check_rules(cfg: LocFrameConfig, path: str) -> Iterator[Problem]:
    """Two rules per type, or none at all."""
    expected = 2 * _RULE * len(cfg.sel_a)
    if len(cfg.axis_rule) not in (0, expected):
        text = f"found {len(cfg.axis_rule)} numbers, expected {expected}: six for each of the {len(cfg.sel_a)} types."
        yield Problem(path, f"{text} An empty list takes the first two neighbours.")
        return
    for start in range(0, len(cfg.axis_rule), _RULE):
        yield from _check_rule(cfg, start, path)


def _check_rule(cfg: LocFrameConfig, start: int, path: str) -> Iterator[Problem]:
    """The rule that begins at ``start`` must name a neighbour that can exist; a negative type leaves the choice open."""
    kind, atype, rank = cfg.axis_rule[start : start + _RULE]
    if kind not in (0, 1):
        text = f"found {kind}; the class of a neighbour on an axis is 0 (of sel_a) or 1 (of sel_r)."
        yield Problem(join(path, start), text)
        return
    name, sel = (("sel_a", cfg.sel_a), ("sel_r", cfg.sel_r))[kind]
    if atype >= len(sel):
        text = f"found type index {atype}, but there are {len(sel)} types; use indices from 0 to {len(sel) - 1}."
        yield Problem(join(path, start + 1), text)
    elif rank < 0:
        yield Problem(join(path, start + 2), f"found {rank}; ranks by distance count from 0.")
    elif atype >= 0 and sum(sel[:atype]) + rank >= sum(sel):
        text = f"found {rank}, but {name} keeps {sel[atype]} neighbours of type {atype}; ranks count from 0."
        yield Problem(join(path, start + 2), text)


LOC_FRAME = Component(
    "loc_frame",
    LocFrameConfig,
    _options,
    _check,
    doc="Coordinates of the neighbours in a frame that two of them span; not smooth at the cut-off.",
)
