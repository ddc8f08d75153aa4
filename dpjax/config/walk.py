"""Checks an input against the option tree before dargs fills in defaults.

dargs knows the tree, but its messages do not say which key was meant.  This walk removes comments, then reports the
first thing that is wrong: an unknown or misspelt key, a type this version lacks, a missing key, a wrong type, a feature
that is not built.  Every message starts with the path of the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dargs import Argument

from dpjax.config.schema import Types
from dpjax.config.suggestions import did_you_mean, found, join, nearest, show
from dpjax.config.values import bad_item, describe, describe_all, matches_any
from dpjax.errors import ConfigError


def is_comment(key: str, known: dict[str, Any]) -> bool:
    """Keys that start with ``_`` or are ``comment`` or ``$schema`` are remarks, unless the section declares them."""
    return key not in known and (key.startswith("_") or key in ("comment", "comments", "$schema"))


def checked(argument: Argument, value: Any, path: str = "", root: Argument | None = None) -> Any:
    """A copy of ``value`` without comments, after every key in it was found valid.

    Args:
        argument: what ``value`` should be.
        value: a section or the value of an option.
        path: where it stands, for messages.
        root: the tree in which a misplaced key is looked up; ``argument`` when absent.

    Raises:
        ConfigError: names the path, what was found, and the nearest valid key.
    """
    _check_type(argument, value, path)
    if not isinstance(value, dict) or not (argument.sub_fields or argument.sub_variants):
        return value
    root = root or argument
    options = _options(argument, value, path)
    kept = {k: v for k, v in value.items() if not is_comment(str(k), options)}
    for key in kept:
        _check_known(argument, options, key, kept, path, root)
    for option in options.values():
        _check_present(option, kept, path)
    out = {}
    for key, item in kept.items():
        option = options[key]
        here = join(path, key)
        _check_built(option, item, here)
        out[key] = checked(option, item, here, root)
    return out


def _options(argument: Argument, section: dict, path: str) -> dict[str, Argument]:
    """Every key of the section, aliases included, with its option; for a section with types, those of its type."""
    table = dict(argument.sub_fields)
    for variant in argument.sub_variants.values():
        table["type"] = Argument("type", str, optional=variant.optional, doc=variant.doc)
        table.update(_choice(variant, section, path).sub_fields)
    for option in list(table.values()):
        table.update(dict.fromkeys(option.alias, option))
    return table


def _choice(variant: Types, section: dict, path: str) -> Argument:
    here = join(path, "type")
    registry = variant.registry
    name = section.get("type", registry.default or None)
    built = [c.name for c in registry.components]
    if name is None:
        raise ConfigError(f"{here}: missing; it is required. Choose one of: {', '.join(built)}.")
    if not isinstance(name, str):
        raise ConfigError(f"{here}: {found(name)}, expected str, one of: {', '.join(built)}.")
    name = variant.choice_alias.get(name, name)
    if name in variant.choice_dict:
        return variant.choice_dict[name]
    if name in registry.planned:
        raise ConfigError(f"{here}: {registry.kind} {name!r} is not built yet; this version has: {', '.join(built)}.")
    guess = did_you_mean(name, [*built, *variant.choice_alias, *registry.planned])
    raise ConfigError(f"{here}: unknown {registry.kind} {name!r}.{guess} This version has: {', '.join(built)}.")


def _check_known(
    argument: Argument, options: dict[str, Argument], key: Any, section: dict, path: str, root: Argument
) -> None:
    here = join(path, key)
    if key in options:
        option = options[key]
        twice = [k for k in (option.name, *option.alias) if k in section]
        if len(twice) > 1:
            raise ConfigError(
                f"{here}: given {len(twice)} times, as {', '.join(twice)}; these mean the same. Keep one."
            )
        return
    planned = getattr(argument, "planned", {})
    if key in planned:
        raise ConfigError(f"{here}: {planned[key]} is not built yet in this version; remove the key.")
    advice = _advice(str(key), options, path, root)
    raise ConfigError(f"{here}: unknown key, found with value {show(section[key])}. {advice}")


def _advice(key: str, options: dict[str, Argument], path: str, root: Argument) -> str:
    """Where a misplaced key belongs, or the nearest valid key, or all of them."""
    places = sorted(place for place, name in valid_keys(root) if name == key)
    if places:
        return f"`{key}` belongs to {' or '.join(place or 'the top level' for place in places)}."
    guess = nearest(key, options)
    if guess:
        return f"Did you mean `{join(path, guess)}`?"
    return f"Valid keys here: {', '.join(sorted(options))}."


def valid_keys(argument: Argument, place: str = "") -> Iterator[tuple[str, str]]:
    """Every (section, key) below ``argument``, aliases included; a type is written as in ``learning_rate[exp]``."""
    for option in argument.sub_fields.values():
        for name in (option.name, *option.alias):
            yield place, name
        yield from valid_keys(option, join(place, option.name))
    for variant in argument.sub_variants.values():
        for name, choice in variant.choice_dict.items():
            yield from valid_keys(choice, f"{place}[{name}]")


def _check_present(option: Argument, section: dict, path: str) -> None:
    if option.optional or any(k in section for k in (option.name, *option.alias)):
        return
    example = f" ({describe_all(option.dtype)})"
    raise ConfigError(f"{join(path, option.name)}: missing; it is required{example}. {option.doc}".rstrip())


def _check_built(option: Argument, value: Any, path: str) -> None:
    reason = getattr(option, "not_built", "")
    if not reason or value is None or (matches_any(value, option.dtype) and value == option.neutral):
        return
    remedy = f"Set it to {show(option.neutral)} or remove it" if option.has_default else "Remove the key"
    raise ConfigError(f"{path}: found {show(value)}, but {reason} is not built yet in this version. {remedy}.")


def _check_type(argument: Argument, value: Any, path: str) -> None:
    if matches_any(value, argument.dtype):
        return
    at = bad_item(value, argument.dtype)
    if at is not None:
        items = [describe(a).removeprefix("list of ").strip("()") for a in argument.dtype if "list" in describe(a)]
        raise ConfigError(f"{join(path, at)}: {found(value[at])}, expected {' or '.join(items)}.")
    raise ConfigError(
        f"{path or 'input'}: {found(value)}, expected {describe_all(argument.dtype)}.{_hint(argument, value)}"
    )


def _hint(argument: Argument, value: Any) -> str:
    """What to write instead, for the slips that happen most."""
    if isinstance(value, str) and {int, float} & set(argument.dtype):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f" Write the number without quotes: {int(number) if number.is_integer() else number}."
    if isinstance(value, float) and value.is_integer() and int in argument.dtype:
        return f" Write {int(value)}."
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no") and bool in argument.dtype:
        return " Write true or false without quotes."
    if isinstance(value, int) and list[int] in argument.dtype:
        return f" Write a list: [{value}]."
    return ""
