#!/usr/bin/env python3
"""Reciprocal Ewald sums: accuracy and time of the direct sum and of the mesh, beside jax-pme where it is installed.

    python benchmarks/ewald.py
    python benchmarks/ewald.py --charges 1000 8000 --repeat 5
    python benchmarks/ewald.py --charges 1000 4000 16000 --orders 10 --seconds 20     # where the mesh overtakes the direct sum
    pip install --no-deps jax-pme && python benchmarks/ewald.py

Random charges of water's density (33.4 molecules, each three atoms and a centroid, in 1000 cubic angstrom), at the modifier's
default splitting (0.4/angstrom, 1 angstrom). One evaluation is energy, forces and the derivative by the cell. Programs take turns;
the time is the shortest. The last line says at how many charges times vectors the mesh overtakes the direct sum, which is DIRECT in
dpjax/models/dipole_charge.py. Errors are the largest difference from the direct sum over its largest number ("E": relative). Meshes
of jax-pme have the same points; its energies are those of the same formula, of all vectors of its mesh.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from common import cores, finish, machine_facts, print_table

from dpjax.nn.ewald import COULOMB, half_widths, reciprocal_energy
from dpjax.nn.particle_mesh import ORDER, mesh_energy, mesh_points

BETA, SPACING = 0.4, 1.0
DENSITY = 0.1336  # charges per cubic angstrom
DIRECT = "direct"
Energy = Callable[[jax.Array, jax.Array], jax.Array]


def name_of(order: int) -> str:
    """Of a mesh with splines of this order."""
    return f"mesh, order {order}"


def methods(charge: jax.Array, cell: np.ndarray, orders: Sequence[int]) -> dict[str, Energy]:
    """Energies as functions of coordinates and cell, by name."""
    half, options = half_widths(cell, SPACING), {"beta": BETA, "spacing": SPACING}
    found: dict[str, Energy] = {
        DIRECT: lambda coord, cell: reciprocal_energy(coord, charge, cell, half=half, **options)
    }
    for order in orders:
        mesh = mesh_points(half, order=order)
        found[name_of(order)] = lambda coord, cell, mesh=mesh, order=order: mesh_energy(
            coord, charge, cell, mesh=mesh, order=order, **options
        )
    return found | of_jax_pme(charge, mesh_points(half))


def of_jax_pme(charge: jax.Array, mesh: tuple[int, int, int]) -> dict[str, Energy]:
    """Those of jax-pme; none where it is not installed."""
    try:
        from jaxpme import solvers
        from jaxpme.kspace import generate_kvectors, get_reciprocal
    except ImportError:
        return {}
    smearing = 1.0 / (np.sqrt(2.0) * BETA)
    kernel = namedtuple("Kernel", ("lr", "correction"))(
        lambda s, k2: jnp.where(k2 == 0, 0.0, 4 * jnp.pi * jnp.exp(-0.5 * s**2 * k2) / jnp.where(k2 == 0, 1.0, k2)),
        lambda *_: 0.0,
    )

    def energy(solver, coord, cell):
        reciprocal = get_reciprocal(cell)
        vectors = generate_kvectors(reciprocal, mesh, False, jnp.float64)
        volume = jnp.abs(jnp.linalg.det(cell))
        potential = solver.kspace(smearing, charge, reciprocal, np.ones(mesh), vectors, coord, volume, cell, None)
        return COULOMB * jnp.sum(charge * potential)

    found = {"jax-pme PME, 4 nodes": solvers.pme(kernel, 4), "jax-pme P3M, 5 nodes": solvers.p3m(kernel, 5)}
    return {name: lambda coord, cell, own=own: energy(own, coord, cell) for name, own in found.items()}


def measured(number: int, repeat: int, orders: Sequence[int], slow: set[str], seconds: float) -> list[dict]:
    """A row for each method that is not among the slow ones, which those that take too long join."""
    rng = np.random.default_rng(0)
    cell = np.eye(3) * (number / DENSITY) ** (1 / 3)
    coord, charge = jnp.asarray(rng.random((number, 3)) @ cell), rng.normal(size=number)
    charge = jnp.asarray(charge - charge.mean())
    programs, rows = {}, {}
    for name, energy in methods(charge, cell, orders).items():
        if name in slow:
            continue
        compiled = jax.jit(jax.value_and_grad(energy, (0, 1))).lower(coord, jnp.asarray(cell)).compile()
        programs[name] = compiled
        memory = compiled.memory_analysis()
        rows[name] = {"charges": number, "method": name, "times": [], "megabytes": memory.temp_size_in_bytes / 1e6}
        rows[name]["vectors"] = int(np.prod([2 * h + 1 for h in half_widths(cell, SPACING)]))
    results = {}
    for i in range(repeat + 1):
        for name, program in programs.items():
            if name in slow and i > 1:
                continue
            start = perf_counter()
            results[name] = jax.block_until_ready(program(coord, jnp.asarray(cell)))
            rows[name]["times"].append(perf_counter() - start)
            if rows[name]["times"][-1] > seconds:
                slow.add(name)
    best = results.get(DIRECT) or results[name_of(max(orders))]
    for name, (value, (force, by_cell)) in results.items():
        pairs = {"energy": (value, best[0]), "force": (force, best[1][0]), "cell": (by_cell, best[1][1])}
        rows[name] |= {key: float(jnp.abs(a - b).max() / jnp.abs(b).max()) for key, (a, b) in pairs.items()}
        rows[name]["seconds"] = min(rows[name].pop("times")[1:])
    return list(rows.values())


def crossing(rows: Sequence[dict], mesh: str) -> float | None:
    """Charges times vectors at which a mesh takes as long as the direct sum, between sizes of which it loses and wins; or None."""
    times = {(row["method"], row["charges"]): row["seconds"] for row in rows}
    sizes = sorted((row["charges"], row["charges"] * row["vectors"]) for row in rows if row["method"] == DIRECT)
    points = [
        (np.log(work), np.log(times[DIRECT, charges] / times[mesh, charges]))
        for charges, work in sizes
        if (mesh, charges) in times
    ]
    for (x, before), (y, after) in itertools.pairwise(points):
        if before < 0 <= after:
            return float(np.exp(x - before * (y - x) / (after - before)))
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charges", type=int, nargs="+", default=[256, 1000, 4000, 16000, 64000])
    parser.add_argument("--repeat", type=int, default=3, help="timed evaluations of each program (3)")
    parser.add_argument("--orders", type=int, nargs="+", default=[6, 8, 10, 12], help="of the splines (6 8 10 12)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="a method that takes longer is left out of larger sizes (30)"
    )
    parser.add_argument("--output", type=Path, help="also write the results there, as JSON")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    slow: set[str] = set()
    rows = []
    for number in sorted(args.charges):
        rows += measured(number, args.repeat, args.orders, slow, args.seconds)
        print(f"{number} charges measured", file=sys.stderr, flush=True)
    facts = machine_facts(len(cores()))
    text = [
        [r["method"], r["charges"], f"{1e3 * r['seconds']:.1f}", f"{r['megabytes']:.0f}",
         *(f"{r[key]:.0e}" for key in ("energy", "force", "cell"))]
        for r in rows
    ]  # fmt: skip
    print_table(json.dumps(facts), ("method", "charges", "ms", "MB", "error E", "error F", "error cell"), text)
    point = crossing(rows, name_of(ORDER))
    print("the mesh overtakes the direct sum " + ("in no range of these sizes" if point is None else f"at {point:.1e}"))
    finish(args, {"facts": facts, "rows": rows, "crossing": point}, failed=False)


if __name__ == "__main__":
    main()
