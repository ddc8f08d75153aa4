"""``dpjax eval-desc``: descriptors of given structures, a file for each system."""

from __future__ import annotations

import argparse

from dpjax.cli.features import add_feature_arguments, systems_of
from dpjax.cli.models import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_feature_arguments(parser, dtype="native")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder to write, a .npy file per system (default: desc)")
    parser.add_argument(
        "--last-layer",
        action="store_true",
        help="the last hidden layer of the fitting net in place of descriptors (default folder: last_layer)",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the files and names each."""
    systems = systems_of(args)
    potential = load_model(args.model, args.head)
    from dpjax.interfaces.deepmd.evaluator import DTYPES
    from dpjax.interfaces.feature_files import write_feature_files
    from dpjax.interfaces.features import DESCRIPTOR, LAST_LAYER

    name, folder = (LAST_LAYER, "last_layer") if args.last_layer else (DESCRIPTOR, "desc")
    for system, path, shape in write_feature_files(potential, systems, args.output or folder, name, DTYPES[args.dtype]):
        print(f"{system.name}: wrote {path}, {shape[0]} frames x {shape[1]} atoms x {shape[2]} numbers", flush=True)
