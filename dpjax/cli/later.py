"""Arguments of the commands that are not built yet, for their help: DeePMD-kit's, so that scripts can be planned."""

from __future__ import annotations

import argparse
from typing import Any

Flag = tuple[tuple[str, ...], dict[str, Any]]


def _option(*names: str, metavar: str, help: str, **rest: Any) -> Flag:
    """An option with a value."""
    return names, {"metavar": metavar, "help": help, **rest}


_HEAD = _option("--head", "--model-branch", metavar="NAME", help="branch of a model with several")

COMPRESS = (
    _option("-i", "--input", metavar="MODEL", help="model file or checkpoint folder"),
    _option("-o", "--output", metavar="FILE", help="file to write"),
    _option("-s", "--step", metavar="H", help="distance of nodes where the data lie; beyond, ten times that (default: 0.01)"),
    _option("-e", "--extrapolate", metavar="X", help="the table ends at X times the largest input seen (default: 5)"),
    _option("-f", "--frequency", metavar="N", help="check every N steps that no input left the table (default: -1, never)"),
    _option("-c", "--checkpoint-folder", metavar="DIR", help="folder for intermediate files (default: model-compression)"),
    _option("-t", "--training-script", metavar="INPUT", help="input that the model was trained with, where it holds none itself"),
    _HEAD,
    _option("-m", "--mpi-log", metavar="HOW", help="which process writes messages: master, collect or workers (default: master)"),
)  # fmt: skip

ARGUMENTS: dict[str, tuple[Flag, ...]] = {
    "compress": COMPRESS,
}


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds the arguments that a command will have."""
    for names, rest in ARGUMENTS[name]:
        parser.add_argument(*names, **rest)
