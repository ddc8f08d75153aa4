"""``dpjax embed``: descriptors, last hidden layers and their sums over structures, in one HDF5 file."""

from __future__ import annotations

import argparse

from dpjax.cli.features import add_feature_arguments, systems_of
from dpjax.cli.models import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_feature_arguments(parser, dtype="fp32")
    parser.add_argument(
        "-o", "--output", default="embedding.hdf5", metavar="FILE", help="HDF5 file to write (default: embedding.hdf5)"
    )


def run(args: argparse.Namespace) -> None:
    """Writes the file and names its groups."""
    systems = systems_of(args)
    potential = load_model(args.model, args.head)
    from dpjax.interfaces.deepmd.evaluator import DTYPES
    from dpjax.interfaces.feature_files import write_embedding_file

    for system, group, shapes in write_embedding_file(potential, systems, args.output, DTYPES[args.dtype]):
        arrays = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in sorted(shapes.items()))
        print(f"{system.name}: group {group} of {args.output}, {arrays}", flush=True)
    print(f"wrote {args.output}")
