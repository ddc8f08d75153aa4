#!/usr/bin/env python3
"""Make the data set in ``examples/molecules``: small organic molecules labelled with GFN2-xTB.

Beside energy and force every frame has what dipole, polar, dos and property models learn: dipole, polarizability,
density of states (also of each atom) and HOMO-LUMO gap. Geometries come from Langevin dynamics at 300 and 600 K on the
GFN2-xTB surface (libraries ASE and tblite); training and validation have trajectories of their own.

    pip install 'dpjax[data]'
    python scripts/make_molecules_data.py --output examples/molecules --jobs 2

Units: angstrom, eV, eV/angstrom; dipole e angstrom, polarizability angstrom^3, density of states 1/eV. Method: GFN2-xTB,
Bannwarth, Ehlert & Grimme, JCTC 15, 1652 (2019).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core is faster than threads inside the solver

BOHR = 0.529177210903  # angstrom
HARTREE = 27.211386245988  # eV
TYPE_MAP = ("H", "C", "N", "O")
MOLECULES = {  # folder -> name in ASE's collection of the G2 set
    "water": "H2O",
    "ammonia": "NH3",
    "formaldehyde": "H2CO",
    "formic_acid": "HCOOH",
    "methanol": "CH3OH",
    "acetamide": "CH3CONH2",
}
FRAMES = {"train": 40, "valid": 8}  # of each molecule at each temperature
TEMPERATURES = (300.0, 600.0)  # K
GRID = np.linspace(-24.0, 8.4, 55)  # eV, of the density of states
WIDTH = 0.6  # eV, standard deviation of the Gaussian of one orbital; as the spacing, so that sums over the grid are integrals
FIELD = (
    5e-4  # hartree / (e bohr), step of the finite differences; its error is of second order, 1e-5 of a polarizability
)
ACCURACY = 1e-3  # of tblite; with its default of 1 the polarizability is converged to 1e-2 only
HEAVY_HYDROGEN = 4.0  # u, allows steps of 1 fs and leaves the distribution of geometries unchanged


@dataclass(frozen=True)
class Trajectory:
    """One trajectory: which molecule, for which part of the data, how hot, and how many frames are taken from it."""

    part: str
    molecule: str
    temperature: float  # K
    n_frame: int

    @property
    def seed(self) -> list[int]:
        """Numbers that no other trajectory has."""
        place = (list(FRAMES).index(self.part), list(MOLECULES).index(self.molecule))
        return [20261, *place, TEMPERATURES.index(self.temperature)]


TRAJECTORIES = tuple(
    Trajectory(part, molecule, temperature, n_frame)
    for part, n_frame in FRAMES.items()
    for molecule in MOLECULES
    for temperature in TEMPERATURES
)


def broaden(levels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gaussians at ``levels`` (n_level,) eV with areas ``weights`` (n_level, n), on the grid: (n, n_grid) 1/eV."""
    gaussians = np.exp(-0.5 * ((GRID - levels[:, None]) / WIDTH) ** 2) / (WIDTH * np.sqrt(2 * np.pi))
    return weights.T @ gaussians


def populations(coefficients: np.ndarray, overlap: np.ndarray, atom_of: np.ndarray) -> np.ndarray:
    """Share of each atom in each orbital after Mulliken, (n_orbital, n_atom); the shares of an orbital sum to 1.

    Args:
        coefficients: (n_basis, n_orbital), orthonormal with respect to the overlap.
        overlap: (n_basis, n_basis).
        atom_of: (n_basis,) atom of each basis function.
    """
    shares = coefficients * (overlap @ coefficients)
    return np.stack([shares[atom_of == atom].sum(axis=0) for atom in range(atom_of.max() + 1)], axis=1)


