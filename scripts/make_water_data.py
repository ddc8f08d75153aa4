#!/usr/bin/env python3
"""Make the water data set in ``examples/water``: liquid water labelled with GFN1-xTB.

Every frame is an independent trajectory of a cheap flexible water model (a lattice of molecules melted at 1000 K, then
equilibrated at the frame's temperature), so no two frames are correlated.  Each end point is labelled with the
semi-empirical quantum method GFN1-xTB (library tblite): energy in eV, force in eV/angstrom, virial in eV, float64.

    pip install 'dpjax[data]'
    python scripts/make_water_data.py --output examples/water --jobs 2

Frames are kept in ``OUTPUT/.frames`` until all are done, so an interrupted run continues where it stopped.  Methods:
GFN1-xTB, Grimme et al., JCTC 13, 1989 (2017); sampling model after SPC/Fw, Wu et al., JCP 124, 024503 (2006), with
the bond and angle terms fitted to a GFN1-xTB water molecule and damped shifted-force electrostatics, Fennell & Gezelter,
JCP 124, 234104 (2006).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core is faster than threads inside the solver

KB = 8.617333262e-5  # eV/K
COULOMB = 14.399645  # eV angstrom / e^2
AMU = 103.642697  # eV fs^2 / angstrom^2
WATER_MASS_DENSITY = 29.9151  # angstrom^3 per molecule at 1 g/cm^3


@dataclass(frozen=True)
class WaterModel:
    """Flexible three-site water: Morse bonds, harmonic angle, one Lennard-Jones site, three charges."""

    bond_length: float = 0.9581  # angstrom, GFN1-xTB monomer
    bond_depth: float = 3.97  # eV
    bond_width: float = 2.47  # 1/angstrom
    angle: float = np.radians(107.13)
    angle_stiffness: float = 3.3  # eV/rad^2
    charge_h: float = 0.41  # e
    lj_sigma: float = 3.1655  # angstrom
    lj_epsilon: float = 6.74e-3  # eV
    damping: float = 0.2  # 1/angstrom


@dataclass(frozen=True)
class System:
    """One data system: ``n_frame`` frames of ``n_water`` molecules at temperatures drawn from a range."""

    name: str
    n_frame: int
    n_water: int
    temperature: tuple[float, float]  # K
    density: tuple[float, float]  # g/cm^3
    strain: float  # largest random strain component of the cell

    @property
    def types(self) -> np.ndarray:
        return np.tile([0, 1, 1], self.n_water)


SYSTEMS = (
    System("train_300K", 80, 32, (300.0, 300.0), (1.00, 1.00), 0.0),
    System("train_450K", 80, 27, (450.0, 450.0), (0.90, 1.05), 0.03),
    System("train_600K", 80, 32, (600.0, 600.0), (0.85, 1.05), 0.06),
    System("valid", 60, 32, (300.0, 600.0), (0.90, 1.05), 0.03),
)


def intramolecular(pos: np.ndarray, model: WaterModel) -> np.ndarray:
    """Forces (n_water, 3, 3) of bonds and angles for whole molecules ``pos`` (n_water, 3 sites O H H, 3)."""
    force = np.zeros_like(pos)
    arms = pos[:, 1:] - pos[:, :1]
    length = np.linalg.norm(arms, axis=-1, keepdims=True)
    unit = arms / length
    decay = np.exp(-model.bond_width * (length - model.bond_length))
    pull = -2 * model.bond_depth * model.bond_width * (1 - decay) * decay * unit
    cosine = np.sum(unit[:, 0] * unit[:, 1], axis=-1)[:, None]
    angle = np.arccos(np.clip(cosine, -0.999999, 0.999999))
    torque = model.angle_stiffness * (angle - model.angle) / np.sin(angle)
    bend = np.stack(
        [
            torque * (unit[:, 1] - cosine * unit[:, 0]) / length[:, 0],
            torque * (unit[:, 0] - cosine * unit[:, 1]) / length[:, 1],
        ],
        axis=1,
    )
    force[:, 1:] = pull + bend
    force[:, 0] = -force[:, 1:].sum(axis=1)
    return force


class PairForces:
    """Lennard-Jones and damped shifted-force Coulomb between different molecules, minimum image."""

    def __init__(self, n_water: int, cell: np.ndarray, model: WaterModel):
        from scipy.special import erfc

        self._erfc = erfc
        self.model = model
        self.cell, self.inverse = cell, np.linalg.inv(cell)
        heights = 1.0 / np.linalg.norm(self.inverse, axis=0)
        self.cutoff = heights.min() / 2
        n_atom = 3 * n_water
        first, second = np.triu_indices(n_atom, k=1)
        apart = first // 3 != second // 3
        self.first, self.second = first[apart], second[apart]
        charge = np.tile([-2.0, 1.0, 1.0], n_water) * model.charge_h
        self.qq = COULOMB * charge[self.first] * charge[self.second]
        self.oxygens = (self.first % 3 == 0) & (self.second % 3 == 0)
        self.shift = self._coulomb_slope(np.array([self.cutoff]))[0]

    def _coulomb_slope(self, r: np.ndarray) -> np.ndarray:
        a = self.model.damping
        return self._erfc(a * r) / r**2 + 2 * a / np.sqrt(np.pi) * np.exp(-((a * r) ** 2)) / r

    def __call__(self, pos: np.ndarray) -> np.ndarray:
        flat = pos.reshape(-1, 3)
        disp = flat[self.second] - flat[self.first]
        disp -= np.rint(disp @ self.inverse) @ self.cell
        sq = np.einsum("ij,ij->i", disp, disp)
        near = np.flatnonzero(sq < self.cutoff**2)
        disp, r = disp[near], np.sqrt(sq[near])
        slope = self.qq[near] * (self._coulomb_slope(r) - self.shift)
        attract = np.where(self.oxygens[near], (self.model.lj_sigma / r) ** 6, 0.0)
        slope += 24 * self.model.lj_epsilon * (2 * attract**2 - attract) / r
        pair = (slope / r)[:, None] * disp
        force = np.empty_like(flat)
        for axis in range(3):
            force[:, axis] = np.bincount(self.second[near], pair[:, axis], len(flat))
            force[:, axis] -= np.bincount(self.first[near], pair[:, axis], len(flat))
        return force.reshape(pos.shape)


def lattice(n_water: int, cell: np.ndarray, model: WaterModel, rng: np.random.Generator) -> np.ndarray:
    """Molecules of random orientation on a simple cubic grid in fractional coordinates, (n_water, 3, 3)."""
    side = int(np.ceil(n_water ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = (rng.permutation(grid)[:n_water] / side) @ cell
    half = model.angle / 2
    template = model.bond_length * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )
    rotation, _ = np.linalg.qr(rng.normal(size=(n_water, 3, 3)))
    return sites[:, None] + np.einsum("sa,wab->wsb", template, rotation)


def langevin(pos, forces, temperature, n_step, rng, timestep=1.0, friction=0.02, mass_h=4.0):
    """BAOAB Langevin dynamics; heavy hydrogen allows 1 fs and leaves the configurational distribution unchanged."""
    mass = AMU * np.array([15.999, mass_h, mass_h])[None, :, None]
    vel = rng.normal(size=pos.shape) * np.sqrt(KB * temperature / mass)
    keep = np.exp(-friction * timestep)
    kick = np.sqrt((1 - keep**2) * KB * temperature / mass)
    force = forces(pos)
    for _ in range(n_step):
        vel += 0.5 * timestep * force / mass
        pos = pos + 0.5 * timestep * vel
        vel = keep * vel + kick * rng.normal(size=pos.shape)
        pos = pos + 0.5 * timestep * vel
        force = forces(pos)
        vel += 0.5 * timestep * force / mass
    return pos


def random_cell(volume: float, strain: float, rng: np.random.Generator) -> np.ndarray:
    """A cube with random strains of up to ``strain`` in each component, of a given volume, (3, 3) lower triangular."""
    cell = np.tril(np.eye(3) + rng.uniform(-strain, strain, size=(3, 3)))
    return cell * (volume / np.linalg.det(cell)) ** (1 / 3)


def sample(system: System, rng: np.random.Generator, n_step: int) -> tuple[np.ndarray, np.ndarray]:
    """One decorrelated frame: positions (n_atom, 3) and cell (3, 3), angstrom."""
    model = WaterModel()
    temperature = rng.uniform(*system.temperature)
    volume = system.n_water * WATER_MASS_DENSITY / rng.uniform(*system.density)
    cell = random_cell(volume, system.strain, rng)
    pair = PairForces(system.n_water, cell, model)

    def forces(pos):
        total = intramolecular(pos, model) + pair(pos)
        return np.clip(total, -30.0, 30.0)  # lattice start: molecules may overlap in the first steps

    pos = lattice(system.n_water, cell, model, rng)
    pos = langevin(pos, forces, 300.0, 200, rng, timestep=0.2, friction=0.5)
    pos = langevin(pos, forces, 1000.0, n_step // 4, rng)
    pos = langevin(pos, forces, temperature, n_step, rng)
    return pos.reshape(-1, 3), cell


def label(
    symbols: Sequence[str], pos: np.ndarray, cell: np.ndarray | None, method: str = "GFN1-xTB"
) -> dict[str, np.ndarray]:
    """Energy (eV), force (eV/angstrom) and virial (eV, -dE/dstrain, rows as the cell) of one frame.

    Without a cell the virial is that of the forces between the atoms, which is -dE/dstrain, too.
    """
    from ase import Atoms
    from tblite.ase import TBLite

    atoms = Atoms(symbols, positions=pos, cell=cell, pbc=cell is not None)
    atoms.calc = TBLite(method=method, accuracy=0.1, verbosity=0)
    energy, force = atoms.get_potential_energy(), atoms.get_forces()
    virial = force.T @ pos if cell is None else -atoms.get_stress(voigt=False) * atoms.get_volume()
    return {
        "coord": pos.reshape(-1),
        **({} if cell is None else {"box": cell.reshape(-1)}),
        "energy": np.array([energy]),
        "force": force.reshape(-1),
        "virial": virial.reshape(-1),
    }


def make_frame(job: tuple[System, int, int, Path]) -> str:
    """Sample and label frame ``index`` of a system, unless its file exists already."""
    system, index, n_step, folder = job
    path = folder / f"{system.name}.{index:03d}.npz"
    if not path.exists():
        number = [s.name for s in SYSTEMS].index(system.name)
        rng = np.random.default_rng([20260, number, index])
        pos, cell = sample(system, rng, n_step)
        partial = path.with_suffix(".tmp.npz")
        np.savez(partial, **label(["OH"[t] for t in system.types], pos, cell))
        partial.rename(path)
    return path.stem


def collect(system: System, frames: Path, output: Path) -> None:
    """Join the frames of a system into one deepmd/npy directory."""
    loaded = [np.load(frames / f"{system.name}.{i:03d}.npz") for i in range(system.n_frame)]
    target = output / system.name
    (target / "set.000").mkdir(parents=True, exist_ok=True)
    for key in ("coord", "box", "energy", "force", "virial"):
        rows = np.stack([frame[key] for frame in loaded])
        np.save(target / "set.000" / f"{key}.npy", rows)
    (target / "type.raw").write_text(" ".join(map(str, system.types)) + "\n")
    (target / "type_map.raw").write_text("O H\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("examples/water"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--steps", type=int, default=3000, help="sampling steps of 1 fs at the target temperature")
    args = parser.parse_args()
    frames = args.output / ".frames"
    frames.mkdir(parents=True, exist_ok=True)
    jobs = [(s, i, args.steps, frames) for s in SYSTEMS for i in range(s.n_frame)]
    with multiprocessing.Pool(args.jobs) as pool:
        for done, name in enumerate(pool.imap(make_frame, jobs), start=1):
            print(f"{done}/{len(jobs)} {name}", flush=True)
    for system in SYSTEMS:
        collect(system, frames, args.output)
    shutil.rmtree(frames)


if __name__ == "__main__":
    main()
