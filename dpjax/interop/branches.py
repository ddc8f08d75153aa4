"""Choosing one of the branches that DeePMD-kit's files of several tasks hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpjax.errors import ModelError

DEFAULT = "Default"  # alias of the branch that DeePMD-kit takes where none is chosen


def aliases(definition: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The branches of a stored definition and their other names; none of a single model."""
    branches = definition.get("model_dict", {})
    return {name: tuple(branch.get("model_branch_alias") or ()) for name, branch in branches.items()}


def chosen(branches: Mapping[str, Sequence[str]], head: str | None, path: Path) -> str:
    """The name of the branch to read; "" where there are none.

    Args:
        branches: names and their aliases.
        head: which branch, or an alias of it; None: the one with the alias ``Default``.
        path: of the file, for messages.

    Raises:
        ModelError: there is no such branch, or there are several and none was chosen.
    """
    if not branches:
        if head is not None:
            raise ModelError(f"head {head!r}: {path} holds a single model without branches; leave head out")
        return ""
    wanted = DEFAULT if head is None else head
    for name, others in branches.items():
        if wanted == name or wanted in others:
            return name
    asked = "none was chosen" if head is None else f"{head!r} is not among them"
    raise ModelError(
        f"{path} holds several models and {asked}. Name one with head: {', '.join(branches)}, as in dpjax.load(..., "
        f"head={next(iter(branches))!r})."
    )
