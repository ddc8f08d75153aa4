#!/usr/bin/env python3
"""Run a model in LAMMPS, on one and on several MPI ranks, and compare energies, forces, virial and a short NVE run with dpjax.

    python scripts/lammps_check.py --peer DIR [MODEL] [--data SYSTEM] [--frame N] [--repeat A B C] [--ranks 1 2] [--steps 100]

This is the route beyond one machine: dpjax writes ``model.dp``, DeePMD-kit turns it into ``model.pth``, and its plug-in for LAMMPS
runs that on any number of MPI ranks.  DIR (or the variable PEER) is an environment with DeePMD-kit 3.2.0 and LAMMPS: ``bin/dp``,
``bin/lmp-deepmd`` or ``bin/lmp``, and ``bin/mpirun``.  MODEL is what ``dpjax.load`` reads; without it a small model is trained on
examples/water.  docs/lammps.md explains the files.  Exit status 1: something differs by more than its tolerance.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dpjax
from dpjax.config.fittings.outputs import ENERGY
from dpjax.data import open_systems
from dpjax.errors import DataError, DPError, ModelError
from dpjax.interfaces.structures import element_masses

REPOSITORY = Path(__file__).resolve().parents[1]
WATER = REPOSITORY / "examples" / "water"

# Constants of LAMMPS in its units "metal", so that the comparison does not measure other digits of the same constants
AMU = 1.0364269e-4  # eV ps^2 / (angstrom^2 amu)
BAR = 1.6021765e6  # bar angstrom^3 / eV
BOLTZMANN = 8.617343e-5  # eV / K

# Largest differences allowed, relative to max(1, largest number); positions and velocities after the steps of the NVE run
TOLERANCES = {"energy": 1e-10, "force": 1e-9, "virial": 1e-9, "position": 1e-8, "velocity": 1e-7, "total energy": 1e-9}
COLUMNS = ("id", "xu", "yu", "zu", "vx", "vy", "vz", "fx", "fy", "fz")
THERMO = ("step", "pe", "etotal", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz")


class Failure(Exception):
    """A program of the peer environment did not do its part; the text says which and what it printed."""


@dataclass(frozen=True)
class Start:
    """Where a run begins; the cell is lower triangular, as LAMMPS wants it."""

    coord: np.ndarray  # (n, 3) angstrom
    atype: np.ndarray  # (n,)
    cell: np.ndarray  # (3, 3) angstrom
    velocity: np.ndarray  # (n, 3) angstrom/ps
    mass: np.ndarray  # (n_type,) amu


@dataclass(frozen=True)
class Moment:
    """A structure at one step of a run."""

    energy: float  # eV
    total: float  # eV, kinetic energy included
    virial: np.ndarray  # (6,) eV: xx yy zz xy xz yz
    coord: np.ndarray  # (n, 3) angstrom
    velocity: np.ndarray  # (n, 3) angstrom/ps
    force: np.ndarray  # (n, 3) eV/angstrom


def main() -> int:
    args = parse()
    try:
        peer = find_peer(args.peer)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(args.work or scratch)
            folder.mkdir(parents=True, exist_ok=True)
            return compare(args, peer, folder)
    except (DPError, Failure) as error:
        print(f"lammps_check: {error}", file=sys.stderr)
        return 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", nargs="?", help="a .dp or .yaml file or a checkpoint; default: a small model is trained"
    )
    parser.add_argument("--peer", default=os.environ.get("PEER"), help="environment with DeePMD-kit and LAMMPS")
    parser.add_argument(
        "--data", default=str(WATER / "valid"), help="a periodic data system (default: examples/water/valid)"
    )
    parser.add_argument("--frame", type=int, default=0, help="of the system (default 0)")
    parser.add_argument(
        "--repeat", type=int, nargs=3, default=(1, 1, 1), help="cells along each vector (default 1 1 1)"
    )
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="MPI ranks of the runs (default 1 2)")
    parser.add_argument("--steps", type=int, default=100, help="of the NVE run (default 100)")
    parser.add_argument("--timestep", type=float, default=0.5, help="femtoseconds (default 0.5)")
    parser.add_argument(
        "--temperature", type=float, default=300.0, help="of the first velocities, kelvin (default 300)"
    )
    parser.add_argument("--train-steps", type=int, default=200, help="of the small model (default 200)")
    parser.add_argument("--devices", type=int, default=0, help="ours: spread the structure over so many devices")
    parser.add_argument("--work", help="folder to keep the files in; default: a temporary one")
    parser.add_argument("--output", help="write the differences as JSON")
    return parser.parse_args()


def find_peer(folder: str | None) -> Path:
    """The environment, with all programs that are needed."""
    if not folder:
        raise Failure("name an environment with DeePMD-kit 3.2.0 and LAMMPS by --peer DIR or the variable PEER")
    peer = Path(folder).absolute()
    for names in (("dp",), ("lmp-deepmd", "lmp"), ("mpirun",)):
        if not any(os.access(peer / "bin" / name, os.X_OK) for name in names):
            raise Failure(
                f"{peer / 'bin'}: found no {' or '.join(names)}; pip install 'deepmd-kit[lmp]==3.2.0' mpich there"
            )
    return peer


def compare(args: argparse.Namespace, peer: Path, folder: Path) -> int:
    """Run everything, print the table, and say whether all is within its tolerance."""
    element_masses()  # what is missing is said before the training
    pot = dpjax.load(args.model) if args.model else trained(args.train_steps, folder / "training")
    require_plain(pot)
    start = prepare(pot, args)
    dpjax.save(pot, folder / "model.dp")
    run(peer, [peer / "bin" / "dp", "convert-backend", "model.dp", "model.pth"], folder)
    (folder / "start.data").write_text(data_file(start))
    ours = nve(pot, start, args)
    rows, failed = [], False
    for ranks in args.ranks:
        theirs = lammps(peer, folder, args, ranks, len(start.atype))
        volume = float(np.prod(np.diag(start.cell)))
        moments = [moment(*pair, volume) for pair in theirs]
        for name, error in differences(ours, moments).items():
            failed |= not error <= TOLERANCES[name]
            rows.append({"ranks": ranks, "quantity": name, "difference": error, "tolerance": TOLERANCES[name]})
    print(
        f"{len(start.atype)} atoms, {args.steps} steps of {args.timestep} fs; differences relative to max(1, largest number)"
    )
    print(f"{'ranks':>5}  {'quantity':<13} {'difference':>10} {'tolerance':>10}")
    for row in rows:
        mark = "" if row["difference"] <= row["tolerance"] else "   too much"
        print(f"{row['ranks']:>5}  {row['quantity']:<13} {row['difference']:>10.1e} {row['tolerance']:>10.0e}{mark}")
    if args.output:
        report = {"atoms": len(start.atype), "steps": args.steps, "timestep_fs": args.timestep, "rows": rows}
        Path(args.output).write_text(json.dumps(report, indent=1) + "\n")
    return int(failed)


def trained(steps: int, folder: Path) -> dpjax.Potential:
    """A small model of water, good enough for a trajectory that stays together for a while."""
    sections = json.loads((REPOSITORY / "configs" / "water_se_e2_a.json").read_text())
    sections = {name: section for name, section in sections.items() if not name.startswith("_")}
    sections["model"]["descriptor"] |= {"rcut": 4.0, "sel": [16, 28]}
    sections["model"]["fitting_net"] |= {"neuron": [40, 40, 40]}
    systems = [str(WATER / "train_300K"), str(WATER / "train_600K")]
    training = {"training_data": {"systems": systems, "batch_size": 1}, "numb_steps": steps, "seed": 1}
    sections["training"] = training | {"disp_freq": max(1, steps // 2), "save_freq": steps}
    result = dpjax.train(sections, output=str(folder))
    return dpjax.load(result.checkpoint)


def require_plain(pot: dpjax.Potential) -> None:
    """Refuse what the input of LAMMPS below does not say."""
    fitting = pot.config.fitting_net
    if fitting.output is not ENERGY:
        raise ModelError(f"the model predicts {fitting.output.total}, not energies: it has no forces to run with")
    if fitting.numb_fparam or fitting.numb_aparam:
        raise ModelError("the model takes frame or atomic parameters, which this script does not hand to LAMMPS")


def prepare(pot: dpjax.Potential, args: argparse.Namespace) -> Start:
    """The frame, turned so that its cell is lower triangular, repeated, with velocities of the temperature and no drift."""
    system = open_systems(args.data, pot.type_map)[0]
    if not 0 <= args.frame < system.n_frame:
        raise DataError(f"--frame {args.frame}: {args.data} has frames 0 to {system.n_frame - 1}")
    cell = system.cell(args.frame)
    if cell is None:
        raise DataError(f"{args.data}: open boundaries; give a periodic system")
    types = system.frame_types(args.frame)
    frac = system.coord(args.frame)[types >= 0] @ np.linalg.inv(cell)
    shifts = np.stack(np.meshgrid(*map(np.arange, args.repeat), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    frac = ((frac + shifts) / np.asarray(args.repeat)).reshape(-1, 3)
    lower = np.linalg.cholesky(cell @ cell.T) * np.asarray(args.repeat)[:, None]
    atype = np.tile(types[types >= 0], len(shifts))
    mass = masses(pot.type_map)
    thermal = np.sqrt(BOLTZMANN * args.temperature / (AMU * mass[atype]))[:, None]
    velocity = np.random.default_rng(0).normal(size=frac.shape) * thermal
    velocity -= np.average(velocity, axis=0, weights=mass[atype])
    return Start((frac - np.floor(frac)) @ lower, atype, lower, velocity, mass)


def masses(type_map: list[str]) -> np.ndarray:
    """(n_type,) amu."""
    known = element_masses()
    unknown = [name for name in type_map if name not in known]
    if unknown:
        raise ModelError(f"type_map: {', '.join(unknown)} is no element, so its mass is not known")
    return np.array([known[name] for name in type_map])


def data_file(start: Start) -> str:
    """The data file of LAMMPS: cell, masses, atoms, velocities, all digits of them."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = start.cell
    lines = ["start of the comparison", "", f"{len(start.atype)} atoms", f"{len(start.mass)} atom types", ""]
    lines += [f"0 {size:.17g} {a}lo {a}hi" for size, a in zip((lx, ly, lz), "xyz", strict=True)]
    lines += [f"{xy:.17g} {xz:.17g} {yz:.17g} xy xz yz", "", "Masses", ""]
    lines += [f"{t} {mass:.17g}" for t, mass in enumerate(start.mass, 1)]
    lines += ["", "Atoms # atomic", ""]
    rows = zip(start.atype, start.coord, strict=True)
    lines += [f"{i} {t + 1} {x:.17g} {y:.17g} {z:.17g}" for i, (t, (x, y, z)) in enumerate(rows, 1)]
    lines += ["", "Velocities", ""]
    lines += [f"{i} {x:.17g} {y:.17g} {z:.17g}" for i, (x, y, z) in enumerate(start.velocity, 1)]
    return "\n".join(lines) + "\n"


