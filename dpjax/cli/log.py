"""What the commands say while they run: the ``dpjax`` logger on stderr and, when asked, in a file."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dpjax.errors import OutputError

NUMBERS = {"0": "ERROR", "1": "WARNING", "2": "INFO", "3": "DEBUG"}  # DeePMD-kit's numbers
LEVELS = tuple(NUMBERS.values())


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options every command has."""
    group = parser.add_argument_group("messages")
    group.add_argument(
        "-v", "--log-level", type=_level, default="INFO", metavar="LEVEL",
        help="ERROR, WARNING, INFO or DEBUG, or 0 to 3 (default: INFO)",
    )  # fmt: skip
    group.add_argument("-l", "--log-path", metavar="FILE", help="write the messages to this file too")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error (as does DPJAX_DEBUG=1)")


@contextmanager
def messages(level: str, path: str | None = None) -> Iterator[None]:
    """Sends the ``dpjax`` logger and warnings to stderr and to ``path`` while the context lasts.

    Raises:
        OutputError: the file cannot be written.
    """
    logger = logging.getLogger("dpjax")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        handlers.append(_file_handler(path))
    before = logger.level, logger.propagate
    for handler in handlers:
        handler.setFormatter(_Plain())
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # libraries may have given the root logger a handler of their own
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _log_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """What dpjax warns of in plain words; the place in its code says nothing to a user."""
    logging.getLogger("dpjax").warning("%s", message)


def _file_handler(path: str) -> logging.Handler:
    try:
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write messages to this file: {error.strerror}") from error


def _level(text: str) -> str:
    name = NUMBERS.get(text, text.upper())
    if name not in LEVELS:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected one of {', '.join(LEVELS)} or 0 to 3")
    return name


class _Plain(logging.Formatter):
    """Messages as they are; warnings and errors say what they are."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"