def polarizability(dipole_in: Callable[[np.ndarray], np.ndarray], step: float = FIELD) -> np.ndarray:
    """Derivative of the dipole by the electric field, (3, 3), symmetric; by central differences.

    Args:
        dipole_in: the dipole (3,) in a uniform field (3,).
        step: strength of the field.
    """
    fields = step * np.eye(3)
    slope = np.stack([(dipole_in(field) - dipole_in(-field)) / (2 * step) for field in fields])
    return (slope + slope.T) / 2


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation, uniform over all of them, (3, 3)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def dynamics(
    atoms: Any,
    temperature: float,
    rng: np.random.Generator,
    n_frame: int,
    interval: int,
    equilibration: int,
    method: str = "GFN2-xTB",
) -> Iterator[np.ndarray]:
    """Langevin dynamics: positions (n_atom, 3) angstrom of one frame after another.

    Args:
        atoms: of ASE, where to start; they move, and get momenta, heavy hydrogen and a calculator.
        temperature: K.
        rng: for momenta and noise.
        n_frame: how many frames.
        interval: steps of 1 fs between two frames.
        equilibration: steps before the first interval.
        method: of tblite, whose forces drive the atoms.
    """
    from ase import units
    from ase.md.langevin import Langevin
    from tblite.ase import TBLite

    symbols = atoms.get_chemical_symbols()
    atoms.set_masses([HEAVY_HYDROGEN if s == "H" else mass for s, mass in zip(symbols, atoms.get_masses())])
    atoms.calc = TBLite(method=method, verbosity=0)
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
    motion = Langevin(atoms, units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    motion.run(equilibration)
    for _ in range(n_frame):
        motion.run(interval)
        yield atoms.get_positions()


def sample(trajectory: Trajectory, interval: int, equilibration: int) -> tuple[list[str], np.ndarray]:
    """Elements, and positions (n_frame, n_atom, 3) angstrom, every frame turned at random about its centre.

    Args:
        trajectory: what to simulate.
        interval: steps of 1 fs between two frames.
        equilibration: steps before the first interval.
    """
    from ase.build import molecule

    rng = np.random.default_rng(trajectory.seed)
    atoms = molecule(MOLECULES[trajectory.molecule])
    steps = dynamics(atoms, trajectory.temperature, rng, trajectory.n_frame, interval, equilibration)
    frames = [turned(position, rng) for position in steps]
    return atoms.get_chemical_symbols(), np.stack(frames)


def turned(position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same atoms about their centre, turned at random."""
    return (position - position.mean(axis=0)) @ random_rotation(rng).T


def calculator(symbols: Sequence[str], position: np.ndarray, field: np.ndarray | None = None):
    """A GFN2-xTB calculator of a molecule, in a uniform electric field if one is given (atomic units)."""
    from ase.data import atomic_numbers
    from tblite.interface import Calculator

    made = Calculator("GFN2-xTB", np.array([atomic_numbers[s] for s in symbols]), position / BOHR)
    made.set("verbosity", 0)
    made.set("accuracy", ACCURACY)
    if field is not None:
        made.add("electric-field", [float(component) for component in field])
    return made


def label(symbols: Sequence[str], position: np.ndarray) -> dict[str, np.ndarray]:
    """All labels of one frame, ``position`` (n_atom, 3) angstrom; units as in the head of this file."""
    solver = calculator(symbols, position)
    solver.set("save-integrals", 1)
    result = solver.singlepoint()
    levels = result["orbital-energies"] * HARTREE
    occupied = np.count_nonzero(result["orbital-occupations"] > 1)
    atom_of = solver.get("shell-map")[solver.get("orbital-map")]  # basis function -> shell -> atom
    shares = populations(result["orbital-coefficients"], result["overlap-matrix"], atom_of)
    atom_dos = broaden(levels, shares)
    response = polarizability(lambda field: calculator(symbols, position, field).singlepoint()["dipole"])
    return {
        "energy": np.array([result["energy"] * HARTREE]),
        "force": -result["gradient"].ravel() * (HARTREE / BOHR),
        "dipole": result["dipole"] * BOHR,
        "polarizability": response.ravel() * BOHR**3,
        "gap": np.array([levels[occupied] - levels[occupied - 1]]),
        "dos": atom_dos.sum(axis=0),
        "atom_dos": atom_dos.ravel(),
    }


def run(job: tuple[Trajectory, int, int]) -> tuple[Trajectory, list[str], list[dict[str, np.ndarray]]]:
    """Simulates one trajectory and labels its frames."""
    trajectory, interval, equilibration = job
    symbols, positions = sample(trajectory, interval, equilibration)
    return trajectory, symbols, labelled(symbols, positions, label)


def labelled(
    symbols: Sequence[str], positions: np.ndarray, label: Callable[[Sequence[str], np.ndarray], dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """Frames at ``positions`` (n_frame, n_atom, 3) angstrom, which are rounded as they are stored: labels belong to those."""
    rounded = positions.astype(np.float32)
    return [{"coord": p.ravel(), **label(symbols, p.astype(np.float64))} for p in rounded]


def write_system(
    folder: Path,
    symbols: Sequence[str],
    frames: Sequence[dict[str, np.ndarray]],
    type_map: Sequence[str] = TYPE_MAP,
) -> None:
    """Writes one deepmd/npy system, without a cell if its frames have no ``box``; energies in float64, all else in float32."""
    (folder / "set.000").mkdir(parents=True, exist_ok=True)
    for name in frames[0]:
        rows = np.stack([frame[name] for frame in frames])
        np.save(folder / "set.000" / f"{name}.npy", rows.astype(np.float64 if name == "energy" else np.float32))
    (folder / "type.raw").write_text(" ".join(str(type_map.index(s)) for s in symbols) + "\n")
    (folder / "type_map.raw").write_text(" ".join(type_map) + "\n")
    if "box" not in frames[0]:
        (folder / "nopbc").touch()


def write_all(
    run: Callable[[Any], tuple],
    jobs: Sequence[Any],
    processes: int,
    output: Path,
    name: Callable[[Any], str],
    type_map: Sequence[str] = TYPE_MAP,
) -> None:
    """Runs all jobs, each of which gives a trajectory, its elements and its frames, and writes frames of one name to one system.

    What there is of a system is written after each trajectory.
    """
    systems: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    with multiprocessing.Pool(processes) as pool:
        for done, (trajectory, symbols, frames) in enumerate(pool.imap(run, jobs), start=1):
            key = (trajectory.part, name(trajectory))
            systems.setdefault(key, []).extend(frames)
            write_system(output.joinpath(*key), symbols, systems[key], type_map)
            print(f"{done}/{len(jobs)} {'/'.join(key)} {trajectory.temperature:.0f} K", flush=True)


def missing_libraries() -> str:
    """Why the script cannot run here; empty if it can."""
    missing = [name for name in ("tblite", "ase") if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"{' and '.join(missing)} not found; this script needs tblite (0.4 or newer) and ase: pip install 'dpjax[data]'"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("examples/molecules"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--interval", type=int, default=200, help="steps of 1 fs between two frames")
    parser.add_argument("--equilibration", type=int, default=1000, help="steps of 1 fs before the first frame")
    args = parser.parse_args()
    if problem := missing_libraries():
        parser.exit(1, f"{parser.prog}: {problem}\n")
    jobs = [(trajectory, args.interval, args.equilibration) for trajectory in TRAJECTORIES]
    write_all(run, jobs, args.jobs, args.output, lambda trajectory: trajectory.molecule)


if __name__ == "__main__":
    main()
