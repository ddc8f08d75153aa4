#!/usr/bin/env python3
"""Time per atom of ``Potential.evaluate`` on thousands of molecules, against single frames with as many atoms and neighbours.

    python benchmarks/batched_evaluation.py                           5,000 molecules of 3 to 60 atoms
    python benchmarks/batched_evaluation.py --molecules 300           a quick look
    python benchmarks/batched_evaluation.py --descriptor se_atten     atoms and neighbours in one section, whatever their types
    python benchmarks/batched_evaluation.py --devices 2               virtual CPU devices, which share the cores

The molecules are random chains with branches: H, C, N and O at the distances of bonds, in random directions. They are compared with

* ``apart``: the same molecules in one open frame, farther from each other than the cut-off. Every atom has its own neighbours
  again, so work is the same, atom by atom.
* ``even``: one periodic frame of as many atoms of each type, on a shaken lattice whose density gives as many neighbours in all.
  All atoms have nearly the same number, so that next to nothing is padding: the hardest measure.

In all times is everything that ``evaluate`` does: checks, neighbour search, packing, the program, results. Programs are compiled
in a first round, whose times are given, too; the next rounds take turns. Weights are random.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import Any

import numpy as np
from common import STANDARD, finish, machine_facts, pin, print_table, spread
from options import new_parser, whole

TYPES = ("H", "C", "N", "O")
SHARES = (0.5, 0.36, 0.07, 0.07)
DESCRIPTORS = {
    "se_e2_a": STANDARD | {"sel": [60, 60, 30, 30]},
    "se_atten": STANDARD | {"type": "se_atten_v2", "sel": 120, "attn_layer": 0},
}  # fmt: skip


def main() -> None:
    args = parse_args()
    pin(0, args.threads)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={args.devices}"
    facts = machine_facts(args.threads)
    rng = np.random.default_rng(args.seed)
    molecules = [molecule(rng, int(n)) for n in rng.integers(3, 61, args.molecules)]
    pot = potential(args)
    n_atom = sum(len(atype) for _, atype in molecules)
    cases = {"molecules": together(molecules), "apart": apart(molecules, pot.rcut)}
    cases["even"] = even(rng, cases["apart"]["atype"][0], edges(pot, cases["apart"]), pot.rcut)
    found = {name: edges(pot, case) for name, case in cases.items()}
    models = {name: pot if name == "molecules" else pot.with_variables(pot.variables) for name in cases}
    first, times, energies = {}, {name: [] for name in cases}, {}
    counts = {}
    for repetition in range(args.repeat + 1):
        for name, case in cases.items():
            before, start = len(pot._programs), time.perf_counter()
            out = models[name].evaluate(**case)
            seconds = time.perf_counter() - start
            counts[name] = counts.get(name, 0) + len(pot._programs) - before
            if repetition:
                times[name].append(seconds)
            else:
                first[name], energies[name] = seconds, float(np.sum(out["energy"]))
    difference = abs(energies["molecules"] - energies["apart"]) / n_atom
    what = {"molecules": len(molecules), "atoms": n_atom, "descriptor": args.descriptor, "precision": args.precision}
    result = {"benchmark": "batched_evaluation", **facts, **what, "devices": args.devices, "repeat": args.repeat}
    result |= {
        "energy_difference_per_atom": difference,
        "layouts": [layout.__dict__ for layout in pot._programs.layouts.known],
    }
    reference = {name: median(values) for name, values in times.items()}
    result["cases"] = {
        name: {
            "neighbors": found[name],
            "programs": counts[name],
            "first": first[name],
            "microseconds_per_atom": 1e6 * reference[name] / n_atom,
            "spread": [1e6 * t / n_atom for t in spread(times[name])],
            "molecules_over_this": reference["molecules"] / reference[name],
        }
        for name in cases
    }
    show(result)
    finish(args, result, False)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=3, peers=())
    parser.add_argument("--molecules", type=whole, default=5000, metavar="N", help="molecules (default: 5000)")
    parser.add_argument("--descriptor", choices=tuple(DESCRIPTORS), default="se_e2_a", help="default: se_e2_a")
    parser.add_argument("--precision", choices=("float64", "float32"), default="float64", help="default: float64")
    parser.add_argument("--fitting", type=whole, nargs="+", default=[240, 240, 240], metavar="N", help="widths")
    parser.add_argument("--devices", type=whole, default=1, help="virtual CPU devices (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the molecules (default: 0)")
    return parser.parse_args()


def potential(args: argparse.Namespace) -> Any:
    """The model with random weights."""
    import dpjax

    own = {"precision": args.precision, "seed": 1}
    fitting = {"neuron": args.fitting, "resnet_dt": True} | own
    return dpjax.build(
        {"type_map": list(TYPES), "descriptor": DESCRIPTORS[args.descriptor] | own, "fitting_net": fitting}
    )


def molecule(rng: np.random.Generator, n_atom: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, 3) and types: each atom is bound to one before it that is no hydrogen, and near no other."""
    types = rng.choice(len(TYPES), n_atom, p=SHARES)
    types = np.concatenate([[1], np.sort(types[1:])[::-1]])  # hydrogen last
    coord = np.zeros((n_atom, 3))
    for i in range(1, n_atom):
        hosts = np.flatnonzero(types[:i] > 0)
        bond, gap = (1.09, 1.5) if types[i] == 0 else (1.5, 2.1)
        while True:
            host = rng.choice(hosts)
            step = rng.normal(size=(16, 3))
            step *= bond / np.linalg.norm(step, axis=1, keepdims=True)
            near = np.linalg.norm(coord[host] + step[:, None] - coord[None, :i], axis=-1)
            near[:, host] = gap
            good = np.flatnonzero(near.min(axis=1) >= gap)
            if len(good):
                coord[i] = coord[host] + step[good[0]]
                break
            gap *= 0.97
    return coord, types.astype(np.int32)


