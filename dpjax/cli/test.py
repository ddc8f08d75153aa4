"""``dpjax test``: errors of a model against labelled data, with detail files and pictures."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpjax.cli.models import add_head_option, load_model
from dpjax.cli.output import write_text
from dpjax.cli.usage import Refusals, UsageError

if TYPE_CHECKING:
    from dpjax.interfaces.quantities import Quantity
    from dpjax.interfaces.reports import Errors, SystemReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="model file or checkpoint folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-s", "--system", nargs="+", metavar="DIR", help="systems, or folders that hold systems")
    source.add_argument("-f", "--datafile", metavar="FILE", help="file that names a system on each line")
    source.add_argument("--train-data", metavar="INPUT", help="input file: its training systems")
    source.add_argument("--valid-data", metavar="INPUT", help="input file: its validation systems")
    parser.add_argument(
        "-n",
        "--numb-test",
        type=_count,
        default=0,
        metavar="N",
        help="frames per system, the first ones (default: 0, all)",
    )
    parser.add_argument("--shuffle-test", action="store_true", help="frames in random order, so that -n draws a sample")
    parser.add_argument(
        "-r", "--rand-seed", type=int, metavar="SEED", help="seed of --shuffle-test (default: a new one)"
    )
    parser.add_argument(
        "-a",
        "--atomic",
        action="store_true",
        help="compare values of atoms too, with atom_ener.npy, atom_dipole.npy, ...",
    )
    add_head_option(parser)
    parser.add_argument(
        "-d",
        "--detail-file",
        metavar="PREFIX",
        help="write labels and predictions to PREFIX.e.out, PREFIX.f.out, ..., or PREFIX.out, PREFIX.dos.out, ...",
    )
    parser.add_argument("--plot", metavar="PREFIX", help="draw PREFIX.parity.png and PREFIX.errors.png (extra `plot`)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the errors as JSON")
    Refusals(parser).set_prefix()


def run(args: argparse.Namespace) -> None:
    """Tests, prints a table per system and over all systems, and writes what was asked for."""
    seed = _seed(args)
    systems = _systems(args)
    pot = load_model(args.model, args.head)
    from dpjax.interfaces.testing import test_model

    report = test_model(pot, systems, args.numb_test, progress=_print_system, shuffle_seed=seed, atomic=args.atomic)
    if len(report.systems) > 1:
        frames = sum(system.n_frame for system in report.systems)
        _print_table(
            f"all {len(report.systems)} systems, {frames} frames, weighted by size", report.errors, report.quantities
        )
    _write(args, report)


def _seed(args: argparse.Namespace) -> int | None:
    """Seed of the order of the frames; None keeps the order of the files."""
    if not args.shuffle_test:
        if args.rand_seed is not None:
            raise UsageError(
                "-r/--rand-seed: nothing is drawn at random without --shuffle-test; add it, or leave -r out"
            )
        return None
    if args.rand_seed is not None:
        return args.rand_seed % 2**32  # as DeePMD-kit takes negative and large seeds
    seed = secrets.randbelow(2**32)
    print(f"frames are shuffled with seed {seed}; `-r {seed}` repeats the test")
    return seed


def _write(args: argparse.Namespace, report: Any) -> None:
    written = report.write_details(args.detail_file) if args.detail_file else []
    if args.output:
        content = {"model": args.model, **report.to_dict()}
        written.append(write_text(args.output, json.dumps(content, indent=2) + "\n", "the errors"))
    if args.plot:
        from dpjax.plotting import plot_error_histogram, plot_parity

        written.append(plot_parity(report, f"{args.plot}.parity.png"))
        written.append(plot_error_histogram(report, f"{args.plot}.errors.png"))
    for path in written:
        print(f"wrote {path}")


def _systems(args: argparse.Namespace) -> list[str]:
    """Paths of the systems or of the folders that hold them."""
    if args.system:
        return args.system
    if args.datafile:
        return listed_systems(Path(args.datafile))
    return _configured(Path(args.train_data or args.valid_data), "training" if args.train_data else "validation")


def listed_systems(path: Path) -> list[str]:
    """The systems that a file names, one on each line; raises DataError where it names none."""
    from dpjax.errors import DataError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of systems: {error}") from error
    systems = [line for line in lines if line and not line.startswith("#")]
    if not systems:
        raise DataError(f"{path}: found no system; expected one path on each line")
    return systems


def _configured(path: Path, which: str) -> list[str]:
    """The systems an input file trains or validates on; relative ones start from the current folder, as in training."""
    from dpjax.config import load
    from dpjax.data import find_systems
    from dpjax.errors import ConfigError

    config = load(str(path))
    section = getattr(config.training, f"{which}_data")
    if section is None:
        raise ConfigError(
            f"{path}: training/{which}_data is missing, so there is nothing to test on; name systems with -s"
        )
    return [str(system) for system in find_systems(section.systems, section.rglob_patterns)]


def _print_system(system: SystemReport) -> None:
    quantities = {name: comparison.quantity for name, comparison in system.comparisons.items()}
    _print_table(f"{system.name}: {system.n_frame} frames of {system.n_atom} atoms", system.errors, quantities)


def _print_table(title: str, errors: dict[str, Errors], quantities: dict[str, Quantity]) -> None:
    width = max([16, *(len(quantities[name].title) for name in errors)])
    print(f"{title}\n  {'':<{width}} {'RMSE':>12} {'MAE':>12}")
    for name, error in errors.items():
        unit = quantities[name].unit or "(unit of the label)"
        print(f"  {quantities[name].title:<{width}} {error.rmse:12.4e} {error.mae:12.4e} {unit}", flush=True)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number, 0 for all frames")
    return int(text)
