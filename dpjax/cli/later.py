"""Arguments of the commands that are not built yet, for their help: DeePMD-kit's, so that scripts can be planned."""

from __future__ import annotations

import argparse
from typing import Any

Flag = tuple[tuple[str, ...], dict[str, Any]]


def _option(*names: str, metavar: str, help: str, **rest: Any) -> Flag:
    """An option with a value."""
    return names, {"metavar": metavar, "help": help, **rest}


def _switch(*names: str, help: str) -> Flag:
    """An option without a value."""
    return names, {"action": "store_true", "help": help}


def _systems(what: str) -> tuple[Flag, Flag]:
    """The two ways to name data."""
    return (
        _option("-s", "--system", metavar="DIR", nargs="+", help=f"{what}: systems, or folders that hold systems (default: .)"),
        _option("-f", "--datafile", metavar="FILE", help="file that names a system on each line"),
    )  # fmt: skip


_MODEL = _option("-m", "--model", metavar="MODEL", help="model file or checkpoint folder")
_HEAD = _option("--head", "--model-branch", metavar="NAME", help="branch of a model with several")

EVAL_DESC = (
    _MODEL,
    *_systems("structures"),
    _option("-o", "--output", metavar="DIR", help="folder to write, a .npy file per system (default: desc)"),
    _option("--dtype", metavar="TYPE", help="fp32, fp64 or native, the model's own (default: native)"),
    _HEAD,
)

ARGUMENTS: dict[str, tuple[Flag, ...]] = {
    "eval-desc": EVAL_DESC,
}


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds the arguments that a command will have."""
    for names, rest in ARGUMENTS[name]:
        parser.add_argument(*names, **rest)
