"""``dpjax train``: a training run from an input file."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from dpjax.cli.models import checkpoint
from dpjax.cli.usage import Refusals, UsageError


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
    start.add_argument(
        "-t", "--finetune", metavar="MODEL",
        help="fine-tune this model or checkpoint: types may differ, and the bias is fitted to the new data",
    )  # fmt: skip
    start.add_argument("-f", "--init-frz-model", metavar="MODEL", help="as --init-model, for a model file")
    parser.add_argument(
        "--model-branch", metavar="NAME", help="with --finetune: the branch to start from; RANDOM for a new fitting net"
    )
    parser.add_argument(
        "--use-pretrain-script", action="store_true",
        help="take descriptor and fitting net from the model of --finetune, or the model section from that of --init-model",
    )  # fmt: skip
    parser.add_argument(
        "--force-load", action="store_true",
        help="the model of --init-model or --finetune may lack arrays that the input's model has: these start as in a new one",
    )  # fmt: skip
    parser.add_argument(
        "--skip-neighbor-stat", action="store_true",
        help='for scripts written for DeePMD-kit: dpjax counts neighbours only where sel is "auto", and then needs them',
    )  # fmt: skip
    _refuse(Refusals(parser))


def _refuse(deepmd: Refusals) -> None:
    deepmd.option(
        "-m", "--mpi-log", metavar="HOW", allowed=("master",),
        reason="of several processes only the first writes messages; `master` is accepted",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains; a run that a signal ended early returns the exit code that shells give such a program."""
    if args.skip_neighbor_stat:
        _refuse_auto_sel(args.input or args.config)
    import dpjax
    from dpjax.errors import HostError
    from dpjax.training.hosts import join

    join()
    try:
        result = dpjax.train(
            args.input or args.config,
            output=args.output,
            restart=_named(args.restart),
            init_model=_named(args.init_model or args.init_frz_model),
            **_tuning(args),
        )
    except HostError as error:
        _leave(error)
    return 128 + signal.Signals[result.stopped] if result.stopped else 0


def _leave(error: Exception) -> NoReturn:
    """Ends at once: on its way out JAX would wait for the process that is gone, and then abort."""
    print("dpjax: error:", error, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)


def _tuning(args: argparse.Namespace) -> dict[str, Any]:
    """What is asked for of fine-tuning, as arguments of ``dpjax.train``."""
    if args.model_branch is not None and args.finetune is None:
        raise UsageError("--model-branch: chooses a branch of the model to fine-tune; give that with --finetune")
    if args.use_pretrain_script and not (args.finetune or args.init_model or args.init_frz_model):
        raise UsageError(
            "--use-pretrain-script: takes the model section of a pretrained model; give one with --finetune or --init-model. A "
            "restart reads out.json, which has it already"
        )
    if args.force_load and not (args.finetune or args.init_model or args.init_frz_model):
        raise UsageError(
            "--force-load: starts from a model that lacks some arrays; give one with --init-model or --finetune. A restart needs "
            "all of them, with the state of the optimizer"
        )
    given = {
        "finetune": _named(args.finetune),
        "model_branch": args.model_branch,
        "use_pretrain_script": args.use_pretrain_script,
        "force_load": args.force_load,
    }
    return {name: value for name, value in given.items() if value}


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
    from dpjax.descriptors import members, unresolved
    from dpjax.errors import ConfigError

    for descriptor in members(load(path).model.descriptor):
        if waiting := unresolved(descriptor):
            raise ConfigError(
                f'{path}: the descriptor\'s {waiting[0]} is "{waiting[1]}", which needs the neighbour count that '
                "--skip-neighbor-stat leaves out. Drop one of the two."
            )
