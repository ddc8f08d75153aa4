"""``dpjax model-devi``: how far models differ on given structures."""

from __future__ import annotations

import argparse

from dpjax.cli.models import checkpoint
from dpjax.cli.output import write_text
from dpjax.cli.usage import Refusals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-m", "--models", nargs="+", required=True, metavar="MODEL",
        help="the models that are compared: at least two, or one ensemble",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--system", default=".", metavar="DIR", help="system, or folder that holds systems (default: .)"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="model_devi.out",
        metavar="FILE",
        help="table to write (default: model_devi.out)",
    )
    parser.add_argument(
        "-f", "--frequency", type=_count, default=1, metavar="N",
        help="steps between two frames, for the first column of the table (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--real_error", action="store_true", help="compare with the labels of the data instead of among the models"
    )
    parser.add_argument("--atomic", action="store_true", help="the force deviation of each atom too")
    parser.add_argument(
        "--relative",
        type=_level,
        metavar="LEVEL",
        help="force deviations relative to the force, plus this level (eV/angstrom)",
    )
    parser.add_argument(
        "--relative_v",
        type=_level,
        metavar="LEVEL",
        help="virial deviations relative to the virial, plus this level (eV)",
    )
    Refusals(parser).set_prefix()


def run(args: argparse.Namespace) -> None:
    """Evaluates all models on all systems, writes the table and says what deviates most."""
    from dpjax.interfaces.deviation import system_deviations, table_text
    from dpjax.interfaces.files import load_all

    models = [model for path in args.models for model in load_all(checkpoint(path))]
    levels = {"relative": args.relative, "relative_v": args.relative_v}
    texts = []
    for name, found in system_deviations(models, args.system, real_error=args.real_error, **levels):
        texts.append(table_text(name, found, args.frequency, args.atomic))
        frame = int(found.force[:, 0].argmax())
        print(
            f"{name}: {len(found.energy)} frames, largest force deviation {found.force[frame, 0]:.4g} in frame {frame}"
        )
    print(f"wrote {write_text(args.output, ''.join(texts), 'the deviations')}")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of steps above 0")


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value >= 0.0:
        return value
    raise argparse.ArgumentTypeError(f"found {text!r}, expected a number that is not negative")