def together(molecules: list) -> dict[str, Any]:
    return {"coord": [coord for coord, _ in molecules], "atype": [atype for _, atype in molecules]}


def apart(molecules: list, rcut: float) -> dict[str, Any]:
    """One open frame of all molecules, on a grid."""
    side = int(np.ceil(np.cbrt(len(molecules))))
    pitch = max(np.ptp(coord, axis=0).max() for coord, _ in molecules) + 1.1 * rcut
    place = np.arange(len(molecules))[:, None] // np.array([1, side, side**2]) % side
    coord = np.concatenate([coord - coord.min(axis=0) + pitch * own for (coord, _), own in zip(molecules, place)])
    return {"coord": [coord], "atype": [np.concatenate([atype for _, atype in molecules])]}


def even(rng: np.random.Generator, atype: np.ndarray, n_edge: int, rcut: float) -> dict[str, Any]:
    """One periodic frame with these types and about so many neighbours."""
    n_atom = len(atype)
    edge = np.cbrt(n_atom * 4 / 3 * np.pi * rcut**3 / (n_edge / n_atom + 1))
    side = int(np.ceil(np.cbrt(n_atom)))
    sites = rng.permutation(side**3)[:n_atom]
    coord = (
        (sites[:, None] // np.array([1, side, side**2]) % side + rng.uniform(-0.15, 0.15, (n_atom, 3))) * edge / side
    )
    return {"coord": [coord], "atype": [rng.permutation(atype)], "cell": [edge * np.eye(3)]}


def edges(pot: Any, case: dict[str, Any]) -> int:
    """Neighbours of all atoms."""
    from dpjax.neighbors import search_many

    cells = case.get("cell", [None] * len(case["coord"]))
    tables = search_many(case["coord"], case["atype"], len(TYPES), pot.rcut, cells)
    return sum(table.n_edge for table in tables)


def show(result: dict) -> None:
    rows = [
        [name, row["neighbors"], row["programs"], f"{row['first']:.1f}", f"{row['microseconds_per_atom']:.2f}",
         *(f"{t:.2f}" for t in row["spread"]), f"{row['molecules_over_this']:.2f}"]
        for name, row in result["cases"].items()
    ]  # fmt: skip
    title = (
        f"evaluate: {result['molecules']} molecules, {result['atoms']} atoms, {result['descriptor']} {result['precision']}, "
        f"{result['threads']} threads, {result['devices']} devices, {result['repeat']} rounds; energies differ by "
        f"{result['energy_difference_per_atom']:.1e} eV per atom"
    )
    print_table(title, ["", "neighbors", "programs", "first s", "us/atom", "min", "max", "molecules over it"], rows)


if __name__ == "__main__":
    main()
