"""``dpjax doc-train-input``: every key of an input file, generated from what the reader accepts."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--out-type",
        choices=("rst", "json", "json_schema"),
        default="rst",
        help="text, its structure, or a JSON schema",
    )


def run(args: argparse.Namespace) -> None:
    """Prints the documentation."""
    from dargs import Argument
    from dargs.json_schema import generate_json_schema

    from dpjax.config import arguments

    sections = arguments()
    if args.out_type == "rst":
        print("\n\n".join(section.gen_doc(make_anchor=False) for section in sections))
    elif args.out_type == "json":
        from dargs import ArgumentEncoder

        print(json.dumps(sections, cls=ArgumentEncoder))
    else:
        print(json.dumps(generate_json_schema(Argument("input", dict, sections)), indent=2))
