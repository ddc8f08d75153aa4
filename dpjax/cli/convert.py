"""``dpjax convert``: a model in another format; the ending of the output names it."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("input", metavar="INPUT", help="model file or checkpoint folder")
    parser.add_argument(
        "output", metavar="OUTPUT", help="file to write: .dp (HDF5) or .yaml, both readable by DeePMD-kit"
    )


def run(args: argparse.Namespace) -> None:
    """Converts."""
    import dpjax

    dpjax.save(dpjax.load(args.input), args.output)
    print(f"wrote {args.output}")
