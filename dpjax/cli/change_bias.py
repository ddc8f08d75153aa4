"""``dpjax change-bias``: another bias per type for a finished model."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpjax.cli.models import add_head_option, checkpoint
from dpjax.cli.test import listed_systems
from dpjax.cli.usage import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "input", metavar="MODEL", help="model file (.dp, .yaml), checkpoint folder, or output folder of a training"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "-s",
        "--system",
        nargs="+",
        metavar="DIR",
        help="data to fit to: systems, or folders that hold systems (default: .)",
    )
    source.add_argument("-f", "--datafile", metavar="FILE", help="file that names a system on each line")
    source.add_argument(
        "-b",
        "--bias-value",
        nargs="+",
        type=float,
        metavar="E",
        help="bias of each type in eV, in the order of type_map; no data then",
    )
    parser.add_argument(
        "-n", "--numb-batch", type=_count, metavar="N", help="frames of each system, the first ones (default: 0, all)"
    )
    parser.add_argument(
        "-m", "--mode", choices=("change", "set"),
        help="change: add a fit of what the model leaves of the labels; set: fit the labels alone (default: change)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUT",
        help="what to write, of the kind of MODEL: a file, or a new folder for a checkpoint (default: MODEL_updated)",
    )  # fmt: skip
    add_head_option(parser)


def run(args: argparse.Namespace) -> None:
    """Changes the bias and says what it is now."""
    if args.bias_value is not None and (args.mode or args.numb_batch):
        flag = "-m/--mode" if args.mode else "-n/--numb-batch"
        raise UsageError(f"{flag}: says how data are used, and with -b/--bias-value none are; drop one of the two")
    from dpjax.interfaces.bias import change_bias

    model = Path(checkpoint(args.input))
    output = Path(args.output) if args.output else model.with_name(f"{model.stem}_updated{model.suffix}")
    if model.is_dir() and not args.output:
        output = model.with_name(f"{model.name}_updated")  # what follows a point in the name of a folder is no ending
    systems = listed_systems(Path(args.datafile)) if args.datafile else args.system or "."
    bias = change_bias(
        model, output, systems,
        mode=args.mode or "change", values=args.bias_value, n_frames=args.numb_batch or 0, head=args.head,
    )  # fmt: skip
    print(f"the bias per type is now {', '.join(' '.join(f'{x:.10g}' for x in row) for row in bias)}")
    print(f"wrote {output}")


def _count(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of frames; 0 takes all")
