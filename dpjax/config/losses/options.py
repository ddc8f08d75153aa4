"""Options that several losses have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dpjax.config.checks import check_at_least, check_choice
from dpjax.config.problems import Problem
from dpjax.config.schema import Option
from dpjax.config.suggestions import join, show

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


def relative_force(**rest: Any) -> Option:
    """``relative_f``; ``rest`` as for :class:`Option`, here and below."""
    doc = "Divide force errors by the length of the labelled force plus this number (eV/angstrom)."
    return Option("relative_f", [float, None], doc, **rest)


def atom_ener_coeff(**rest: Any) -> Option:
    """``enable_atom_ener_coeff``."""
    doc = "Weigh atomic energies by atom_ener_coeff.npy in the energy."
    return Option("enable_atom_ener_coeff", bool, doc, False, **rest)


def mse_or_mae(**rest: Any) -> Option:
    """``loss_func`` of losses for energies."""
    return Option("loss_func", str, "`mse` (squares) or `mae` (absolute values).", "mse", **rest)


def intensive(**rest: Any) -> Option:
    """``intensive_ener_virial``."""
    doc = "Divide squared energy and virial errors by the square of the number of atoms instead of the number."
    return Option("intensive_ener_virial", bool, doc, False, **rest)


def loss_measure(words: Iterable[str]) -> Option:
    """``loss_func`` of losses that choose among several measures of error."""
    doc = (
        f"Measure of the error that is minimised: {', '.join(words)}. smooth_mae is quadratic for errors below beta and "
        "linear above."
    )
    return Option("loss_func", str, doc, "smooth_mae")


def metric(words: Iterable[str]) -> Option:
    """``metric``."""
    doc = f"Measures of error that the learning curve shows; any of {', '.join(words)}."
    return Option("metric", list, doc, ["mae"])


def smooth_beta() -> Option:
    """``beta``."""
    return Option("beta", NUMBER, "Size of an error at which smooth_mae turns from quadratic to linear.", 1.0)


def check_metric(names: Iterable[Any], words: Iterable[str], path: str) -> Iterator[Problem]:
    """``metric`` must hold some of the words."""
    for i, name in enumerate(names):
        if isinstance(name, str):
            yield from check_choice(name, words, join(path, i))
        else:
            yield Problem(join(path, i), f"found {show(name)}; choose one of: {', '.join(words)}.")
