"""Options that the scripts of this folder share, with messages that say what to do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from common import FLAGS, PRECISIONS, WATER, cores


def new_parser(doc: str, *, repeat: int = 3, peers: Sequence[str] = tuple(FLAGS)) -> argparse.ArgumentParser:
    """A parser that shows ``doc`` as help and has the options of all scripts."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=whole, default=repeat, help=f"runs of each program (default: {repeat})")
    parser.add_argument(
        "--threads", type=whole, default=len(cores()), help="cores and threads of each program (default: all)"
    )
    parser.add_argument("--only", nargs="+", choices=("dpjax", *peers), help="leave the others out")
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the numbers as JSON")
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=system, nargs="+", default=WATER, metavar="DIR",
        help="systems with types O H (default: examples/water)",
    )  # fmt: skip


def add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=amount,
        default=600.0,
        metavar="S",
        help="seconds after which a run is given up (default: 600)",
    )


def add_length(parser: argparse.ArgumentParser, steps: int = 120, interval: int = 20, skip: int = 40) -> None:
    """How long a training is watched; :func:`parsed` checks that something of it counts."""
    parser.add_argument("--steps", type=whole, default=steps, help=f"steps of each run (default: {steps})")
    parser.add_argument(
        "--interval", type=whole, default=interval, help=f"steps between two looks at the clock (default: {interval})"
    )
    parser.add_argument(
        "--skip", type=int, default=skip, help=f"steps at the start that do not count (default: {skip})"
    )


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of a script with :func:`add_length`; ends with a message where no interval is left after ``--skip``."""
    args = parser.parse_args()
    if args.skip + args.interval > args.steps:
        parser.error("--steps must leave at least one --interval after --skip: raise --steps or lower the others")
    return args


def add_setting(parser: argparse.ArgumentParser) -> None:
    """One batch size and one precision."""
    parser.add_argument("--batch", type=whole, default=1, help="frames in a batch (default: 1)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float64", help="of both networks (default: float64)"
    )


def whole(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; give a whole number, 1 or larger")
    return int(text)


def amount(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}; give a number above zero")
    return value


def system(text: str) -> Path:
    """A folder in the deepmd/npy layout."""
    path = Path(text).absolute()
    if not (path / "type.raw").is_file():
        raise argparse.ArgumentTypeError(f"{text} has no file type.raw; give a system in the deepmd/npy layout")
    return path


def output_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written; give a file in a folder that exists")
    return path
