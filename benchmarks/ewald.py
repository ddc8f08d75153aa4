#!/usr/bin/env python3
"""Reciprocal Ewald sums: accuracy and time of the direct sum and of the mesh, beside jax-pme where it is installed.

    python benchmarks/ewald.py
    python benchmarks/ewald.py --charges 1000 8000 --repeat 5
    pip install --no-deps jax-pme && python benchmarks/ewald.py

Random charges of water's density (33.4 molecules, each three atoms and a centroid, in 1000 cubic angstrom), at the modifier's
default splitting (0.4/angstrom, 1 angstrom). One evaluation is energy, forces and the derivative by the cell. Programs take turns;
the time is the shortest. Errors are the largest difference from the direct sum over its largest number ("E": relative). Meshes
of jax-pme have the same points; its energies are those of the same formula, of all vectors of its mesh.
"""

from __future__ import annotations

import argparse
import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from common import cores, finish, machine_facts, print_table

from dpjax.nn.ewald import COULOMB, half_widths, reciprocal_energy
from dpjax.nn.particle_mesh import mesh_energy, mesh_points

BETA, SPACING = 0.4, 1.0
DENSITY = 0.1336  # charges per cubic angstrom
Energy = Callable[[jax.Array, jax.Array], jax.Array]


def methods(charge: jax.Array, cell: np.ndarray, most_direct: int) -> dict[str, Energy]:
    """Energies as functions of coordinates and cell, by name."""
    half, options = half_widths(cell, SPACING), {"beta": BETA, "spacing": SPACING}
    found: dict[str, Energy] = {}
    if len(charge) <= most_direct:
        found["direct"] = lambda coord, cell: reciprocal_energy(coord, charge, cell, half=half, **options)
    for order in (6, 8, 10, 12):
        mesh = mesh_points(half, order=order)
        found[f"mesh, order {order}"] = lambda coord, cell, mesh=mesh, order=order: mesh_energy(
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


def measured(number: int, repeat: int, most_direct: int) -> list[dict]:
    """A row for each method."""
    rng = np.random.default_rng(0)
    cell = np.eye(3) * (number / DENSITY) ** (1 / 3)
    coord, charge = jnp.asarray(rng.random((number, 3)) @ cell), rng.normal(size=number)
    charge = jnp.asarray(charge - charge.mean())
    programs, rows = {}, {}
    for name, energy in methods(charge, cell, most_direct).items():
        compiled = jax.jit(jax.value_and_grad(energy, (0, 1))).lower(coord, jnp.asarray(cell)).compile()
        programs[name] = compiled
        memory = compiled.memory_analysis()
        rows[name] = {"charges": number, "method": name, "times": [], "megabytes": memory.temp_size_in_bytes / 1e6}
    results = {}
    for _ in range(repeat + 1):
        for name, program in programs.items():
            start = perf_counter()
            results[name] = jax.block_until_ready(program(coord, jnp.asarray(cell)))
            rows[name]["times"].append(perf_counter() - start)
    best = results.get("direct") or results["mesh, order 12"]
    for name, (value, (force, by_cell)) in results.items():
        pairs = {"energy": (value, best[0]), "force": (force, best[1][0]), "cell": (by_cell, best[1][1])}
        rows[name] |= {key: float(jnp.abs(a - b).max() / jnp.abs(b).max()) for key, (a, b) in pairs.items()}
        rows[name]["seconds"] = min(rows[name].pop("times")[1:])
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charges", type=int, nargs="+", default=[256, 1000, 4000, 16000, 64000])
    parser.add_argument("--repeat", type=int, default=3, help="timed evaluations of each program (3)")
    parser.add_argument(
        "--most-direct", type=int, default=16000, help="charges up to which the direct sum runs (16000)"
    )
    parser.add_argument("--output", type=Path, help="also write the results there, as JSON")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = [row for number in args.charges for row in measured(number, args.repeat, args.most_direct)]
    facts = machine_facts(len(cores()))
    text = [
        [r["method"], r["charges"], f"{1e3 * r['seconds']:.1f}", f"{r['megabytes']:.0f}",
         *(f"{r[key]:.0e}" for key in ("energy", "force", "cell"))]
        for r in rows
    ]  # fmt: skip
    print_table(json.dumps(facts), ("method", "charges", "ms", "MB", "error E", "error F", "error cell"), text)
    finish(args, {"facts": facts, "rows": rows}, failed=False)


if __name__ == "__main__":
    main()
