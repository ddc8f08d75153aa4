"""``dpjax gui``: DP-GUI, the web editor of DeePMD-kit's inputs, with the options of dpjax."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from importlib.metadata import entry_points

from dpjax.errors import DPError

log = logging.getLogger("dpjax.cli.gui")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-p", "--port", type=_port, default=6042, metavar="PORT", help="port of this machine (default: 6042)"
    )
    parser.add_argument(
        "--bind_all", "--bind-all", action="store_true", help="answer other machines too; default: this one only"
    )


def run(args: argparse.Namespace) -> None:
    """Serves until interrupted."""
    start = _start_dpgui()
    if not _registered():
        log.warning(
            "DP-GUI will not offer dpjax, for it lists installed packages: pip install dpjax, or pip install -e ."
        )
    try:
        start(port=args.port, bind_all=args.bind_all)
    except OSError as error:
        raise DPError(f"cannot serve on port {args.port}: {error.strerror or error}; choose another with -p") from error


def _start_dpgui() -> Callable[..., None]:
    try:
        from dpgui import start_dpgui
    except ImportError as error:
        raise DPError("`dpjax gui` needs DP-GUI, which is not installed: pip install 'dpjax[gui]'") from error
    return start_dpgui


def _registered() -> bool:
    """Whether this installation of dpjax has the entry points that DP-GUI reads."""
    from dpjax.cli.dpgui import GROUP

    return any(point.name.startswith("dpjax") for point in entry_points(group=GROUP))


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1 to 65535")
    return int(text)
