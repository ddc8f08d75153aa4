"""Exceptions for mistakes a user can make and for limits a run can meet.

Every message names the file or configuration path, what was found, what was expected and what to do about it.
``assert`` is for our own mistakes; these classes are for everybody else's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class DPError(Exception):
    """Base of every error that dpjax raises on purpose."""


class ConfigError(DPError, ValueError):
    """The input file asks for something unknown, malformed or impossible; the message names the path of the key.

    Attributes:
        problems: the mistakes one by one (``path`` and ``text`` each) where the message is about several.
    """

    def __init__(self, message: str, problems: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class DataError(DPError, ValueError):
    """A data file is missing, truncated, inconsistent or holds values no model can use; the message names the file."""


class ModelError(DPError, ValueError):
    """A model file or weight tree does not fit the model that is to be built from it."""


class CapacityError(DPError, RuntimeError):
    """A fixed-size array was too small for the neighbours or atoms it had to hold; grow it and run again."""


class NonFiniteError(DPError, FloatingPointError):
    """A loss, gradient or prediction became NaN or infinite."""


class HostError(DPError, RuntimeError):
    """Another process of a training is gone; the checkpoints that were saved before stay."""


class OutputError(DPError, OSError):
    """A result could not be written; the message names the path, and nothing saved before is lost."""
