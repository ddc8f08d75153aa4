#!/usr/bin/env python3
"""Make the data set in ``examples/mixed``: molecules in vacuum and periodic boxes of H, C, N and O, labelled with GFN1-xTB.

Molecules, a small cluster, boxes of liquids in cells of all shapes and a molecular crystal, 3 to 60 atoms, at one level of theory:
data for one model of all of them.  Structures come from Langevin dynamics at 300 and 600 K on the GFN1-xTB surface
(libraries ASE and tblite); training and validation have trajectories, and boxes cells, of their own.

    pip install 'dpjax[data]'
    python scripts/make_mixed_data.py --output examples/mixed --jobs 2

Units: angstrom, eV, eV/angstrom.  Method: GFN1-xTB, Grimme et al., JCTC 13, 1989 (2017), which is fast in
small periodic cells; the multipoles of GFN2-xTB cost much more there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from make_molecules_data import dynamics, missing_libraries, random_rotation, turned, write_all
from make_water_data import label, random_cell

METHOD = "GFN1-xTB"
TEMPERATURES = (300.0, 600.0)  # K
PACE = {False: (500, 100), True: (40, 15)}  # periodic -> steps of 1 fs before the first interval, and of an interval
PER_DENSITY = 1.66053907  # angstrom^3 of one atomic mass unit at 1 g/cm^3


@dataclass(frozen=True)
class System:
    """What one data system holds.

    Attributes:
        molecules: how many of each, by their names in ASE's collection of the G2 set; empty for the crystal of urea.
        density: smallest and largest, g/cm^3; of a cluster only where its molecules start.
        strain: largest random strain of the cell; None for an open system.
        frames: of the trajectory at each temperature, for training and for validation.
    """

    molecules: Mapping[str, int]
    density: tuple[float, float] = (1.0, 1.0)
    strain: float | None = None
    frames: tuple[int, int] = (8, 3)


SYSTEMS = {
    "molecules/water": System({"H2O": 1}),
    "molecules/ammonia": System({"NH3": 1}),
    "molecules/formaldehyde": System({"H2CO": 1}),
    "molecules/methanol": System({"CH3OH": 1}),
    "molecules/acetamide": System({"CH3CONH2": 1}),
    "molecules/cluster": System({"H2O": 3, "NH3": 2}, (0.5, 0.6)),
    "boxes/water": System({"H2O": 8}, (0.9, 1.1), 0.05),
    "boxes/water_large": System({"H2O": 20}, (0.9, 1.1), 0.15, (4, 2)),
    "boxes/methanol": System({"CH3OH": 6}, (0.7, 0.85), 0.15),
    "boxes/ammonia_water": System({"NH3": 4, "H2O": 4}, (0.8, 0.9), 0.15),
    "boxes/urea_crystal": System({}, strain=0.04),
}


@dataclass(frozen=True)
class Trajectory:
    """One trajectory: of which system, for which part of the data, how hot, and how many frames are taken from it."""

    part: str
    system: str
    temperature: float  # K
    n_frame: int

    @property
    def seed(self) -> list[int]:
        """Numbers that no other trajectory has."""
        place = (("train", "valid").index(self.part), list(SYSTEMS).index(self.system))
        return [20262, *place, TEMPERATURES.index(self.temperature)]


def trajectories() -> list[Trajectory]:
    """All of them."""
    return [
        Trajectory(part, name, temperature, n_frame)
        for name, system in SYSTEMS.items()
        for part, n_frame in zip(("train", "valid"), system.frames)
        for temperature in TEMPERATURES
    ]


def grid(number: int, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points of the coarsest regular grid in a cell that has ``number`` of them, which of them by chance, (number, 3)."""
    side = next(n for n in range(1, number + 1) if n**3 >= number)
    points = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (rng.permutation(points)[:number] / side) @ cell


