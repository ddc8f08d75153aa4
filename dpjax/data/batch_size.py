"""The ``batch_size`` rules: how many frames of each system make a batch, and which systems take part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dpjax.errors import ConfigError

_DEFAULT_ATOMS = 32  # `auto` without a number


@dataclass(frozen=True)
class BatchSizes:
    """Batch sizes of the systems that take part.

    Attributes:
        kept: positions of these systems in the list given; all unless the rule is ``filter:N``.
        sizes: frames per batch of each kept system; may exceed its number of frames.
        batches: batches of each kept system in one pass, the last short one included.
        mixed: 0, or with the rule ``mixed:N`` the N frames that a batch takes from all systems; each is drawn by itself, so
            that sizes are 1 and batches are frames.
    """

    kept: tuple[int, ...]
    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    mixed: int = 0


def batch_sizes(
    rule: int | str | Sequence[int],
    n_atom: Sequence[int],
    n_frame: Sequence[int],
    where: str = "training/training_data",
) -> BatchSizes:
    """Applies a ``batch_size`` rule.

    Args:
        rule: a number; one number per system; ``auto`` or ``auto:N`` (least frames with at least N atoms, N = 32);
            ``max:N`` (most frames with at most N atoms, but one); ``filter:N`` (the same without larger systems);
            ``mixed:N`` (N frames of any systems).
        n_atom, n_frame: atoms and frames of each system.
        where: path of the data section, for messages.

    Raises:
        ConfigError: the rule is unknown, not positive, does not fit the number of systems or drops all of them.
    """
    path = f"{where}/batch_size"
    kept = tuple(range(len(n_atom)))
    mixed = 0
    if isinstance(rule, str):
        kind, target = _parse(rule, path)
        if kind == "filter":
            kept = _small_enough(target, n_atom, path)
        mixed = target if kind == "mixed" else 0
        sizes = [
            1 if mixed else -(-target // n_atom[i]) if kind == "auto" else max(1, target // n_atom[i]) for i in kept
        ]
    elif isinstance(rule, int):
        sizes = [_positive(rule, path)] * len(kept)
    else:
        if len(rule) != len(n_atom):
            raise ConfigError(
                f"{path} lists {len(rule)} sizes, but {len(n_atom)} systems were found. Give one number per system "
                "(a folder counts as the systems below it), a single number, or `auto`."
            )
        sizes = [_positive(size, f"{path}[{i}]") for i, size in enumerate(rule)]
    batches = tuple(-(-n_frame[i] // size) for i, size in zip(kept, sizes, strict=True))
    return BatchSizes(kept, tuple(sizes), batches, mixed)


def _parse(rule: str, path: str) -> tuple[str, int]:
    match = re.fullmatch(r"(auto|max|filter|mixed)(?::(\d+))?", rule.strip())
    if match is None or (match[2] is None and match[1] != "auto"):
        raise ConfigError(
            f"{path} is {rule!r}; expected a number, a list of numbers, `auto`, `auto:N`, `max:N`, `filter:N` or `mixed:N`."
        )
    return match[1], _positive(int(match[2] or _DEFAULT_ATOMS), path)


def _positive(size: int, path: str) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigError(f"{path} is {size!r}; expected a whole number of at least 1.")
    return size


def _small_enough(limit: int, n_atom: Sequence[int], path: str) -> tuple[int, ...]:
    kept = tuple(i for i, count in enumerate(n_atom) if count <= limit)
    if not kept:
        raise ConfigError(
            f"{path} is 'filter:{limit}', but the smallest of the {len(n_atom)} systems has {min(n_atom)} "
            "atoms: none is left. Raise the limit, or use `max:N`."
        )
    return kept
