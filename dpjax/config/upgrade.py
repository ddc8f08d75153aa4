"""Inputs of earlier DeePMD-kit versions in the current form."""

from __future__ import annotations

from typing import Any


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``data`` in the current form."""
    return dict(data)
