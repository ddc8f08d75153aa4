"""Words for errors: the nearest valid name, and values and types as a user would write them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def join(path: str, key: str | int) -> str:
    """``path/key`` without a leading slash."""
    return f"{path}/{key}" if path else str(key)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that looks most like ``name``, or None when nothing does."""
    by_lower = {v.lower(): v for v in valid}
    found = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`` Did you mean `x`?`` or nothing."""
    found = nearest(name, valid)
    return f" Did you mean `{found}`?" if found else ""


def show(value: Any) -> str:
    """A value as it would stand in the input file, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def found(value: Any) -> str:
    """``found '1000' (str)``."""
    text = repr(value) if isinstance(value, str) else show(value)
    return f"found {text} ({type(value).__name__})" if value is not None else "found null"