def input_file(args: argparse.Namespace, dump: str) -> str:
    """The input of LAMMPS; pressures are those of the virial alone."""
    return f"""units metal
atom_style atomic
box tilt large
read_data start.data
pair_style deepmd model.pth
pair_coeff * *
neighbor 1.0 bin
timestep {args.timestep / 1000:.17g}
compute virial all pressure NULL virial
thermo_style custom step pe etotal c_virial[1] c_virial[2] c_virial[3] c_virial[4] c_virial[5] c_virial[6]
thermo_modify format float %.17g
thermo {max(1, args.steps)}
fix nve all nve
dump all all custom {max(1, args.steps)} {dump} {" ".join(COLUMNS)}
dump_modify all sort id format float %.17g
run {args.steps}
"""


def lammps(peer: Path, folder: Path, args: argparse.Namespace, ranks: int, n_atom: int) -> list[tuple]:
    """Thermodynamic numbers and rows of atoms, of the first and the last step of a run on so many MPI ranks."""
    name = f"ranks{ranks}"
    (folder / f"{name}.in").write_text(input_file(args, f"{name}.dump"))
    program = next(peer / "bin" / p for p in ("lmp-deepmd", "lmp") if (peer / "bin" / p).exists())
    command = [program, "-in", f"{name}.in", "-log", f"{name}.log"]
    run(peer, command if ranks == 1 else [peer / "bin" / "mpirun", "-n", str(ranks), *command], folder)
    dump = (folder / f"{name}.dump").read_text().split("ITEM: ATOMS " + " ".join(COLUMNS))[1:]
    atoms = [np.array(part.split("ITEM:")[0].split(), float).reshape(n_atom, len(COLUMNS))[:, 1:] for part in dump]
    table = [line.split() for line in (folder / f"{name}.log").read_text().splitlines()]
    steps = {0: None, args.steps: None}
    for words in table:
        if len(words) == len(THERMO) and words[0].isdigit() and int(words[0]) in steps:
            steps[int(words[0])] = dict(zip(THERMO, map(float, words), strict=True))
    if None in steps.values() or len(atoms) != len(steps):
        raise Failure(f"{folder / name}.log: found no numbers for steps {list(steps)}; the run did not finish")
    return list(zip(steps.values(), atoms, strict=True))


