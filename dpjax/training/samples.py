"""Which frames statistics are taken from: drawn ones for the environment, all for the outputs; fewer where there are very many."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from dpjax.data import Sampler, System

log = logging.getLogger(__name__)

ENVIRONMENT_FRAMES = 10_000  # at most, beside those that bring types which no other frame has
OUTPUT_FRAMES = 100_000  # at most, but one of each system
CHUNK = 1000  # frames whose values are read at once

Drawn = list[tuple[int, np.ndarray]]
"""Frames of systems, by their positions."""


def sampled_frames(sampler: Sampler, systems: Sequence[System], n_batch: int, seed: int) -> Drawn:
    """For every system the frames of at most ``n_batch`` randomly drawn batches; of some systems where that is very many."""
    sizes = [min(systems[s].n_frame, n_batch * size) for s, size in zip(sampler.kept, sampler.batch_sizes, strict=True)]
    taken = _enough(sizes, [systems[s] for s in sampler.kept], seed)
    drawn = []
    for place in taken:
        system = sampler.kept[place]
        rng = np.random.default_rng([seed, 2, system])
        frames = rng.permutation(systems[system].n_frame)[: sizes[place]]
        drawn.append((system, np.sort(frames)))
    return drawn


def labelled_frames(systems: Sequence[System], label: str) -> Iterator[tuple[System, np.ndarray]]:
    """The frames of the systems that have a label, in chunks; evenly spaced ones where there are very many."""
    found = [system for system in systems if system.found.get(label)]
    total = sum(system.n_frame for system in found)
    if total > OUTPUT_FRAMES:
        log.info(
            "statistics of %s are taken from about %d of its %d frames", label, max(OUTPUT_FRAMES, len(found)), total
        )
    for system in found:
        number = system.n_frame if total <= OUTPUT_FRAMES else max(1, system.n_frame * OUTPUT_FRAMES // total)
        frames = np.linspace(0, system.n_frame - 1, number).astype(int)
        for start in range(0, number, CHUNK):
            yield system, frames[start : start + CHUNK]


def _enough(sizes: Sequence[int], systems: Sequence[System], seed: int) -> Sequence[int]:
    """Positions of all systems, or of random ones with enough frames together, and of one for each type that these lack."""
    if sum(sizes) <= ENVIRONMENT_FRAMES:
        return range(len(sizes))
    order = np.random.default_rng([seed, 3]).permutation(len(sizes))
    number = 1 + int(np.searchsorted(np.cumsum(np.array(sizes)[order]), ENVIRONMENT_FRAMES))
    taken, rest = order[:number].tolist(), order[number:].tolist()
    seen = set().union(*(_types(systems[place]) for place in taken))
    for place in rest:
        new = _types(systems[place]) - seen
        if new:
            taken.append(place)
            seen |= new
    log.info(
        "statistics of the environment are taken from %d of %d systems (%d frames)",
        len(taken), len(sizes), sum(sizes[place] for place in taken),
    )  # fmt: skip
    return sorted(taken)


def _types(system: System) -> set[int]:
    """Types that occur in a system, as far as is known without reading all its frames."""
    known = system.lookup[system.reader.used_types] if system.mixed else system.types
    return {int(t) for t in known if t >= 0}
