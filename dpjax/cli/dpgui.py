"""What DP-GUI shows of dpjax: it calls the entry points of its group ``dpgui`` and encodes what they return with dargs."""

from __future__ import annotations

from dargs import Argument

GROUP = "dpgui"  # of the entry points in pyproject.toml


def single_task() -> list[Argument]:
    """The sections of an input with one model."""
    from dpjax.config import arguments

    return arguments()


def multi_task() -> list[Argument]:
    """The sections of an input with several models."""
    from dpjax.config import arguments

    return arguments(multi_task=True)
