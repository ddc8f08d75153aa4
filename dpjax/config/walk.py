"""Checks an input against the option tree and fills in defaults.

dargs knows the tree, but stops at the first mistake and does not say which key was meant.  This walk removes comments and
reports everything that is wrong: unknown or misspelt keys, unknown types, missing keys, wrong types.  What it returns
holds only what was right, so that the checks of the other sections can still run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dargs import Argument

from dpjax.config.problems import Problem, Report
from dpjax.config.schema import Types
from dpjax.config.suggestions import did_you_mean, found, join, nearest, show
from dpjax.config.values import bad_item, describe, describe_all, matches_any


def is_comment(key: str, known: dict[str, Any]) -> bool:
    """Keys that start with ``_`` or are ``comment`` or ``$schema`` are remarks, unless the section declares them."""
    return key not in known and (key.startswith("_") or key in ("comment", "comments", "$schema"))


def normalized(argument: Argument, value: Any, report: Report, path: str = "", root: Argument | None = None) -> Any:
    """A copy of ``value`` without comments, with aliases resolved and defaults filled in.

    Args:
        argument: what ``value`` should be.
        value: a section.
        report: takes every mistake; keys with a mistake are left out of the copy.
        path: where the section stands, for messages.
        root: the tree in which a misplaced key is looked up; ``argument`` when absent.
    """
    return argument.normalize_value(checked(argument, value, report, path, root) or {})


def checked(argument: Argument, value: Any, report: Report, path: str = "", root: Argument | None = None) -> Any:
    """What is right in ``value``, comments removed, None where nothing is; arguments as for :func:`normalized`."""
    root = root or argument
    wrong = list(_wrong_type(argument, value, path))
    if wrong:
        report.extend(wrong)
        return None
    if not (argument.sub_fields or argument.sub_variants):
        return value
    if argument.repeat and isinstance(value, list):
        items = [_section(argument, v, report, join(path, i), root) for i, v in enumerate(value)]
        return None if None in items else items
    if argument.repeat and isinstance(value, dict):
        named = {k: v for k, v in value.items() if not is_comment(str(k), {})}
        sections = {k: _section(argument, v, report, join(path, k), root) for k, v in named.items()}
        return None if None in sections.values() else sections
    return _section(argument, value, report, path, root) if isinstance(value, dict) else value


def _section(argument: Argument, value: Any, report: Report, path: str, root: Argument) -> dict | None:
    if not isinstance(value, dict):
        report.add(path, f"{found(value)}, expected dict.")
        return None
    wrong = [p for variant in argument.sub_variants.values() for p in _wrong_choice(variant, value, path)]
    if wrong:
        report.extend(wrong)
        return None
    options = options_of(argument, value)
    kept = {k: v for k, v in value.items() if not is_comment(str(k), options)}
    out = {}
    for key, item in kept.items():
        wrong = list(_wrong_key(options, key, kept, path, root))
        report.extend(wrong)
        if wrong:
            continue
        before = len(report.problems)
        inside = checked(options[key], item, report, join(path, key), root)
        if inside is not None or len(report.problems) == before:
            out[key] = inside
    for option in options.values():
        report.extend(p for p in _missing(option, kept, path) if not report.touches(p.path))
    return out


def options_of(argument: Argument, section: dict) -> dict[str, Argument]:
    """Every key of a section, aliases included, with its option; for a section with types, those of its type."""
    table = dict(argument.sub_fields)
    for variant in argument.sub_variants.values():
        table["type"] = Argument("type", str, optional=variant.optional, doc=variant.doc)
        table.update(choice_of(variant, section).sub_fields)
    for option in list(table.values()):
        table.update(dict.fromkeys(option.alias, option))
    return table


def choice_of(variant: Types, section: dict) -> Argument:
    """The options of the type that a section names; the type must be a valid one."""
    name = section.get("type", variant.registry.default)
    return variant.choice_dict[variant.choice_alias.get(name, name)]


def valid_keys(argument: Argument, place: str = "") -> Iterator[tuple[str, str]]:
    """Every (section, key) below ``argument``, aliases included; a type is written as in ``learning_rate[exp]``.

    Sections that repeat what stands elsewhere (the parts of a linear model) are left out.
    """
    for option in argument.sub_fields.values():
        for name in (option.name, *option.alias):
            yield place, name
        if not option.fold_subdoc:
            yield from valid_keys(option, join(place, option.name))
    for variant in argument.sub_variants.values():
        for name, choice in variant.choice_dict.items():
            yield from valid_keys(choice, f"{place}[{name}]")


def _wrong_choice(variant: Types, section: dict, path: str) -> Iterator[Problem]:
    here = join(path, "type")
    registry = variant.registry
    name = section.get("type", registry.default or None)
    choices = f"Choose one of: {', '.join(registry.built)}."
    later = [c for c in variant.choice_dict if c not in registry.built]
    choices += f" Not built yet: {', '.join(later)}." if later else ""
    if name is None:
        yield Problem(here, f"missing; it is required. {choices}")
    elif not isinstance(name, str):
        yield Problem(here, f"{found(name)}, expected str. {choices}")
    elif name not in variant.choice_dict and name not in variant.choice_alias:
        guess = did_you_mean(name, [*variant.choice_dict, *variant.choice_alias])
        yield Problem(here, f"unknown {registry.kind} {name!r}.{guess} {choices}")


def _wrong_key(options: dict[str, Argument], key: Any, section: dict, path: str, root: Argument) -> Iterator[Problem]:
    here = join(path, key)
    if key not in options:
        advice = _advice(str(key), options, path, root)
        yield Problem(here, f"unknown key, found with value {show(section[key])}. {advice}")
        return
    option = options[key]
    twice = [k for k in (option.name, *option.alias) if k in section]
    if len(twice) > 1:
        text = f"given {len(twice)} times, as {', '.join(twice)}; these mean the same. Keep one."
        yield Problem(join(path, option.name), text)


def _advice(key: str, options: dict[str, Argument], path: str, root: Argument) -> str:
    """Where a misplaced key belongs, or the nearest valid key, or all of them."""
    places = list(dict.fromkeys(place or "the top level" for place, name in valid_keys(root) if name == key))
    if places:
        more = f" and {len(places) - 4} other sections" if len(places) > 5 else ""
        return f"`{key}` belongs to {' or '.join(places[:4] if more else places)}{more}."
    guess = nearest(key, options)
    if guess:
        return f"Did you mean `{join(path, guess)}`?"
    return f"Valid keys here: {', '.join(sorted(options))}."


def _missing(option: Argument, section: dict, path: str) -> Iterator[Problem]:
    if not option.optional and not any(k in section for k in (option.name, *option.alias)):
        example = f" ({describe_all(option.dtype)})"
        yield Problem(join(path, option.name), f"missing; it is required{example}. {option.doc}".rstrip())


def _wrong_type(argument: Argument, value: Any, path: str) -> Iterator[Problem]:
    accepted = getattr(argument, "accepted", argument.dtype)
    if matches_any(value, accepted):
        return
    at = bad_item(value, argument.dtype)
    if at is not None:
        inner = " or ".join(sorted({describe(a.__args__[0]) for a in argument.dtype if hasattr(a, "__args__")}))
        yield Problem(join(path, at), f"{found(value[at])}, expected {inner}.")
        return
    yield Problem(path or "input", f"{found(value)}, expected {describe_all(argument.dtype)}.{_hint(argument, value)}")


def _hint(argument: Argument, value: Any) -> str:
    """What to write instead, for the slips that happen most."""
    if isinstance(value, str) and {int, float} & set(argument.dtype):
        try:
            number = float(value)
        except ValueError:
            return ""
        if not math.isfinite(number):
            return " Numbers must be finite."
        return f" Write the number without quotes: {int(number) if number.is_integer() else number}."
    if isinstance(value, float) and not math.isfinite(value):
        return " Numbers must be finite."
    if isinstance(value, float) and value.is_integer() and int in argument.dtype:
        return f" Write {int(value)}."
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no") and bool in argument.dtype:
        return " Write true or false without quotes."
    if isinstance(value, int) and list[int] in argument.dtype:
        return f" Write a list: [{value}]."
    return ""
