"""``dpjax train-nvnmd``: the two stages of a training for the NVNMD hardware."""

from __future__ import annotations

import argparse
import signal

from dpjax.cli.models import checkpoint
from dpjax.cli.usage import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "input", metavar="INPUT",
        help="input file, JSON or YAML; its section nvnmd has version, max_nnei, sel, rcut, rcut_smth, type_map",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--step", choices=("s1", "s2"), default="s1",
        help="s1: the continuous model, in DIR/nvnmd_cnn; s2: the quantised one, in DIR/nvnmd_qnn, from files of s1 (default: s1)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="where these folders are (default: .)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "-r", "--restart", nargs="?", const=True, default=None, metavar="CKPT",
        help="of s1: go on with the newest checkpoint in DIR/nvnmd_cnn, or with the one named",
    )  # fmt: skip
    start.add_argument(
        "-i", "--init-model", metavar="MODEL", help="of s1: start from the parameters of this NVNMD model"
    )
    parser.add_argument(
        "--skip-neighbor-stat", action="store_true",
        help="for scripts written for DeePMD-kit: dpjax counts neighbours only for the files of the hardware, after the training",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains; a run that a signal ended early returns the exit code that shells give such a program."""
    from dpjax.interfaces.nvnmd import train_in_stages

    restart = checkpoint(args.restart) if isinstance(args.restart, str) else args.restart
    init_model = None if args.init_model is None else checkpoint(args.init_model)
    if args.step == "s2" and (restart or init_model):
        raise UsageError(
            "--restart, --init-model: the second stage starts from the files of the first; give neither with -s s2"
        )
    result = train_in_stages(args.input, args.step, args.output, restart=restart, init_model=init_model)
    return 128 + signal.Signals[result.stopped] if result.stopped else 0