def moment(thermo: dict[str, float], rows: np.ndarray, volume: float) -> Moment:
    """What LAMMPS printed, in our units."""
    virial = np.array([thermo[f"p{ab}"] for ab in ("xx", "yy", "zz", "xy", "xz", "yz")]) * volume / BAR
    return Moment(thermo["pe"], thermo["etotal"], virial, rows[:, :3], rows[:, 3:6], rows[:, 6:])


def nve(pot: dpjax.Potential, start: Start, args: argparse.Namespace) -> list[Moment]:
    """The first and the last step of the same run with forces of dpjax and ASE's velocity Verlet."""
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes
    from ase.md.verlet import VelocityVerlet

    outputs = evaluator(pot, start, args.devices)

    class Forces(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.out = outputs(atoms.positions)
            self.results = {"energy": self.out[0], "forces": self.out[1]}

    mass = start.mass[start.atype]
    atoms = Atoms(numbers=np.ones(len(mass)), positions=start.coord, cell=start.cell, pbc=True, masses=mass)
    atoms.calc = Forces()
    per_ps = np.sqrt(AMU)  # ASE's unit of time, angstrom * sqrt(amu / eV), is so many ps with the constant of LAMMPS
    atoms.set_velocities(start.velocity * per_ps)

    def now() -> Moment:
        energy, force = atoms.get_potential_energy(), atoms.get_forces()
        virial = np.reshape(atoms.calc.out[2], (3, 3))
        six = np.array([virial[a] for a in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))])
        velocity = atoms.get_velocities() / per_ps
        kinetic = 0.5 * AMU * np.sum(mass[:, None] * velocity**2)
        return Moment(energy, energy + kinetic, six, atoms.positions.copy(), velocity, force.copy())

    first = now()
    VelocityVerlet(atoms, timestep=args.timestep / 1000 / per_ps).run(args.steps)
    return [first, now()]


