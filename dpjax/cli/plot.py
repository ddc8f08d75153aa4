"""``dpjax plot``: the learning curve of a training as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("lcurve", nargs="?", default="lcurve.out", metavar="LCURVE", help="default: lcurve.out")
    parser.add_argument("-o", "--output", metavar="FILE", help="picture, PNG, PDF or SVG (default: LCURVE with .png)")


def run(args: argparse.Namespace) -> None:
    """Draws and says where the picture is."""
    from dpjax.plotting import plot_learning_curve

    output = Path(args.output) if args.output else Path(args.lcurve).with_suffix(".png")
    print(f"wrote {plot_learning_curve(args.lcurve, output)}")
