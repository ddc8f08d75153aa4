"""Entry point: finds the subcommand, and turns errors into a message and an exit code.

A command's module is imported only when it is asked for, and imports jax only when it runs, so ``dpjax --help`` and
mistakes on the command line answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence

from dpjax.cli.backend import add_backend_options, first_word, say_what_computes
from dpjax.cli.commands import COMMANDS, ELSEWHERE, Command, command_of, names
from dpjax.cli.log import add_log_options, messages
from dpjax.cli.usage import USAGE, UsageError
from dpjax.cli.version import Version
from dpjax.errors import ConfigError, DPError
from dpjax.memory import restart_with_huge_pages

COMPUTING = ("train", "test", "md")  # commands that may compute for hours
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

EPILOG = """\
exit status:
  0    success
  1    an error that dpjax explains: input, data, model, file
  2    a mistake on the command line, or a verb of DeePMD-kit that is none here
  130  interrupted; a training that another signal ends: 128 + its number

example:
  dpjax train input.json -o run
  dpjax test -m run -s data/valid

`dpjax COMMAND --help` explains a command. Verbs of DeePMD-kit that are none here say
what to do instead: {elsewhere}.
"""


def program(*before: str) -> int:
    """A process of its own that runs :func:`main` on the words ``before`` and those that were typed."""
    argv = [*before, *sys.argv[1:]]
    if first_word(argv) in COMPUTING:
        restart_with_huge_pages()
    return main(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (without the program's name) and returns the exit code; ``None`` takes ``sys.argv``.

    0 on success, 1 for an error that dpjax raises on purpose, 2 for a mistake on the command line or a verb of DeePMD-kit that
    is none here, 130 when interrupted.
    """
    # XLA's loader of cached CPU programs prints pages of false alarms about the machine; real errors arrive as exceptions
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv:
        _parser(None).print_help(sys.stderr)
        return USAGE
    word = first_word(argv)
    command = command_of(word) if word else None
    if word in ELSEWHERE:
        return _fail(f"DeePMD-kit's `{word}` {ELSEWHERE[word]}", USAGE)
    try:
        args = _parser(command, word).parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or the mistake
        return stop.code if isinstance(stop.code, int) else USAGE
    return _run(command, args)


def _run(command: Command, args: argparse.Namespace) -> int:
    debug = args.debug or os.environ.get("DPJAX_DEBUG", "") not in ("", "0")
    try:
        with messages(args.log_level, args.log_path):
            say_what_computes(args)
            return command.load().run(args) or 0
    except UsageError as error:
        return _fail(str(error), USAGE)
    except DPError as error:
        if debug:
            traceback.print_exc()
        return _fail(_text(error))
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        print("dpjax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough, as in `dpjax doc-train-input | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(chosen: Command | None, word: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments, and a word that is no command its message."""
    parser = argparse.ArgumentParser(
        prog="dpjax",
        description="Train, run and ship Deep Potential models in JAX.",
        epilog=EPILOG.format(elsewhere=", ".join(ELSEWHERE)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print versions and devices")
    add_backend_options(parser, shown=True)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            aliases=command.aliases,
            help=command.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command is chosen:
            _fill(sub, command)
    if word and chosen is None:
        parser.error(_unknown(word))
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    """Gives the parser of the chosen command its arguments and texts."""
    command.load().add_arguments(parser)
    add_backend_options(parser)
    add_log_options(parser)
    parser.description = command.help[0].upper() + command.help[1:] + "."
    parser.epilog = "example:\n" + textwrap.indent("\n".join(f"dpjax {line}" for line in command.examples), "  ")


def _unknown(word: str) -> str:
    near = difflib.get_close_matches(word.lower(), [*names(), *ELSEWHERE], n=1)
    return f"there is no command {word!r}" + (f"; did you mean `{near[0]}`?" if near else "; `dpjax --help` lists them")


def _text(error: DPError) -> str:
    """One line, even where a library's message, quoted in ours, has several; several mistakes keep a line each."""
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        return str(error)
    return " ".join(line.strip() for line in str(error).splitlines())


def _fail(message: str, status: int = 1) -> int:
    print("dpjax: error:", message, file=sys.stderr)
    return status
