"""``dpjax freeze``: a model as one portable file that runs without dpjax."""

from __future__ import annotations

import argparse

DEFAULT_PLATFORMS = ("cpu", "cuda", "tpu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-c", "--checkpoint-folder", "-m", "--model",
        dest="model",
        default=".",
        metavar="MODEL",
        help="checkpoint folder, output folder of a training (its newest checkpoint), or model file (default: .)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="model.dpx", metavar="FILE", help="file to write (default: model.dpx)"
    )
    parser.add_argument(
        "--platforms",
        nargs="+",
        default=DEFAULT_PLATFORMS,
        metavar="NAME",
        help=f"what it will run on, of cpu, cuda, rocm, tpu; none has to be here (default: {' '.join(DEFAULT_PLATFORMS)})",
    )


def run(args: argparse.Namespace) -> None:
    """Freezes."""
    import dpjax
    from dpjax.export import save

    path = save(dpjax.load(args.model), args.output, platforms=args.platforms)
    print(f"wrote {path} for {', '.join(args.platforms)} ({path.stat().st_size / 1e6:.1f} MB)")
