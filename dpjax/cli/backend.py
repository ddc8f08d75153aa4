"""DeePMD-kit's choice of a backend (``dp --pt train ...``): scripts that make it work, and are told that it changes nothing."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

BACKENDS = (
    "jax", "tensorflow", "tf", "tensorflow2", "tf2", "pytorch", "pt", "pytorch-exportable", "pt-expt", "paddle", "pd",
    "dpmodel", "dp", "numpy", "np",
)  # fmt: skip
NAMED = ("-b", "--backend")  # take a value; every other option of the frame takes none

log = logging.getLogger("dpjax.cli.backend")


def add_backend_options(parser: argparse.ArgumentParser, shown: bool = False) -> None:
    """Adds ``--backend NAME`` and a flag per name; ``shown``: in the help too."""
    text = (
        "--tf, --pt, --pd and so on: accepted for scripts written for DeePMD-kit; dpjax computes with JAX, and says so"
    )
    group = parser.add_argument_group("backend") if shown else parser
    choice = {"action": _Backend, "choices": BACKENDS, "metavar": "NAME", "help": text if shown else argparse.SUPPRESS}
    try:
        group.add_argument(*NAMED, **choice)
    except argparse.ArgumentError:  # the command has a -b of its own
        group.add_argument(NAMED[1], **choice)
    for name in BACKENDS:
        group.add_argument(f"--{name}", action=_Backend, nargs=0, const=name, help=argparse.SUPPRESS)


def say_what_computes(args: argparse.Namespace) -> None:
    """One line where a backend other than JAX was asked for."""
    asked = getattr(args, "backend", None)
    if asked:
        log.info("%s changes nothing: dpjax has one backend, JAX", asked)


def first_word(argv: Sequence[str]) -> str | None:
    """The first word of a command line that is neither an option nor the name of a backend."""
    for before, word in zip(("", *argv), argv):
        if not word.startswith("-") and before not in NAMED:
            return word
    return None


class _Backend(argparse.Action):
    """Keeps the option as it was typed, unless it asks for what dpjax does."""

    def __init__(self, option_strings: list[str], dest: str, **rest) -> None:
        super().__init__(
            option_strings, "backend", default=argparse.SUPPRESS, **rest
        )  # keeps what stands before the verb

    def __call__(self, parser, namespace, values, option_string=None):
        name = self.const or values
        if name != "jax":
            namespace.backend = option_string if self.const else f"{option_string} {name}"
