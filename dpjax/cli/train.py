"""``dpjax train``: a training run from an input file."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from dpjax.cli.models import checkpoint
from dpjax.cli.usage import Refusals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("input", nargs="?", metavar="INPUT", help="input file, JSON or YAML")
    source.add_argument("--config", metavar="INPUT", help="the same, by name")
    parser.add_argument(
        "-o", "--output", type=_folder, default=".", metavar="DIR",
        help="folder for everything that is written (default: .)",
    )  # fmt: skip
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "-r", "--restart", nargs="?", const=True, default=None, metavar="CKPT",
        help="go on with the newest checkpoint in DIR, or with the one named, or with the newest whose name begins so",
    )  # fmt: skip
    start.add_argument(
        "-i", "--init-model", metavar="MODEL", help="start from the parameters of this model or checkpoint"
    )
    parser.add_argument(
        "--skip-neighbor-stat", action="store_true",
        help='for scripts written for DeePMD-kit: dpjax counts neighbours only where sel is "auto", and then needs them',
    )  # fmt: skip
    _refuse(Refusals(parser))


def _refuse(deepmd: Refusals) -> None:
    deepmd.option(
        "-t", "--finetune", metavar="MODEL",
        reason="not built yet in this version; --init-model starts from a model of the same shape",
    )  # fmt: skip
    deepmd.option(
        "-f", "--init-frz-model", metavar="MODEL",
        reason="not built yet in this version; --init-model takes model files (.dp, .yaml, .dpx) as well as checkpoints",
    )  # fmt: skip
    deepmd.flag(
        "--use-pretrain-script",
        reason="not built yet in this version; the model is always the one that the input describes",
    )
    deepmd.option(
        "--model-branch", metavar="NAME", reason="not built yet in this version, which trains models without branches"
    )
    deepmd.flag(
        "--force-load", reason="not built yet in this version; a checkpoint must hold every parameter of the model"
    )
    deepmd.option(
        "-m", "--mpi-log", metavar="HOW", allowed=("master",),
        reason="dpjax runs as one process, so there are no messages of others to collect; `master` is accepted",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains; a run that a signal ended early returns the exit code that shells give such a program."""
    if args.skip_neighbor_stat:
        _refuse_auto_sel(args.input or args.config)
    import dpjax

    result = dpjax.train(
        args.input or args.config,
        output=args.output,
        restart=_named(args.restart),
        init_model=_named(args.init_model),
    )
    return 128 + signal.Signals[result.stopped] if result.stopped else 0


def _named(path: str | bool | None) -> str | bool | None:
    return checkpoint(path) if isinstance(path, str) else path


def _folder(text: str) -> str:
    """The output folder; a file is a habit from DeePMD-kit, whose ``-o`` names the copy of the input."""
    path = Path(text)
    if path.is_dir() or (path.suffix.lower() != ".json" and not path.exists()):
        return text
    raise argparse.ArgumentTypeError(
        f"found {text!r}, expected a folder: everything that is written goes there, the completed input as DIR/out.json"
    )


def _refuse_auto_sel(path: str) -> None:
    from dpjax.config import load
    from dpjax.descriptors import members
    from dpjax.errors import ConfigError

    for descriptor in members(load(path).model.descriptor):
        if isinstance(descriptor.sel, str):
            raise ConfigError(
                f'{path}: the descriptor\'s sel is "{descriptor.sel}", which needs the neighbour count that --skip-neighbor-stat '
                "leaves out. Drop one of the two."
            )
