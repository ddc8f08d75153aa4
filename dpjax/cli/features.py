"""Arguments that `dpjax eval-desc` and `dpjax embed` have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpjax.cli.models import add_head_option
from dpjax.cli.test import listed_systems

DTYPES = ("fp32", "fp64", "native")


def add_feature_arguments(parser: argparse.ArgumentParser, dtype: str) -> None:
    """Adds the model, the data and the precision, ``dtype`` where none is asked for."""
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="model file or checkpoint folder")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "-s",
        "--system",
        nargs="+",
        default=["."],
        metavar="DIR",
        help="systems, or folders that hold systems (default: .)",
    )
    source.add_argument("-f", "--datafile", metavar="FILE", help="file that names a system on each line")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=dtype,
        help=f"precision of the file; native: the model's own (default: {dtype})",
    )
    add_head_option(parser)


def systems_of(args: argparse.Namespace) -> list[str]:
    """Paths of the systems or of the folders that hold them."""
    return listed_systems(Path(args.datafile)) if args.datafile else args.system
