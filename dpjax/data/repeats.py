"""Frames that a pass through the data takes several times: copies, and block weights of ``auto_prob``.

``numb_copy.npy`` of a system says of each frame how often it counts.  Block weights matter here where a file holds frames of many
origins, as LMDB environments do: batches take frames of one size, whatever their origin, so that origins cannot be drawn like
systems. Instead a pass takes frames as often as the blocks need to have the shares that their weights ask for, each at least once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpjax.data.probability import Block, parsed_blocks
from dpjax.errors import ConfigError


@dataclass(frozen=True)
class Repeats:
    """How often a pass through one system takes its frames.

    Attributes:
        blocks: for each block with frames in the system, these frames and how many are taken of them, at least all.
    """

    blocks: tuple[tuple[np.ndarray, int], ...]

    @property
    def n_frame(self) -> int:
        """Frames that a pass takes."""
        return sum(target for _, target in self.blocks)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """The frames of a pass in random order; which of them are taken once more than the others is random, too."""
        parts = [np.zeros(0, np.int64)]
        for frames, target in self.blocks:
            times, rest = divmod(target, len(frames))
            parts += [np.tile(frames, times), rng.choice(frames, rest, replace=False)]
        return rng.permutation(np.concatenate(parts))


def copies_of(system: Any) -> Repeats | None:
    """How often a pass takes the frames of a system with ``copies``; None where it takes each once."""
    if getattr(system, "copies", None) is None:
        return None
    frames = _counted(system)
    return Repeats(((frames, len(frames)),))


def _counted(system: Any) -> np.ndarray:
    """The frames of a system, each as often as it counts."""
    frames, copies = np.arange(system.n_frame), getattr(system, "copies", None)
    return frames if copies is None else np.repeat(frames, copies)


def repeats_of(systems: Sequence[Any], kept: Sequence[int], auto_prob: str, path: str) -> list[Repeats] | None:
    """Repeats for each of the systems that take part; None where systems are drawn by their probability alone.

    Args:
        systems: all systems; those with an attribute ``origins`` bring their own, the others count as one origin each.
        kept: positions of those that take part.
        auto_prob: the rule; its blocks number the origins of all systems in order.
        path: of the rule in the input, for messages.

    Raises:
        ConfigError: the rule is malformed.
    """
    given = [getattr(system, "origins", None) for system in systems]
    rule = auto_prob.strip()
    if not rule.startswith("prob_sys_size;") or not any(given):
        return None
    ids, number = _numbered(systems, given)
    blocks = parsed_blocks(rule.split(";")[1:], number, path)
    block_of = np.full(number, -1)
    for place, (start, end, weight) in enumerate(blocks):
        block_of[start:end] = place if weight > 0 else -1  # weight 0, like no block: never drawn
    members = []
    for s in kept:
        frames = _counted(systems[s])
        members.append([frames[block_of[ids[s][frames]] == place] for place in range(len(blocks))])
    counts = np.array([[len(frames) for frames in own] for own in members])
    if not counts.any():
        raise ConfigError(f"{path} is {auto_prob!r}, but none of its blocks with a weight has a frame that takes part.")
    shares = _shared_out(block_targets(blocks, counts.sum(axis=0)), counts)
    return [
        Repeats(tuple((f, int(n)) for f, n in zip(own, share, strict=True) if len(f)))
        for own, share in zip(members, shares, strict=True)
    ]


def block_targets(blocks: Sequence[Block], frames: np.ndarray) -> np.ndarray:
    """Frames that a pass takes of each block: in proportion to the weights, and never fewer than it has.

    Args:
        blocks: with their weights; one without frames does not count.
        frames: (n_block,) that each has.
    """
    weights = np.array([weight if n else 0.0 for (_, _, weight), n in zip(blocks, frames, strict=True)])
    if not weights.any():
        return np.zeros(len(blocks), int)
    share = weights / weights.sum()
    total = math.ceil(max(n / p for n, p in zip(frames.tolist(), share.tolist(), strict=True) if p))
    return np.array(
        [max(round(total * p), n) if p else 0 for n, p in zip(frames.tolist(), share.tolist(), strict=True)]
    )


def _numbered(systems: Sequence[Any], given: Sequence[Any]) -> tuple[list[np.ndarray], int]:
    """The origin of each frame of each system, numbered through all systems, and how many there are."""
    first: dict[str, int] = {}
    ids, number = [], 0
    for system, origins in zip(systems, given, strict=True):
        if origins is None:
            ids.append(np.full(system.n_frame, number))
            number += 1
            continue
        if origins.source not in first:
            first[origins.source] = number
            number += origins.number
        ids.append(first[origins.source] + origins.ids)
    return ids, number


def _shared_out(targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n_system, n_block) what each system contributes to the targets: in proportion to its frames, largest remainders first."""
    shares = counts.copy()
    for block, target in enumerate(targets.tolist()):
        own, whole = counts[:, block], int(counts[:, block].sum())
        if not whole:
            continue
        more, remainder = np.divmod((target - whole) * own, whole)
        ranked = np.argsort(-remainder, kind="stable")[: target - whole - int(more.sum())]
        more[ranked] += 1
        shares[:, block] = own + more
    return shares
