#!/usr/bin/env python3
"""What ASE and the calculator add to the compiled program: milliseconds of a step of molecular dynamics of water.

    python benchmarks/ase_overhead.py
    python benchmarks/ase_overhead.py --precision float32 --size 1536
    python benchmarks/ase_overhead.py --model MODEL --skin 0.5 --steps 200

The standard water model (se_e2_a 25-50-100, axis 16, fitting 240-240-240), untrained unless --model names one, and one structure:

- "program": the compiled program of the calculator, on arrays that are on the device already, until its result is there;
- "exact list": the same model on a table without a skin, which could not serve a second step;
- "calculator": ``atoms.get_forces()`` after the atoms moved, while the list serves;
- "step": a step of ASE's VelocityVerlet with everything, new lists included.

They take turns; medians count. "over program" is the number that matters: what a step takes beside the program.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from common import PRECISIONS, WATER, finish, machine_facts, pin, print_table, spread, water_input
from frames import first_frame, repeated, repetitions
from options import amount, new_parser, system, whole


def main() -> None:
    args = parse_args()
    facts = machine_facts(args.threads)
    pin(os.getpid(), args.threads)  # before jax starts its threads
    runs = prepare(args)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeat):
        for name, run in runs.items():
            times[name] += clocked(run, args.steps)
    calculator = runs["step"].keywords["calculator"]
    rows = {
        name: {"ms": 1e3 * median(values), "spread_ms": [1e3 * t for t in spread(values)]}
        for name, values in times.items()
    }
    rows["step"]["ms"] = 1e3 * float(np.mean(times["step"]))  # a mean, because a new list comes once in many steps
    for row in rows.values():
        row["over_program"] = row["ms"] / rows["program"]["ms"] - 1
    what = {
        "atoms": args.atoms,
        "precision": args.precision,
        "skin": args.skin,
        "steps": args.steps,
        "repeat": args.repeat,
    }
    result = {"benchmark": "ase_overhead", **facts, **what, "searches": calculator.listed.searches, "rows": rows}
    show(result)
    finish(args, result, False)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=5, peers=())
    parser.add_argument(
        "--data", type=system, default=WATER[0], metavar="DIR", help="system O H whose first frame is taken"
    )
    parser.add_argument(
        "--model", type=Path, help="a trained water model; --precision then changes that of its networks"
    )
    parser.add_argument("--size", type=whole, default=192, metavar="N", help="number of atoms, about (default: 192)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float64", help="of the networks (default: float64)")
    parser.add_argument("--skin", type=amount, default=1.0, help="of the neighbour list, angstrom (default: 1)")
    parser.add_argument("--steps", type=whole, default=40, help="steps of each turn (default: 40)")
    args = parser.parse_args()
    if args.model and not args.model.exists():
        parser.error(f"--model {args.model}: no such file or folder; leave --model out for an untrained one")
    return args


def prepare(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """What is measured, compiled and warm."""
    import jax
    from ase import Atoms, units
    from ase.md.verlet import VelocityVerlet

    import dpjax
    from dpjax.interfaces.ase import DPCalculator

    model = args.model or dpjax.build(
        water_input([args.data], steps=1, interval=1, batch=1, precision=args.precision)["model"]
    )
    frame = first_frame(args.data)
    frame = repeated(frame, repetitions(max(1, round(args.size / len(frame["atype"])))))
    args.atoms = len(frame["atype"])
    atoms = Atoms(np.array(["O", "H"])[frame["atype"]], positions=frame["coord"], cell=frame["cell"], pbc=True)
    calculator = DPCalculator(model, skin=args.skin, dtype=args.precision if args.model else None)
    atoms.calc = calculator
    atoms.get_forces()
    rng = np.random.default_rng(1)
    atoms.set_momenta(rng.normal(size=(args.atoms, 3)) * np.sqrt(300 * units.kB * atoms.get_masses())[:, None])
    still = atoms.copy()
    still.calc = DPCalculator(model, skin=args.skin, dtype=args.precision if args.model else None)
    still.get_forces()
    exact = exact_list(calculator.potential, frame, jax)
    calls = {
        "program": partial(program, listed=calculator.listed, jax=jax),
        "exact list": exact,
        "calculator": partial(moved, atoms=still, rng=rng),
        "step": partial(step, dynamics=VelocityVerlet(atoms, 0.5 * units.fs), calculator=calculator),
    }
    for call in calls.values():
        clocked(call, 3)
    return calls


def program(listed, jax) -> None:
    """The program on the arrays of the list as it was made."""
    _, nbrs, atomic, grid = next(iter(listed.programs))
    with jax.enable_x64(True):
        jax.block_until_ready(
            listed._program(listed._variables, listed._listed.batch, nbrs=nbrs, atomic=atomic, grid=grid)
        )


def exact_list(potential, frame: dict, jax) -> Callable[[], None]:
    """Prediction from a table up to the cut-off."""
    from dpjax.batching import choose_layout, pack
    from dpjax.models import predict, resolutions

    frames = potential.frames(frame["coord"][None], frame["atype"], frame["cell"][None])
    batch, _ = pack(frames, choose_layout(frames, potential.model.n_section, potential.model.sel))
    with jax.enable_x64(True):
        grid = resolutions(potential.model, potential.variables, batch.layout)[0]
        run = jax.jit(partial(predict, potential.model, grid=grid))
        batch, variables = jax.device_put((batch, potential.variables))

    def call() -> None:
        with jax.enable_x64(True):
            jax.block_until_ready(run(variables, batch))

    return call


def moved(atoms, rng) -> None:
    atoms.positions += rng.uniform(-1e-4, 1e-4, atoms.positions.shape)
    atoms.get_forces()


def step(dynamics, calculator) -> None:
    dynamics.run(1)


def clocked(run: Callable[[], None], number: int) -> list[float]:
    """Seconds of each of some calls."""
    times = []
    for _ in range(number):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def show(result: dict) -> None:
    rows = [
        [
            name,
            f"{row['ms']:.2f}",
            "-".join(f"{t:.2f}" for t in row["spread_ms"]),
            f"{100 * row['over_program']:+.1f} %",
        ]
        for name, row in result["rows"].items()
    ]
    title = (
        f"Water, {result['atoms']} atoms, {result['precision']}, {result['threads']} threads, skin {result['skin']:g} angstrom, "
        f"{result['searches']} neighbour searches"
    )
    print_table(title, ["", "ms", "from-to", "over program"], rows)


if __name__ == "__main__":
    main()