def packed(system: System, rng: np.random.Generator, tries: int = 200) -> Any:
    """Atoms (ASE) of whole molecules turned at random; of several arrangements that in which molecules keep farthest apart."""
    from ase import Atoms
    from ase.build import molecule

    parts = [molecule(name) for name, number in system.molecules.items() for _ in range(number)]
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    mass = sum(part.get_masses().sum() for part in parts)
    cell = random_cell(mass * PER_DENSITY / rng.uniform(*system.density), system.strain or 0.0, rng)
    symbols = [symbol for part in parts for symbol in part.get_chemical_symbols()]
    best, widest = None, -1.0
    for _ in range(tries):
        places = grid(len(parts), cell, rng)
        position = np.concatenate([place + turned(part.positions, rng) for place, part in zip(places, parts)])
        atoms = Atoms(symbols, positions=position, cell=cell, pbc=True)
        gaps = atoms.get_all_distances(mic=True)[owner[:, None] != owner]
        if gaps.min(initial=np.inf) > widest:
            best, widest = atoms, gaps.min(initial=np.inf)
    if system.strain is None:
        best = Atoms(symbols, positions=best.positions)
    return best


def urea(strain: float, rng: np.random.Generator) -> Any:
    """The crystal of urea (ASE's Atoms), two molecules in a tetragonal cell, which is strained at random and turned.

    Cell and places of the atoms: Swaminathan, Craven & McMullan, Acta Cryst. B40, 300 (1984), at 12 K.
    """
    from ase import Atoms

    places = {
        "C": [(0.0, 0.3260)],
        "O": [(0.0, 0.5953)],
        "N": [(0.1459, 0.1766)],
        "H": [(0.2575, 0.2827), (0.1441, -0.0380)],
    }
    symbols, fractions = [], []
    for symbol, own in places.items():
        for x, z in own:
            images = [(x, x + 0.5, z), (-x, 0.5 - x, z), (x + 0.5, -x, -z), (0.5 - x, x, -z)]
            images = images if x else images[::2]  # on the axis two images are one
            symbols += [symbol] * len(images)
            fractions += images
    cell = np.diag([5.565, 5.565, 4.684]) @ (np.eye(3) + rng.uniform(-strain, strain, size=(3, 3)))
    return Atoms(symbols, scaled_positions=fractions, cell=cell @ random_rotation(rng).T, pbc=True)


def start(system: System, rng: np.random.Generator) -> Any:
    """Atoms of ASE from which a trajectory starts."""
    return packed(system, rng) if system.molecules else urea(system.strain, rng)


def relax(atoms: Any, steps: int) -> None:
    """A few steps downhill, so that nothing bursts apart; atoms of ASE, which move."""
    from ase.optimize import FIRE
    from tblite.ase import TBLite

    atoms.calc = TBLite(method=METHOD, verbosity=0)
    FIRE(atoms, logfile=None, maxstep=0.05).run(fmax=0.5, steps=steps)


def run(trajectory: Trajectory) -> tuple[Trajectory, list[str], list[dict[str, np.ndarray]]]:
    """Simulates one trajectory and labels its frames."""
    rng, system = np.random.default_rng(trajectory.seed), SYSTEMS[trajectory.system]
    atoms = start(system, rng)
    relax(atoms, 15)
    symbols, cell = atoms.get_chemical_symbols(), None
    if system.strain is not None:
        cell = np.array(atoms.cell, np.float32).astype(np.float64)  # as it is stored: labels belong to these numbers
        atoms.set_cell(cell)
    frames, (equilibration, interval) = [], PACE[cell is not None]
    motion = dynamics(atoms, trajectory.temperature, rng, trajectory.n_frame, interval, equilibration, METHOD)
    for position in motion:
        position = turned(position, rng) if cell is None else position
        position = position.astype(np.float32).astype(np.float64)
        frames.append(label(symbols, position, cell, method=METHOD))
    return trajectory, symbols, frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("examples/mixed"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args()
    if problem := missing_libraries():
        parser.exit(1, f"{parser.prog}: {problem}\n")
    write_all(run, trajectories(), args.jobs, args.output, lambda trajectory: trajectory.system)


if __name__ == "__main__":
    main()
