"""``dpjax freeze``: a model as one portable file that runs without dpjax."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpjax.cli.models import add_head_option, load_model
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
        help="file to write; .dpx is added to a name without ending (default: model.dpx)",
    )  # fmt: skip
    parser.add_argument(
        "--platforms",
        nargs="+",
        default=DEFAULT_PLATFORMS,
        metavar="NAME",
        help=f"what it will run on, of cpu, cuda, rocm, tpu; none has to be here (default: {' '.join(DEFAULT_PLATFORMS)})",
    )
    add_head_option(parser)
    deepmd = Refusals(parser)
    deepmd.flag(
        "--hessian",
        reason="programs of an artifact have no Hessians; `dpjax.load(MODEL).evaluate(..., hessian=True)` does",
    )
    deepmd.option(
        "-n", "--node-names", metavar="NAMES", reason="names nodes of a TensorFlow graph, which dpjax does not have"
    )
    deepmd.option(
        "-w", "--nvnmd-weight", metavar="FILE", reason="belongs to the NVNMD hardware, which dpjax does not support"
    )
    deepmd.option(
        "--lower-kind", metavar="KIND", reason="chooses the inside of a .pt2 file; a .dpx file has one kind of program"
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Freezes."""
    from dpjax.export import save

    output = args.output if Path(args.output).suffix else f"{args.output}.dpx"
    path = save(load_model(args.model, args.head), output, platforms=args.platforms)
    print(f"wrote {path} for {', '.join(args.platforms)} ({path.stat().st_size / 1e6:.1f} MB)")
