#!/usr/bin/env python3
"""Make the data set in ``examples/dprc``: methanol among a few water molecules, and what a better method changes.

Methanol is the QM region, each water molecule a fragment of the MM region. The label is the correction from GFN1-xTB to GFN2-xTB of
the energy of methanol and of its interaction with the water: of the cluster, minus that of the same water without methanol. So it
vanishes where there is no QM region, as a DPRc correction must. Geometries come from Langevin dynamics at 300 K on the
GFN1-xTB surface (libraries ASE and tblite); training and validation have trajectories of their own.

    pip install 'dpjax[data]'
    python scripts/make_dprc_data.py --output examples/dprc --jobs 2

Units: angstrom, eV, eV/angstrom. Methods: GFN1-xTB, Grimme, Bannwarth & Shushkov, JCTC 13, 1989 (2017); GFN2-xTB, Bannwarth, Ehlert
& Grimme, JCTC 15, 1652 (2019).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_molecules_data import BOHR, HARTREE, dynamics, labelled, missing_libraries, random_rotation, turned, write_all

TYPE_MAP = ("C", "H", "O", "OW", "HW")
SOLUTE, N_QM = "CH3OH", 6  # its name in ASE's collection of the G2 set, and how many atoms it has
METHODS = ("GFN1-xTB", "GFN2-xTB")  # the cheap one, whose dynamics it is, and the better one
# part of the data, molecules of water -> trajectories, frames of each
PLAN = {("train", 5): (4, 20), ("valid", 5): (1, 10), ("valid", 3): (1, 10)}
TEMPERATURE = 300.0  # K
ACCURACY = 0.1  # of tblite; labels are differences of energies, whose rounding does not cancel
APART = 1.9  # angstrom, least distance between atoms of two molecules at the start


@dataclass(frozen=True)
class Trajectory:
    """One trajectory: for which part of the data, among how many molecules of water, which one of several."""

    part: str
    waters: int
    number: int
    temperature: float = TEMPERATURE

    @property
    def seed(self) -> list[int]:
        """Numbers that no other trajectory has."""
        return [20262, ("train", "valid").index(self.part), self.waters, self.number]


TRAJECTORIES = tuple(Trajectory(*place, number) for place, (starts, _) in PLAN.items() for number in range(starts))


def surrounded(waters: int, rng: np.random.Generator):
    """Methanol in a shell of water molecules, none near to another, for ASE: methanol first, then O, H, H of each molecule."""
    from ase.build import molecule

    cluster, radius = molecule(SOLUTE), 3.0
    cluster.translate(-cluster.positions.mean(axis=0))
    while len(cluster) < N_QM + 3 * waters:
        one = molecule("H2O")
        direction = rng.normal(size=3)
        place = radius * direction / np.linalg.norm(direction)
        one.positions = (one.positions - one.positions.mean(axis=0)) @ random_rotation(rng).T + place
        gaps = np.linalg.norm(cluster.positions[:, None] - one.positions, axis=-1)
        if gaps.min() > APART:
            cluster += one
        radius += 0.005  # where the inner shell is full
    return cluster


def sample(trajectory: Trajectory, interval: int, equilibration: int) -> tuple[list[str], np.ndarray]:
    """Elements, and positions (n_frame, n_atom, 3) angstrom, every frame turned at random about its centre.

    Args:
        trajectory: what to simulate.
        interval: steps of 1 fs between two frames.
        equilibration: steps before the first interval.
    """
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    rng = np.random.default_rng(trajectory.seed)
    atoms = surrounded(trajectory.waters, rng)
    atoms.calc = TBLite(method=METHODS[0], verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.5, steps=60)
    _, n_frame = PLAN[trajectory.part, trajectory.waters]
    steps = dynamics(atoms, trajectory.temperature, rng, n_frame, interval, equilibration, METHODS[0])
    return atoms.get_chemical_symbols(), np.stack([turned(position, rng) for position in steps])


def energy_and_force(method: str, symbols: Sequence[str], position: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy, eV, and forces (n_atom, 3), eV/angstrom, of a cluster."""
    from ase.data import atomic_numbers
    from tblite.interface import Calculator

    made = Calculator(method, np.array([atomic_numbers[s] for s in symbols]), position / BOHR)
    made.set("verbosity", 0)
    made.set("accuracy", ACCURACY)
    result = made.singlepoint()
    return result["energy"] * HARTREE, -result["gradient"] * (HARTREE / BOHR)


def correction(symbols: Sequence[str], position: np.ndarray) -> tuple[float, np.ndarray]:
    """What the better method changes of energy, eV, and forces (n_atom, 3), eV/angstrom."""
    (low, pull_low), (high, pull_high) = (energy_and_force(method, symbols, position) for method in METHODS)
    return high - low, pull_high - pull_low


def label(symbols: Sequence[str], position: np.ndarray) -> dict[str, np.ndarray]:
    """All labels of one frame, ``position`` (n_atom, 3) angstrom; units as in the head of this file."""
    energy, force = correction(symbols, position)
    alone, force_alone = correction(symbols[N_QM:], position[N_QM:])
    force[N_QM:] -= force_alone
    fragment = np.concatenate([np.zeros(N_QM), 1 + np.arange(len(symbols) - N_QM) // 3])
    return {"energy": np.array([energy - alone]), "force": force.ravel(), "aparam": fragment}


def named(symbols: Sequence[str]) -> list[str]:
    """Names of types: those of water end in W."""
    return [*symbols[:N_QM], *(f"{symbol}W" for symbol in symbols[N_QM:])]


def run(job: tuple[Trajectory, int, int]) -> tuple[Trajectory, list[str], list[dict[str, np.ndarray]]]:
    """Simulates one trajectory and labels its frames."""
    trajectory, interval, equilibration = job
    symbols, positions = sample(trajectory, interval, equilibration)
    return trajectory, named(symbols), labelled(symbols, positions, label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("examples/dprc"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--interval", type=int, default=100, help="steps of 1 fs between two frames")
    parser.add_argument("--equilibration", type=int, default=500, help="steps of 1 fs before the first frame")
    args = parser.parse_args()
    if problem := missing_libraries():
        parser.exit(1, f"{parser.prog}: {problem}\n")
    jobs = [(trajectory, args.interval, args.equilibration) for trajectory in TRAJECTORIES]
    write_all(run, jobs, args.jobs, args.output, lambda trajectory: f"waters_{trajectory.waters}", TYPE_MAP)


if __name__ == "__main__":
    main()
