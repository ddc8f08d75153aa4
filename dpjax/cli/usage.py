"""Mistakes on the command line that argparse does not see, and options of DeePMD-kit that are refused by name."""

from __future__ import annotations

import argparse
from typing import Any

USAGE = 2  # exit status of a mistake on the command line, as argparse has it


class UsageError(Exception):
    """Arguments that contradict each other or ask for what is not built; the message names them."""


class Refuse(argparse.Action):
    """An option that is known and refused.

    Args:
        reason: why, and what to do instead; goes on after the name of the option.
        allowed: values that ask for what happens anyway.
    """

    def __init__(self, option_strings: list[str], dest: str, reason: str, allowed: tuple = (), **rest: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, default=argparse.SUPPRESS, help=reason, **rest)
        self.reason, self.allowed = reason, allowed

    def __call__(self, parser, namespace, values, option_string=None):
        """Ends the program unless the value is harmless; without argparse's usage lines, for the spelling was right."""
        if values not in self.allowed:
            parser.exit(USAGE, f"{parser.prog}: error: {option_string}: {self.reason}\n")


class Refusals:
    """A group of a command's help with the options of DeePMD-kit that it refuses."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_argument_group("options of DeePMD-kit that are refused here")

    def flag(self, *names: str, reason: str) -> None:
        """Refuses an option without a value."""
        self._group.add_argument(*names, action=Refuse, nargs=0, reason=reason)

    def option(self, *names: str, metavar: str, reason: str, allowed: tuple[str, ...] = ()) -> None:
        """Refuses an option with a value, unless it is one of ``allowed``."""
        self._group.add_argument(*names, action=Refuse, metavar=metavar, reason=reason, allowed=allowed)

    def set_prefix(self) -> None:
        """Refuses DeePMD-kit's deprecated ``--set-prefix`` for any name but the one that sets of frames have."""
        reason = "sets of frames are folders whose names begin with `set`; rename them and drop the option"
        self.option("-S", "--set-prefix", metavar="NAME", reason=reason, allowed=("set",))
