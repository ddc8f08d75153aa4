"""``dpjax md``: molecular dynamics of one structure with the integrators of JAX-MD."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from dpjax.cli.models import add_head_option, checkpoint

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="model file or checkpoint")
    parser.add_argument("structure", metavar="STRUCTURE", help="file that ASE reads, or a system of DeePMD-kit")
    parser.add_argument(
        "--frame", type=int, default=0, metavar="N", help="frame of it; negative: from the end (default: 0)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for all results")
    parser.add_argument(
        "--steps", type=int, required=True, metavar="N", help="steps of the whole run, restarts included"
    )
    _add_dynamics(parser.add_argument_group("how atoms move"))
    files = parser.add_argument_group("what is written (numbers of steps; 0: never)")
    files.add_argument(
        "--thermo", type=int, default=100, metavar="N", help="a line of thermo.out every N steps (default: 100)"
    )
    files.add_argument(
        "--dump", type=int, default=100, metavar="N", help="a frame of trajectory.xyz every N steps (default: 100)"
    )
    files.add_argument(
        "--save", type=int, default=1000, metavar="N", help="restart.npz every N steps and at the end (default: 1000)"
    )
    parser.add_argument(
        "--restart", action="store_true", help="continue the run in the output folder exactly where it was saved"
    )
    parser.add_argument(
        "--minimize", nargs="?", type=int, const=500, default=0, metavar="N",
        help="relax the atoms first, by at most N steps of FIRE (without a number: 500)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help="precision of all networks (default: the model's)"
    )
    parser.add_argument(
        "--skin",
        type=float,
        default=1.0,
        metavar="A",
        help="angstrom of the neighbour list beyond the cut-off (default: 1)",
    )
    parser.add_argument(
        "--mass", nargs="+", default=[], metavar="NAME=AMU", help="masses instead of those of the elements"
    )
    parser.add_argument("--fparam", nargs="+", type=float, metavar="X", help="frame parameters of the model")
    parser.add_argument(
        "--charge-spin",
        nargs=2,
        type=float,
        metavar=("Q", "S"),
        help="charge and spin of the structure, for models that take them",
    )
    parser.add_argument("--seed", type=int, default=0, help="of velocities and of the Langevin thermostat (default: 0)")
    add_head_option(parser)


def _add_dynamics(group: Any) -> None:
    group.add_argument("--ensemble", choices=("nve", "nvt", "npt"), default="nve", help="(default: nve)")
    group.add_argument(
        "--temperature", type=float, metavar="K", help="of the thermostat, and of velocities, if the structure has none"
    )
    group.add_argument("--pressure", type=float, metavar="BAR", help="of npt")
    group.add_argument("--timestep", type=float, default=0.5, metavar="FS", help="(default: 0.5)")
    group.add_argument(
        "--thermostat", choices=("nose-hoover", "langevin"), default="nose-hoover", help="of nvt (default: nose-hoover)"
    )
    group.add_argument(
        "--thermostat-time", type=float, metavar="FS", help="period of the thermostat (default: 100 time steps)"
    )
    group.add_argument(
        "--barostat-time", type=float, metavar="FS", help="period of the barostat (default: 1000 time steps)"
    )
    group.add_argument(
        "--friction", type=float, default=1.0, metavar="1/PS", help="of the Langevin thermostat (default: 1)"
    )


def run(args: argparse.Namespace) -> None:
    """Runs the simulation and writes its files."""
    from tqdm import tqdm

    import dpjax
    from dpjax.interfaces.md import Dynamics, Simulation, minimized
    from dpjax.interfaces.md_run import Run, Schedule
    from dpjax.interfaces.structures import read_structure

    dynamics = Dynamics(
        args.ensemble, args.temperature, args.pressure, args.timestep, args.thermostat, args.thermostat_time, args.barostat_time,
        args.friction,
    )  # fmt: skip
    schedule = Schedule(args.steps, args.thermo, args.dump, args.save)
    options = {key: value for key, value in (("head", args.head), ("dtype", args.dtype)) if value is not None}
    potential = dpjax.load(checkpoint(args.model), **options)
    structure = read_structure(args.structure, potential.type_map, args.frame, _masses(args.mass))
    inputs = {"fparam": args.fparam, "charge_spin": args.charge_spin}
    if args.minimize and not args.restart:
        structure, force, steps = minimized(potential, structure, args.minimize, skin=args.skin, **inputs)
        log.info("relaxed in %d steps: the largest force component is %.4g eV/angstrom", steps, force)
    simulation = Simulation(potential, structure, dynamics, seed=args.seed, skin=args.skin, **inputs)
    whole = Run(simulation, schedule, args.output, args.restart)
    source = "of the structure" if structure.momentum is not None else f"drawn at {dynamics.temperature} K"
    if not args.restart:
        log.info("%d atoms, %s, velocities %s", len(structure.atype), args.ensemble, source)
    first = simulation.step
    with tqdm(total=args.steps, initial=first, unit="step", file=sys.stderr, disable=None) as bar:
        seconds = whole.run(bar.update)
    done = simulation.step - first
    rate = f", {done / seconds:.1f} steps/s with compilation" if done else ""
    print(f"{simulation.step} steps, {simulation.step * args.timestep / 1000.0:g} ps, in {args.output}{rate}")


def _masses(words: list[str]) -> dict[str, float]:
    from dpjax.errors import ConfigError

    masses = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            masses[name] = float(number)
        except ValueError:
            raise ConfigError(f"--mass: found {word!r}, expected NAME=AMU, as in H=2.014") from None
    return masses
