"""Neighbour statistics of a data set, and the ``sel`` they suggest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dpjax.errors import ConfigError
from dpjax.neighbors.frames import FrameSource, default_workers, frame_table, in_threads

log = logging.getLogger(__name__)

DEFAULT_FACTOR = 1.1  # of "auto"


@dataclass(frozen=True)
class NeighborStat:
    """What the frames of a data set hold within a cut-off."""

    rcut: float  # angstrom
    min_nbor_dist: float  # angstrom; infinite when no two atoms are nearer than rcut
    max_nbor_size: tuple[int, ...]  # most neighbours of one atom: of each type, or one number of all types together
    type_map: tuple[str, ...]

    @property
    def mixed_type(self) -> bool:
        """Whether all types were counted together (also true for one type, where it is the same)."""
        return len(self.max_nbor_size) == 1


def neighbor_stat(
    systems: Sequence[FrameSource],
    rcut: float,
    type_map: Sequence[str],
    mixed_type: bool = False,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> NeighborStat:
    """Smallest pair distance and largest numbers of neighbours over all frames; one frame at a time in memory.

    Args:
        systems: data systems whose types are positions in ``type_map``.
        rcut: cut-off, angstrom.
        type_map: names of the types.
        mixed_type: count the neighbours of all types together: the largest total, not the total of the largest.
        limit: look at no more frames than this: evenly spaced ones, and those with most atoms.
        progress: called with the frames done and the frames in all.
        workers: threads; the number of cores by default.

    Raises:
        DataError: a frame with two atoms on one point, NaN coordinates or a singular cell; system and frame are named.
    """
    jobs = [(system, frame) for system in systems for frame in range(system.n_frame)]
    if limit is not None and len(jobs) > limit:
        log.info("neighbours are counted in %d of %d frames", limit, len(jobs))
        jobs = _some(jobs, limit)
    nearest = math.inf
    most = np.zeros(1 if mixed_type else len(type_map), np.int64)
    one = partial(_frame_extremes, n_type=len(type_map), rcut=rcut, mixed=mixed_type)
    for done, (dist, counts) in enumerate(in_threads(one, jobs, workers or default_workers()), 1):
        nearest, most = min(nearest, dist), np.maximum(most, counts)
        if progress is not None:
            progress(done, len(jobs))
    return NeighborStat(float(rcut), nearest, tuple(int(m) for m in most), tuple(type_map))


def _some(jobs: list[tuple[FrameSource, int]], limit: int) -> list[tuple[FrameSource, int]]:
    """Half of them evenly spaced, half those with most atoms; a frame may be in both."""
    largest = sorted(jobs, key=lambda job: -job[0].n_atom)[: limit // 2]
    even = np.linspace(0, len(jobs) - 1, limit - len(largest)).astype(int)
    return [*largest, *(jobs[i] for i in even)]


def _frame_extremes(job: tuple[FrameSource, int], n_type: int, rcut: float, mixed: bool) -> tuple[float, np.ndarray]:
    table, coord, cell = frame_table(*job, n_type, rcut)
    dist = np.linalg.norm(table.displacements(coord, cell), axis=1)
    counts = table.count.sum(axis=1, keepdims=True) if mixed else table.count
    return float(dist.min(initial=math.inf)), counts.max(axis=0, initial=0)


def suggest_sel(stat: NeighborStat, auto: str = "auto", *, path: str = "model/descriptor/sel") -> tuple[int, ...]:
    """The ``sel`` that ``auto`` or ``auto:factor`` stands for: largest count times factor, up to a multiple of four.

    Args:
        stat: of the training data at the descriptor's cut-off.
        auto: ``"auto"`` (factor 1.1) or ``"auto:1.3"``.
        path: place of the option, for messages.

    Raises:
        ConfigError: not of this form, or a factor below 1, which would cut neighbours off.
    """
    factor = _auto_factor(auto, path)
    return tuple(4 * -(-int(count * factor) // 4) for count in stat.max_nbor_size)


def update_sel(
    sel: str | int | Sequence[int], stat: NeighborStat, *, path: str = "model/descriptor/sel"
) -> tuple[int, ...]:
    """Resolves ``auto``; warns once, with types and numbers, where a given ``sel`` is too small for the data.

    Args:
        sel: as in the input: ``"auto[:factor]"``, one number for all types together, or one number per type.
        stat: of the training data at the descriptor's cut-off.
        path: place of the option, for messages.

    Returns:
        ``sel`` as a tuple of numbers; given numbers are not changed.

    Raises:
        ConfigError: the text is not of the form ``auto[:factor]``, or the number of entries does not fit.
    """
    if isinstance(sel, str):
        return suggest_sel(stat, sel, path=path)
    given = (int(sel),) if isinstance(sel, int | np.integer) else tuple(int(s) for s in sel)
    have = (sum(given),) if stat.mixed_type else given
    if len(have) != len(stat.max_nbor_size):
        raise ConfigError(
            f"{path}: {len(given)} entries, but type_map has {len(stat.type_map)} ({', '.join(stat.type_map)}). "
            'Give one number per type, or "auto".'
        )
    names = ("all types",) if stat.mixed_type and len(stat.type_map) != 1 else stat.type_map
    small = [
        f"{name}: sel {keep}, found {most}"
        for name, keep, most in zip(names, have, stat.max_nbor_size, strict=True)
        if keep < most
    ]
    if small:
        log.warning(
            "%s is smaller than the number of neighbours within %g angstrom in the training data (%s): the most distant "
            "ones are left out and the energy is not continuous there. \"auto\" would give %s.",
            path, stat.rcut, "; ".join(small), list(suggest_sel(stat)),
        )  # fmt: skip
    return given


def _auto_factor(auto: str, path: str) -> float:
    head, _, tail = auto.partition(":")
    try:
        factor = float(tail) if ":" in auto else DEFAULT_FACTOR
    except ValueError:
        factor = math.nan
    if head != "auto" or not 1.0 <= factor < math.inf:
        raise ConfigError(
            f'{path}: found {auto!r}; expected "auto" or "auto:factor" with a factor of at least 1, as in "auto:1.2".'
        )
    return factor
