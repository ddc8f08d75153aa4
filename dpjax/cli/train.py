"""``dpjax train``: a training run from an input file."""

from __future__ import annotations

import argparse
import logging
import signal

log = logging.getLogger("dpjax.cli.train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("input", nargs="?", metavar="INPUT", help="input file, JSON or YAML")
    source.add_argument("--config", metavar="INPUT", help="the same, by name")
    parser.add_argument(
        "-o", "--output", default=".", metavar="DIR", help="folder for everything that is written (default: .)"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "-r", "--restart", nargs="?", const=True, default=None, metavar="CKPT",
        help="go on with the newest checkpoint in DIR, or with the one named",
    )  # fmt: skip
    start.add_argument(
        "-i", "--init-model", metavar="MODEL", help="start from the parameters of this model or checkpoint"
    )
    start.add_argument("-t", "--finetune", metavar="MODEL", help="not built yet")
    parser.add_argument(
        "--skip-neighbor-stat", action="store_true",
        help='for scripts written for DeePMD-kit: dpjax counts neighbours only where sel is "auto", and then needs them',
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains; a run that a signal ended early returns the exit code that shells give such a program."""
    from dpjax.errors import ConfigError

    if args.finetune:
        raise ConfigError(
            "--finetune: not built yet in this version; --init-model starts from a model of the same shape"
        )
    if args.skip_neighbor_stat:
        _refuse_auto_sel(args.input or args.config)
    import dpjax

    result = dpjax.train(
        args.input or args.config, output=args.output, restart=args.restart, init_model=args.init_model
    )
    return 128 + signal.Signals[result.stopped] if result.stopped else 0


def _refuse_auto_sel(path: str) -> None:
    from dpjax.config import load
    from dpjax.errors import ConfigError

    sel = load(path).model.descriptor.sel
    if isinstance(sel, str):
        raise ConfigError(
            f'{path}: model/descriptor/sel is "{sel}", which needs the neighbour count that --skip-neighbor-stat leaves out. '
            "Drop one of the two."
        )
