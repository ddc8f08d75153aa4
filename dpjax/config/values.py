"""Does a value have the type an option declares?  Stricter than Python: true is not a number.

An integer is accepted where a float is declared, as in JSON ``1`` and ``1.0`` are the same number; NaN and infinities, which
Python's JSON reader lets through, are not numbers here.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin


def matches(value: Any, annotation: Any) -> bool:
    """Whether ``value`` is of the type ``annotation`` (int, float, str, bool, None, list[...], dict[...], unions)."""
    if annotation is None or annotation is type(None):
        return value is None
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(matches(value, a) for a in args)
    if origin is list:
        return isinstance(value, list | tuple) and all(matches(v, args[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(matches(k, args[0]) and matches(v, args[1]) for k, v in value.items())
    if annotation is list:
        return isinstance(value, list | tuple)
    if annotation in (int, float):
        numbers = (int, float) if annotation is float else int
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, annotation)


def matches_any(value: Any, annotations: Iterable[Any]) -> bool:
    """Whether ``value`` is of one of the types."""
    return any(matches(value, a) for a in annotations)


def describe(annotation: Any) -> str:
    """A type as a user would say it: ``list of int``, ``null``."""
    if annotation is None or annotation is type(None):
        return "null"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args)
    if origin is list:
        inner = describe(args[0])
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    if origin is dict:
        return f"dict of {describe(args[1])}"
    return getattr(annotation, "__name__", str(annotation))


def describe_all(annotations: Iterable[Any]) -> str:
    """Alternatives joined by "or", in a stable order with null last."""
    return " or ".join(sorted((describe(a) for a in annotations), key=lambda s: (s == "null", s)))


def bad_item(value: Any, annotations: Iterable[Any]) -> int | None:
    """Index of the first list entry of a wrong type, where exactly that is what is wrong."""
    items = [get_args(a)[0] for a in annotations if get_origin(a) is list]
    if not items or not isinstance(value, list | tuple):
        return None
    return next((i for i, v in enumerate(value) if not matches_any(v, items)), None)
