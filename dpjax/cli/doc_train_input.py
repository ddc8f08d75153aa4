"""``dpjax doc-train-input``: every key of an input file, generated from what the reader accepts."""

from __future__ import annotations

import argparse
import json

from dpjax.cli.output import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--out-type",
        choices=tuple(WRITERS),
        default="rst",
        help="text as reStructuredText or Markdown, its structure (json), or a JSON schema for editors (default: rst)",
    )
    parser.add_argument("--multi-task", action="store_true", help="of an input for several tasks")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead of printing it")


def run(args: argparse.Namespace) -> None:
    """Prints or writes the documentation."""
    text = WRITERS[args.out_type](args.multi_task)
    if args.output:
        print(f"wrote {write_text(args.output, text + chr(10), 'the documentation')}")
    else:
        print(text)


def _rst(multi_task: bool) -> str:
    from dpjax.config import arguments

    return "\n\n".join(section.gen_doc(make_anchor=False) for section in arguments(multi_task))


def _markdown(multi_task: bool) -> str:
    from dpjax.cli.option_docs import markdown
    from dpjax.config import arguments

    title = "The input of a training for several tasks" if multi_task else "The input of a training"
    return markdown(arguments(multi_task), title).rstrip("\n")


def _json(multi_task: bool) -> str:
    """The structure as DP-GUI and other readers of dargs take it."""
    from dargs import ArgumentEncoder

    from dpjax.config import arguments

    return json.dumps(arguments(multi_task), cls=ArgumentEncoder)


def _json_schema(multi_task: bool) -> str:
    from dpjax.config import json_schema

    return json.dumps(json_schema(multi_task), indent=2)


WRITERS = {"rst": _rst, "md": _markdown, "json": _json, "json_schema": _json_schema}
