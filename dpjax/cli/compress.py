"""``dpjax compress``: a model with tables in the place of its embedding networks, as one portable file."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpjax.cli.models import add_head_option, checkpoint, load_model
from dpjax.cli.output import write_text
from dpjax.cli.usage import Refusals, UsageError

if TYPE_CHECKING:
    from dpjax.data import System

UNITS = {"energy": "eV", "force": "eV/Å", "virial": "eV"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-i", "--input", default=".", metavar="MODEL",
        help="checkpoint folder, output folder of a training (its newest checkpoint), or model file (default: .)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="model-compressed.dpx", metavar="FILE",
        help="file to write; .dpx is added to a name without ending (default: model-compressed.dpx)",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--step", type=float, default=0.01, metavar="H",
        help="distance of nodes where the data lie; beyond, ten times that (default: 0.01)",
    )  # fmt: skip
    parser.add_argument(
        "-e", "--extrapolate", type=float, default=5.0, metavar="X",
        help="the tables end at X times the largest input that the data give (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "-f", "--frequency", type=int, default=-1, metavar="N",
        help="with every N-th frame that the compressed model evaluates, count the neighbours that are nearer than the tables "
        "reach, and warn (default: -1, never)",
    )  # fmt: skip
    parser.add_argument(
        "-t", "--training-script", metavar="INPUT",
        help="input that the model was trained with, where it holds none itself: its training data give the range of the tables",
    )  # fmt: skip
    parser.add_argument(
        "--system", nargs="+", metavar="DIR", help="data in place of those of an input: systems, or folders"
    )
    parser.add_argument(
        "--min-nbor-dist",
        type=float,
        metavar="R",
        help="smallest distance of two atoms, angstrom, in place of counting it in data",
    )
    parser.add_argument(
        "-n", "--numb-test", type=int, default=20, metavar="N",
        help="frames of the data on which the compressed model is compared with the full one (default: 20; 0: none)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write what is printed as JSON")
    parser.add_argument(
        "--platforms", nargs="+", default=("cpu", "cuda", "tpu"), metavar="NAME",
        help="what the file will run on, of cpu, cuda, rocm, tpu (default: cpu cuda tpu)",
    )  # fmt: skip
    parser.add_argument("--hessian", action="store_true", help="add a program for second derivatives of the energy")
    add_head_option(parser)
    deepmd = Refusals(parser)
    deepmd.option(
        "-c", "--checkpoint-folder", metavar="DIR", allowed=("model-compression",),
        reason="names a folder for intermediate files, and there are none; drop it",
    )  # fmt: skip
    deepmd.option(
        "-m",
        "--mpi-log",
        metavar="HOW",
        allowed=("master",),
        reason="chooses among the logs of several processes, and this is one",
    )


def run(args: argparse.Namespace) -> None:
    """Compresses, compares with the full model, and writes the file."""
    output = _output(args)
    if args.numb_test < 0:
        raise UsageError(f"-n/--numb-test: found {args.numb_test}, expected a number of frames; 0 for no comparison")
    full = load_model(args.input, args.head)
    from dpjax.compress import check_compressible, compress, series_share
    from dpjax.export import save

    check_compressible(full.config)
    systems = _systems(args, full)
    distance, source = _distance(args, full, systems)
    pot = compress(full, distance, step=args.step, extrapolate=args.extrapolate, frequency=args.frequency)
    series, tables = series_share(pot.variables)
    options = pot.config.compress
    print(f"smallest distance of two atoms: {distance:.6f} angstrom ({source})")
    print(
        f"{tables} tables, down to {max(options.nearest):.4f} angstrom; {series} of them are summed by series, equal to rounding"
    )
    report = {"model": args.input, "compress": options.to_section(), "tables": tables, "series": series}
    if systems and args.numb_test:
        report |= _compared(full, pot, systems, args.numb_test)
    else:
        print(
            "not compared with the full model: "
            + ("-n 0" if systems else "no data are known; name some with -t or --system")
        )
    path = save(pot, str(output), platforms=args.platforms, hessian=args.hessian)
    print(f"wrote {path} for {', '.join(args.platforms)} ({path.stat().st_size / 1e6:.1f} MB)")
    if args.json:
        print(
            f"wrote {write_text(args.json, json.dumps(report | {'output': str(path)}, indent=2) + chr(10), 'the report')}"
        )


def _output(args: argparse.Namespace) -> Path:
    path = Path(args.output if Path(args.output).suffix else f"{args.output}.dpx")
    if path.suffix != ".dpx":
        raise UsageError(
            f"-o/--output: found {args.output}, expected a name that ends in .dpx; no other format of dpjax holds tables. For a "
            "compressed model of DeePMD-kit, `dpjax convert` the model to .dp and `dp compress` what DeePMD-kit makes of that."
        )
    return path


def _systems(args: argparse.Namespace, full: Any) -> list[System]:
    """The data that are named, or those of the input that is named or that the model holds; none where nothing says."""
    from dpjax.data import find_systems
    from dpjax.interfaces.compression import opened, own_input, training_systems

    if args.system:
        return opened(full, [str(path) for entry in args.system for path in find_systems(entry)])
    source = args.training_script or own_input(checkpoint(args.input))
    return opened(full, training_systems(source, args.head)) if source else []


def _distance(args: argparse.Namespace, full: Any, systems: list[System]) -> tuple[float, str]:
    """The smallest distance, angstrom, and where it comes from: the option, the model's file, or data."""
    from dpjax.interfaces.compression import smallest_distance, stored_distance

    if args.min_nbor_dist is not None:
        return args.min_nbor_dist, "as given"
    found = None if args.training_script or args.system else stored_distance(checkpoint(args.input))
    if found is not None:
        return found, f"stored in {args.input}"
    if not systems:
        raise UsageError(
            f"-t/--training-script: {args.input} does not say what it was trained on, or how near atoms are in that. Give the "
            "input of its training with -t, or data with --system, or the distance itself with --min-nbor-dist"
        )
    return smallest_distance(full, systems), f"in {len(systems)} systems of data"


def _compared(full: Any, pot: Any, systems: list[System], n_frames: int) -> dict[str, Any]:
    """Prints how far the compressed model is from the full one, and returns it."""
    from dpjax.interfaces.compression import differences

    count, found = differences(full, pot, systems, n_frames)
    print(f"compressed against full on {count} frames\n  {'':<16} {'RMSE':>12} {'largest':>12}")
    for name, gap in found.items():
        print(f"  {name:<16} {gap.rmse:12.4e} {gap.largest:12.4e} {UNITS.get(name, '')}".rstrip())
    return {"frames": count, "differences": {name: asdict(gap) for name, gap in found.items()}}
