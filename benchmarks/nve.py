#!/usr/bin/env python3
"""Energy drift and speed of constant-energy dynamics of water: JAX-MD on the device beside ASE's VelocityVerlet.

    python benchmarks/nve.py --model model.dp                         10 ps of 96 atoms, both precisions, both programs
    python benchmarks/nve.py --atoms 192 --ps 10 --json nve.json
    python benchmarks/nve.py --ps 0.05 --train-steps 50               does it work

Without --model, configs/water_se_e2_a.json is trained first (--train-steps instead of its number). A frame of examples/water/valid
is relaxed a little, brought to --temperature by Langevin dynamics (--equilibrate ps), and from there both programs start with
the same positions and velocities. The drift is the slope of a straight line through the total energy, per atom and picosecond; the
spread is what is left around it. Forces are compared with `Potential.evaluate` on dumped frames. float32 means networks in single
precision; positions and sums over atoms are in double precision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import REPOSITORY, print_table

PRECISIONS = ("float64", "float32")


def main() -> None:
    args = parse()
    import dpjax
    from dpjax.interfaces.md import Dynamics, Simulation, minimized

    with tempfile.TemporaryDirectory() as folder:
        model = args.model or trained(Path(folder), args.train_steps)
        models = {name: dpjax.load(model, dtype=name) for name in args.precision}
    pot = models[args.precision[0]]
    start = doubled(water(pot.type_map), args.atoms)
    start = minimized(pot, start, 30)[0]
    warm = Simulation(
        pot, start, Dynamics("nvt", args.temperature, timestep=args.timestep, thermostat="langevin", friction=20.0)
    )
    warm.advance(steps_of(args.equilibrate, args.timestep))
    start = with_state(start, warm.snapshot())
    rows = []
    for precision in args.precision:
        for program in args.only:
            run = jax_md_run if program == "jax-md" else ase_run
            rows.append({"program": program, "networks": precision, **run(models[precision], start, args)})
    header = ["program", "networks", "drift (meV/atom/ps)", "spread (meV/atom)", "force error (eV/A)", "steps/s"]
    numbers = {"drift": ".3e", "spread": ".3e", "force_error": ".1e", "steps_per_s": ".1f"}
    cells = [[row["program"], row["networks"], *(format(row[k], f) for k, f in numbers.items())] for row in rows]
    print_table(f"NVE of {len(start.atype)} atoms, {args.ps} ps, {args.timestep} fs", header, cells)
    if args.json:
        Path(args.json).write_text(json.dumps({"options": vars(args), "rows": rows}, indent=1), encoding="utf-8")


def jax_md_run(pot, start, args) -> dict:
    """Steps in chunks on the device; the first chunk, which compiles, is not timed."""
    import jax

    from dpjax.interfaces.md import Dynamics, Simulation

    run = Simulation(pot, start, Dynamics("nve", timestep=args.timestep))
    first = run.state
    run.advance(args.every)
    run.state, run.step = first, 0
    with jax.enable_x64(True):
        run.neighbors = run.neighbor_fn.allocate(first.position, least=run.neighbors.capacity)
    energies, errors, seconds = [run.observe()["total"]], [], 0.0
    for _ in range(steps_of(args.ps, args.timestep) // args.every):
        begin = time.perf_counter()
        run.advance(args.every)
        seconds += time.perf_counter() - begin
        energies.append(run.observe()["total"])
        now = run.snapshot()
        errors.append(force_error(pot, start, now["coord"], now["cell"], now["force"]))
    return result(energies, errors, run.step / seconds, len(start.atype), args)


def ase_run(pot, start, args) -> dict:
    """The same through the calculator."""
    from ase import Atoms, units
    from ase.md.verlet import VelocityVerlet

    from dpjax.interfaces.ase import DPCalculator

    atoms = Atoms(start.symbols, positions=start.coord, cell=start.cell, pbc=start.pbc, masses=start.mass)
    atoms.set_momenta(start.momentum)
    atoms.calc = DPCalculator(pot)
    atoms.get_forces()
    dynamics = VelocityVerlet(atoms, timestep=args.timestep * units.fs)
    energies, errors, seconds = [atoms.get_total_energy()], [], 0.0
    chunks = steps_of(args.ps, args.timestep) // args.every
    for _ in range(chunks):
        begin = time.perf_counter()
        dynamics.run(args.every)
        seconds += time.perf_counter() - begin
        energies.append(atoms.get_total_energy())
        errors.append(force_error(pot, start, atoms.positions, atoms.cell.array, atoms.get_forces()))
    return result(energies, errors, chunks * args.every / seconds, len(atoms), args)


def force_error(pot, start, coord, cell, force) -> float:
    """Largest difference from ``evaluate``, eV/angstrom."""
    return float(np.abs(pot.evaluate(coord[None], start.atype, cell[None])["force"][0] - force).max())


def result(energies, errors, speed, n_atom, args) -> dict:
    """Drift in meV per atom and ps, and what is left around the line."""
    time_ps = np.arange(len(energies)) * args.every * args.timestep / 1000.0
    per_atom = 1000.0 * (np.array(energies) - energies[0]) / n_atom
    slope, offset = np.polyfit(time_ps, per_atom, 1)
    spread = np.std(per_atom - slope * time_ps - offset)
    return {
        "drift": float(slope),
        "spread": float(spread),
        "force_error": max(errors),
        "steps_per_s": speed,
        "total": energies,
    }


def trained(folder: Path, steps: int | None) -> Path:
    """The standard model on the water of the repository."""
    import dpjax

    section = json.loads((REPOSITORY / "configs" / "water_se_e2_a.json").read_text(encoding="utf-8"))
    for part in ("training_data", "validation_data"):
        own = section["training"][part]
        own["systems"] = [str(REPOSITORY / name) for name in own["systems"]]
    if steps:
        section["training"]["numb_steps"] = steps
    dpjax.train(section, output=str(folder / "run"))
    return folder / "run"


def water(type_map):
    from dpjax.interfaces.structures import read_structure

    return read_structure(REPOSITORY / "examples" / "water" / "valid", type_map)


def doubled(structure, atoms: int):
    """The structure repeated along its first cell vector until it has so many atoms."""
    from dataclasses import replace

    times, left = divmod(atoms, len(structure.atype))
    if left or not times:
        sys.exit(f"--atoms {atoms}: give a multiple of {len(structure.atype)}")
    coord = np.concatenate([structure.coord + i * structure.cell[0] for i in range(times)])
    cell = structure.cell * np.array([[times], [1], [1]])
    repeated = np.tile(structure.atype, times), np.tile(structure.mass, times)
    return replace(
        structure, symbols=structure.symbols * times, atype=repeated[0], mass=repeated[1], coord=coord, cell=cell
    )


def with_state(structure, now):
    from dataclasses import replace

    return replace(structure, coord=now["coord"], momentum=now["momentum"])


def steps_of(ps: float, timestep: float) -> int:
    return round(1000.0 * ps / timestep)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model file or checkpoint")
    parser.add_argument("--train-steps", type=int, help="steps of the training without --model (default: the config's)")
    parser.add_argument("--atoms", type=int, default=96)
    parser.add_argument("--ps", type=float, default=10.0)
    parser.add_argument("--equilibrate", type=float, default=0.5, help="ps")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--every", type=int, default=100, help="steps between two energies")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--only", nargs="+", choices=("jax-md", "ase"), default=["jax-md", "ase"])
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