def evaluator(pot: dpjax.Potential, start: Start, devices: int):
    """A function of coordinates: energy, force (n, 3) and virial (9,)."""
    if not devices:

        def whole(coord: np.ndarray) -> tuple:
            out = pot.evaluate(coord[None], start.atype, start.cell[None])
            return out["energy"][0, 0], out["force"][0], out["virial"][0]

        return whole
    from dpjax.interfaces.spread import SpreadPotential

    structure = SpreadPotential(pot, devices).structure(start.coord, start.atype, start.cell)

    def spread(coord: np.ndarray) -> tuple:
        energy, force, virial, _ = structure(coord, start.cell)
        return float(energy), np.asarray(force), np.asarray(virial)

    return spread


def differences(ours: list[Moment], theirs: list[Moment]) -> dict[str, float]:
    """Largest differences, of the first step and, of what a run ends with, of the last."""

    def relative(name: str, step: int) -> float:
        a, b = (np.asarray(getattr(moments[step], name)) for moments in (ours, theirs))
        return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))

    first = {name: relative(name, 0) for name in ("energy", "force", "virial")}
    return first | {
        "position": relative("coord", -1),
        "velocity": relative("velocity", -1),
        "total energy": relative("total", -1),
    }


def run(peer: Path, command: list, folder: Path) -> None:
    """A program of the peer environment, in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "PYTHON"))}
    env = {"OMP_NUM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "1", "DP_INTER_OP_PARALLELISM_THREADS": "1"}
    path = os.pathsep.join([str(peer / "bin"), os.environ.get("PATH", "")])
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=kept | env | {"PATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        text = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise Failure(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n" + "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
