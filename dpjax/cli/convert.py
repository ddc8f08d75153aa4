"""``dpjax convert``: a model in another format; the ending of the output names it."""

from __future__ import annotations

import argparse

from dpjax.cli.models import add_head_option, load_model
from dpjax.cli.usage import Refusals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    kinds = ".dp, .yaml, .dpx; .pt, .pth, .jax of DeePMD-kit"
    parser.add_argument("input", metavar="INPUT", help=f"model file ({kinds}) or checkpoint folder")
    add_head_option(parser)
    parser.add_argument(
        "output", metavar="OUTPUT", help="file to write: .dp (HDF5) or .yaml, both readable by DeePMD-kit"
    )
    Refusals(parser).flag(
        "--atomic-virial", reason="belongs to .pt2 and .pte files, which dpjax does not write; leave it out"
    )


def run(args: argparse.Namespace) -> None:
    """Converts."""
    import dpjax

    dpjax.save(load_model(args.input, args.head), args.output)
    print(f"wrote {args.output}")
