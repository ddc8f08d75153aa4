"""How likely each system is to give the next batch, and how many steps an epoch has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dpjax.errors import ConfigError

_SUM_TOLERANCE = 1e-6  # of user-written probabilities, which may be rounded


def system_probabilities(
    batches: Sequence[int],
    auto_prob: str = "prob_sys_size",
    sys_probs: Sequence[float] | None = None,
    where: str = "training/training_data",
) -> np.ndarray:
    """Probability of each system, summing to 1.

    Args:
        batches: batches of each system in one pass.
        auto_prob: ``prob_uniform``, ``prob_sys_size`` (proportional to ``batches``), or
            ``prob_sys_size;start:end:weight;...``: weights of blocks of systems, inside a block proportional to
            ``batches``; systems in no block get 0.
        sys_probs: one probability per system, overriding ``auto_prob``; negative ones share what is left in proportion
            to ``batches``.
        where: path of the data section, for messages.

    Raises:
        ConfigError: a rule is malformed or does not fit the number of systems.
    """
    count = np.asarray(batches, dtype=np.float64)
    if sys_probs is not None:
        return _given(np.asarray(sys_probs, dtype=np.float64), count, f"{where}/sys_probs")
    rule = auto_prob.strip()
    if rule == "prob_uniform":
        return np.full(len(count), 1.0 / len(count))
    if rule == "prob_sys_size":
        return count / count.sum()
    if rule.startswith("prob_sys_size;"):
        return _blocks(rule.split(";")[1:], count, f"{where}/auto_prob")
    raise ConfigError(
        f"{where}/auto_prob is {auto_prob!r}; expected `prob_uniform`, `prob_sys_size` or "
        "`prob_sys_size;start:end:weight;...`."
    )


def _given(probs: np.ndarray, count: np.ndarray, path: str) -> np.ndarray:
    if len(probs) != len(count):
        raise ConfigError(f"{path} has {len(probs)} entries, but {len(count)} systems take part. Give one per system.")
    free = probs < 0
    total = probs[~free].sum()
    if not np.isfinite(total) or total > 1 + _SUM_TOLERANCE:
        raise ConfigError(f"{path}: the non-negative entries sum to {total:g}; expected at most 1.")
    if not free.any() and total < 1 - _SUM_TOLERANCE:
        raise ConfigError(f"{path} sums to {total:g}; expected 1. Write -1 for systems that shall share the rest.")
    out = probs.copy()
    if free.any():
        out[free] = max(0.0, 1 - total) * count[free] / count[free].sum()
    return out / out.sum()


Block = tuple[int, int, float]
"""First system, the one after the last, weight."""


def _blocks(texts: list[str], count: np.ndarray, path: str) -> np.ndarray:
    out = np.zeros(len(count))
    blocks = parsed_blocks(texts, len(count), path)
    total = sum(weight for _, _, weight in blocks)
    for start, end, weight in blocks:
        out[start:end] = weight / total * count[start:end] / count[start:end].sum()
    return out


def parsed_blocks(texts: Sequence[str], n_system: int, path: str) -> list[Block]:
    """The blocks of a rule ``prob_sys_size;start:end:weight;...``, given what stands between the semicolons.

    Raises:
        ConfigError: one is malformed or out of range, two overlap, or no weight is positive.
    """
    taken = np.zeros(n_system, dtype=bool)
    parsed = [_block(text, n_system, path) for text in texts if text.strip()]
    total = sum(weight for _, _, weight in parsed)
    if not total > 0 or not math.isfinite(total):
        raise ConfigError(f"{path}: the block weights sum to {total:g}; expected at least one positive weight.")
    for start, end, _ in parsed:
        if taken[start:end].any():
            raise ConfigError(f"{path}: block {start}:{end} overlaps an earlier one. Put every system into one block.")
        taken[start:end] = True
    return parsed


def _block(text: str, n_system: int, path: str) -> Block:
    try:
        start, end, weight = text.split(":")
        block = int(start), int(end), float(weight)
    except ValueError:
        raise ConfigError(f"{path}: block {text.strip()!r} is not `start:end:weight`, for example `0:2:0.3`.") from None
    if not (0 <= block[0] < block[1] <= n_system and block[2] >= 0):
        raise ConfigError(
            f"{path}: block {text.strip()!r} is out of range; expected 0 <= start < end <= {n_system} (number of "
            "systems) and weight >= 0."
        )
    return block


def steps_per_epoch(batches: Sequence[int], probabilities: Sequence[float]) -> int:
    """Steps after which every system that can be drawn is expected to have given all its batches.

    Args:
        batches: batches of each system in one pass.
        probabilities: of each system; those with 0 do not count.
    """
    expected = max(n / p for n, p in zip(batches, probabilities, strict=True) if p > 0)
    return _round_up(expected)


def steps_of_epochs(numb_epoch: float, batches: Sequence[int], probabilities: Sequence[float]) -> int:
    """Number of steps for ``numb_epoch`` epochs; see ``steps_per_epoch``."""
    return _round_up(numb_epoch * steps_per_epoch(batches, probabilities))


def _round_up(value: float) -> int:
    """The next whole number, except that 73.00000000000001, a rounding error above 73, stays 73."""
    return math.ceil(value * (1 - 1e-12))
