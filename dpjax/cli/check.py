"""``dpjax check``: an input file with its aliases resolved and its defaults filled in, or what is wrong with it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("input", metavar="INPUT", help="input file, JSON or YAML")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the complete input there instead of printing it")


def run(args: argparse.Namespace) -> None:
    """Checks."""
    from dpjax.config import load
    from dpjax.errors import OutputError

    text = json.dumps(load(args.input).raw, indent=4)
    if not args.output:
        print(text)
        return
    try:
        Path(args.output).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{args.output}: cannot write the input: {error.strerror}") from error
    print(f"{args.input} is valid; wrote {args.output}")
