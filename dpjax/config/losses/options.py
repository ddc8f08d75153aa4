"""Options that several losses have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dpjax.config.checks import check_at_least
from dpjax.config.problems import Problem
from dpjax.config.schema import Option

NUMBER = [int, float]


def prefactors(
    letter: str, what: str, file: str, start: float, limit: float, dtype: Any = None, **rest: Any
) -> list[Option]:
    """The two prefactors of a term; ``rest`` as for :class:`Option`, ``dtype`` is number unless given."""
    doc = f"Prefactor of the {what} term (label {file}) "
    dtype = dtype or NUMBER
    at_end = "when the learning rate has become zero. A term counts only if both of its prefactors are non-zero."
    return [
        Option(f"start_pref_{letter}", dtype, doc + "at the start.", start, **rest),
        Option(f"limit_pref_{letter}", dtype, doc + at_end, limit, **rest),
    ]


def check_prefactors(cfg: Any, letters: Iterable[str], path: str) -> Iterator[Problem]:
    """Prefactors must not be negative, and one term at least must be active."""
    letters = list(letters)
    keys = [f"{end}_pref_{letter}" for letter in letters for end in ("start", "limit")]
    negative = list(check_at_least(cfg, 0, keys, path))
    yield from negative
    if not negative and not any(getattr(cfg, f"start_pref_{x}") and getattr(cfg, f"limit_pref_{x}") for x in letters):
        yield Problem(
            path,
            "no term is active. A term counts only if its start and its limit prefactor are both non-zero, for example "
            f"start_pref_{letters[0]} 1 and limit_pref_{letters[0]} 1.",
        )
