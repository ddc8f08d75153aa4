"""What each option means in this version: it takes effect, belongs to a part that is not built, or cannot apply.

The facts stand with the options themselves (:class:`~dpjax.config.schema.Option`, :class:`~dpjax.config.schema.Component`);
here they become a table for ``dpjax show-options``, and the refusals of an input that asks for what is not built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dargs import Argument

from dpjax.config.problems import Problem
from dpjax.config.schema import Types
from dpjax.config.suggestions import join, show
from dpjax.config.walk import choice_of, options_of

EFFECTIVE, NOT_APPLICABLE = "effective", "not applicable"
PENDING, REFUSED = "pending", "refused"  # not built: of the list that dpjax follows, and beyond it
NOT_BUILT = PENDING, REFUSED


@dataclass(frozen=True)
class Meaning:
    """A row of the table.

    Attributes:
        path: of the option, types written as in ``model[standard]/descriptor[se_e2_a]/sel``.
        status: ``effective``, ``pending``, ``refused`` or ``not applicable``.
        reason: the part that is not built, or why the option cannot apply and what is done instead.
        newer: whether the list of options that dpjax follows lacks it.
    """

    path: str
    status: str
    reason: str = ""
    newer: bool = False


def table(arguments: Iterable[Argument]) -> list[Meaning]:
    """The meaning of every leaf option below ``arguments``; sections that repeat others are left out."""
    return [row for argument in arguments for row in _rows(argument, argument.name, "", False)]


def _rows(option: Argument, path: str, waits: str, newer: bool) -> Iterator[Meaning]:
    newer = newer or getattr(option, "newer", False)
    inside = not option.fold_subdoc and (option.sub_fields or option.sub_variants)
    if not inside:
        yield leaf(option, path, waits, newer)
        return
    waits = waits or getattr(option, "not_built", "")
    yield from _section_rows(option, path, waits, newer)


def _section_rows(section: Argument, path: str, waits: str, newer: bool) -> Iterator[Meaning]:
    for option in section.sub_fields.values():
        yield from _rows(option, join(path, option.name), waits, newer)
    for variant in section.sub_variants.values():
        yield Meaning(join(path, variant.flag_name), _status(waits, newer), waits, newer)
        for name, choice in variant.choice_dict.items():
            component = variant.registry[name]
            why = waits or ("" if component.built else f"the {variant.registry.kind} {name}")
            yield from _section_rows(choice, f"{path}[{name}]", why, newer or component.newer)


def leaf(option: Any, path: str, waits: str = "", newer: bool = False) -> Meaning:
    """The row of one option; ``waits`` names what the section around it waits for."""
    reason = option.no_effect or option.refused
    if reason:
        return Meaning(path, NOT_APPLICABLE, reason, newer)
    waits = waits or option.not_built
    return Meaning(path, _status(waits, newer), waits, newer)


def _status(waits: str, newer: bool) -> str:
    return EFFECTIVE if not waits else REFUSED if newer else PENDING


def refusals(section: Argument, value: dict, path: str = "") -> Iterator[Problem]:
    """What a normalised section asks for and this version cannot do."""
    for variant in section.sub_variants.values():
        problem = _not_built_type(variant, value, join(path, variant.flag_name))
        if problem is not None:
            yield problem
            return  # what stands inside waits for the same
        component = variant.registry[choice_of(variant, value).name]
        yield from component.lacks(value, path)
    options = options_of(section, value)
    for key, item in value.items():
        option, here = options[key], join(path, key)
        problem = _refusal(option, item, here) if key != "type" else None
        if problem is not None:
            yield problem
        elif option.sub_fields or option.sub_variants:
            yield from _inner(option, item, here)


def _inner(option: Argument, item: Any, path: str) -> Iterator[Problem]:
    if option.repeat:
        named = item.items() if isinstance(item, dict) else enumerate(item)
        for name, inner in named:
            yield from refusals(option, inner, join(path, name))
    elif isinstance(item, dict):
        yield from refusals(option, item, path)


def _not_built_type(variant: Types, section: dict, path: str) -> Problem | None:
    registry, name = variant.registry, choice_of(variant, section).name
    if registry[name].built:
        return None
    has = f"; this version has: {', '.join(registry.built)}" if registry.built else ""
    return Problem(path, f"{registry.kind} {name!r} is not built yet{has}.")


def _refusal(option: Any, value: Any, path: str) -> Problem | None:
    if _asks_nothing(value, option.neutral) or option.used_with:
        return None
    remedy = f"Set it to {show(option.neutral)} or remove it." if option.neutral is not None else "Remove the key."
    if option.refused:
        return Problem(path, f"found {show(value)}, but {option.refused}. {remedy}")
    if option.not_built:
        return Problem(path, f"found {show(value)}, but {option.not_built} is not built yet in this version. {remedy}")
    return None


def _asks_nothing(value: Any, neutral: Any) -> bool:
    """Whether a value is the neutral one; 0 is not false, but 0.0, and case does not matter in words."""
    if value is None:
        return True
    if isinstance(value, str) and isinstance(neutral, str):
        return value.lower() == neutral.lower()
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)


def without_effect(section: Argument, value: dict, path: str = "") -> Iterator[Problem]:
    """Options that were set to something and change nothing, with what is done instead."""
    options = options_of(section, value)
    for key, item in value.items():
        option, here = options[key], join(path, key)
        if getattr(option, "no_effect", "") and item != option.neutral:
            yield Problem(here, f"{show(item)} changes nothing: {option.no_effect}.")
        elif isinstance(item, dict) and not option.repeat and (option.sub_fields or option.sub_variants):
            yield from without_effect(option, item, here)
