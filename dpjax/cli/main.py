"""Entry point: finds the subcommand, and turns errors into one line and an exit code.

A command's module is imported only when it is asked for, and imports jax only when it runs, so ``dpjax --help`` and
mistakes on the command line answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from dpjax.cli.log import add_log_options, messages
from dpjax.errors import DPError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class Command:
    """A line of the table of subcommands.

    Attributes:
        name: as typed.
        help: one line.
        module: below ``dpjax.cli``; has ``add_arguments(parser)`` and ``run(args) -> int | None``. Empty: not built yet.
        aliases: other spellings.
    """

    name: str
    help: str
    module: str = ""
    aliases: tuple[str, ...] = ()


COMMANDS = (
    Command("train", "train a model from an input file", "train"),
    Command("test", "compare a model with labelled data", "test"),
    Command("plot", "draw the learning curve of a training", "plot"),
    Command("check", "check an input file and print it with all defaults", "check"),
    Command("neighbor-stat", "count neighbours in data, to choose sel", "neighbor_stat"),
    Command("show", "print what a model is made of", "show"),
    Command("convert", "write a model in another format", "convert", ("convert-backend",)),
    Command("doc-train-input", "print the documentation of every input key", "doc_train_input"),
    Command("freeze", "write a model as one portable file", "freeze"),
    Command("compress", "tabulate the embedding nets of a model"),
    Command("model-devi", "deviation between models on given structures"),
    Command("change-bias", "shift the energy bias of a model to new data"),
    Command("eval-desc", "write descriptors of given structures"),
    Command("gui", "edit an input file in a browser"),
    Command("show-options", "list the components and options this version has"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (without the program's name) and returns the exit code; ``None`` takes ``sys.argv``.

    0 on success, 1 for an error that dpjax raises on purpose, 2 for a mistake on the command line, 130 when interrupted.
    """
    # XLA's loader of cached CPU programs prints pages of false alarms about the machine; real errors arrive as exceptions
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    argv = list(sys.argv[1:] if argv is None else argv)
    command = _find(argv)
    if command is not None and not command.module:
        return _fail(f"`dpjax {command.name}` is not built yet in this version; `dpjax --help` lists what is")
    try:
        args = _parser(command).parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or the mistake
        return stop.code if isinstance(stop.code, int) else 2
    return _run(command, args)


def _run(command: Command, args: argparse.Namespace) -> int:
    debug = args.debug or os.environ.get("DPJAX_DEBUG", "") not in ("", "0")
    try:
        with messages(args.log_level, args.log_path):
            return _module(command).run(args) or 0
    except DPError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error))
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        print("dpjax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough, as in `dpjax doc-train-input | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _find(argv: Sequence[str]) -> Command | None:
    """The command that a command line names, by its first word that is no option."""
    word = next((a for a in argv if not a.startswith("-")), None)
    return next((c for c in COMMANDS if word == c.name or word in c.aliases), None)


def _parser(chosen: Command | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments."""
    parser = argparse.ArgumentParser(prog="dpjax", description="Train, run and ship Deep Potential models in JAX.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        text = command.help if command.module else f"{command.help} (not built yet)"
        sub = commands.add_parser(command.name, aliases=command.aliases, help=text, description=_sentence(command.help))
        if command is chosen:
            _module(command).add_arguments(sub)
            add_log_options(sub)
    return parser


def _module(command: Command):
    return importlib.import_module(f"dpjax.cli.{command.module}")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _fail(message: str) -> int:
    """One line, even where a library's message, quoted in ours, has several."""
    print("dpjax: error:", " ".join(line.strip() for line in message.splitlines()), file=sys.stderr)
    return 1


class _Version(argparse.Action):
    """Prints the installed version; looked up only when asked."""

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import version

        print(f"dpjax {version('dpjax')}")
        parser.exit()
