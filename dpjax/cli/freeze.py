"""``dpjax freeze``: a model as one portable file that runs without dpjax; several branches as one file each."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpjax.cli.models import add_head_option, branch_names, load_model
from dpjax.cli.usage import Refusals

DEFAULT_PLATFORMS = ("cpu", "cuda", "tpu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-c", "--checkpoint-folder", "--checkpoint", "-m", "--model",
        dest="model",
        default=".",
        metavar="MODEL",
        help="checkpoint folder or prefix, output folder of a training (its newest checkpoint), or model file (default: .)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="model.dpx", metavar="FILE",
        help="file to write; .dpx is added to a name without ending (default: model.dpx). Of a model with several branches and "
        "without --head each is written, as model_NAME.dpx",
    )  # fmt: skip
    parser.add_argument(
        "--platforms",
        nargs="+",
        default=DEFAULT_PLATFORMS,
        metavar="NAME",
        help=f"what it will run on, of cpu, cuda, rocm, tpu; none has to be here (default: {' '.join(DEFAULT_PLATFORMS)})",
    )
    add_head_option(parser)
    parser.add_argument("--hessian", action="store_true", help="add a program for second derivatives of the energy")
    deepmd = Refusals(parser)
    deepmd.option(
        "-n", "--node-names", metavar="NAMES", reason="names nodes of a TensorFlow graph, which dpjax does not have"
    )
    deepmd.option(
        "-w",
        "--nvnmd-weight",
        metavar="FILE",
        reason="is what `dpjax train-nvnmd` writes for the NVNMD hardware, as weight.npy",
    )
    deepmd.option(
        "--lower-kind", metavar="KIND", reason="chooses the inside of a .pt2 file; a .dpx file has one kind of program"
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Freezes one model, or each branch of a model with several unless one is chosen."""
    output = Path(args.output if Path(args.output).suffix else f"{args.output}.dpx")
    names = () if args.head else branch_names(args.model)
    for name in names:
        _freeze(args, name, output.with_stem(f"{output.stem}_{name.replace('/', '_')}"))
    if not names:
        _freeze(args, args.head, output)


def _freeze(args: argparse.Namespace, head: str | None, output: Path) -> None:
    from dpjax.export import save

    path = save(load_model(args.model, head), str(output), platforms=args.platforms, hessian=args.hessian)
    print(f"wrote {path} for {', '.join(args.platforms)} ({path.stat().st_size / 1e6:.1f} MB)")
