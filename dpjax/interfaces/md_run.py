"""A simulation with its files: thermo table, trajectory, restart file."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import ConfigError, DataError, DPError, OutputError
from dpjax.interfaces.md import COLUMNS, Simulation

log = logging.getLogger(__name__)

THERMO, TRAJECTORY, RESTART = "thermo.out", "trajectory.xyz", "restart.npz"
UNITS = ("", "ps", "eV", "eV", "eV", "K", "bar", "A^3", "eV")


@dataclass(frozen=True)
class Schedule:
    """What happens after how many steps; 0: never.

    Raises:
        ConfigError: a negative number.
    """

    steps: int
    thermo: int = 100
    dump: int = 100
    save: int = 1000

    def __post_init__(self):
        for name in ("steps", "thermo", "dump", "save"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: found {getattr(self, name)}, expected 0 or a number of steps")

    def next(self, step: int) -> int:
        """The step after ``step`` at which something happens."""
        events = [every * (step // every + 1) for every in (self.thermo, self.dump, self.save) if every]
        return min([self.steps, *events])


class Run:
    """Runs a simulation to its end and writes its files.

    Args:
        simulation: at its start.
        schedule: what to write when.
        folder: for the files; made if it is missing.
        restart: continue from the restart file in the folder.

    Raises:
        OutputError: the folder cannot be written, or holds a run already that is not to be continued.
        DataError: the restart file is missing, damaged or of another run.
        DPError: ASE, which writes trajectories, is not installed.
    """

    def __init__(self, simulation: Simulation, schedule: Schedule, folder: str | Path, restart: bool = False):
        self.simulation, self.schedule, self.folder = simulation, schedule, Path(folder)
        if schedule.dump:
            _ase_write()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot make this folder: {error.strerror}") from error
        files = [self.folder / name for name in (THERMO, TRAJECTORY)]
        if restart:
            sizes = self._continue()
            for file in files:
                _cut(file, sizes.get(file.name, 0))
            return
        for file in (*files, self.folder / RESTART):
            if file.exists():
                raise OutputError(
                    f"{file} is there already: continue that run with --restart, or choose another --output"
                )

    def run(self, progress: Callable[[int], Any] = lambda steps: None) -> float:
        """All steps that are left; returns the seconds they took.  What was written before an error stays.

        Args:
            progress: called with a number of steps when they are done.
        """
        simulation, schedule = self.simulation, self.schedule
        if simulation.step == 0:
            self._events(0)
        start = time.perf_counter()
        while simulation.step < schedule.steps:
            n = schedule.next(simulation.step) - simulation.step
            simulation.advance(n)
            self._events(simulation.step)
            progress(n)
        return time.perf_counter() - start

    def _events(self, step: int) -> None:
        def due(every: int) -> bool:
            return bool(every) and step % every == 0

        if due(self.schedule.thermo):
            self._thermo()
        if due(self.schedule.dump):
            self._dump()
        if step and (due(self.schedule.save) or step == self.schedule.steps):
            self._save()

    def _thermo(self) -> None:
        row, file = self.simulation.observe(), self.folder / THERMO
        head = "#" + " ".join(f"{f'{name}({unit})' if unit else name:>20}" for name, unit in zip(COLUMNS, UNITS)) + "\n"
        text = (
            " " + " ".join(f"{row[name]:20d}" if name == "step" else f"{row[name]:20.12g}" for name in COLUMNS) + "\n"
        )
        with _writing(file, "a") as out:
            out.write(head + text if out.tell() == 0 else text)

    def _dump(self) -> None:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        simulation, now = self.simulation, self.simulation.snapshot()
        structure = simulation.structure
        atoms = Atoms(
            numbers=_numbers(structure.symbols),
            positions=now["coord"],
            cell=now["cell"],
            pbc=structure.pbc,
            masses=structure.mass,
        )
        atoms.set_momenta(now["momentum"])
        atoms.calc = SinglePointCalculator(atoms, energy=float(now["energy"]), forces=now["force"])
        atoms.info |= {"step": simulation.step, "time_fs": simulation.step * simulation.dynamics.timestep}
        with _writing(self.folder / TRAJECTORY, "a") as out:
            _ase_write()(out, atoms, format="extxyz", columns=["symbols", "positions", "momenta", "forces"])

    def _save(self) -> None:
        """Replaces the restart file; sizes of the others say what belongs to it."""
        arrays, facts = self.simulation.saved()
        names = [name for name in (THERMO, TRAJECTORY) if (self.folder / name).exists()]
        facts["sizes"] = {name: (self.folder / name).stat().st_size for name in names}
        file = self.folder / RESTART
        try:
            with open(file.with_suffix(".tmp"), "wb") as out:
                np.savez(out, facts=np.array(json.dumps(facts)), **arrays)
            os.replace(file.with_suffix(".tmp"), file)
        except OSError as error:
            raise OutputError(f"{file}: cannot write the state of the simulation: {error.strerror}") from error

    def _continue(self) -> dict[str, int]:
        file = self.folder / RESTART
        if not file.exists():
            raise DataError(f"{file}: no such file, so there is nothing to continue; leave --restart out")
        try:
            with np.load(file) as stored:
                arrays = dict(stored)
            facts = json.loads(str(arrays.pop("facts")))
        except Exception as error:  # NumPy and zipfile raise many kinds on a damaged file
            raise DataError(f"{file}: cannot be read: {type(error).__name__}: {error}") from error
        try:
            self.simulation.restore(arrays, facts)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        log.info("continues at step %d", self.simulation.step)
        return facts["sizes"]


def _writing(file: Path, mode: str):
    try:
        return open(file, mode, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror}") from error


def _cut(file: Path, size: int) -> None:
    """Drop what was written after the restart file."""
    if file.exists() and file.stat().st_size > size:
        os.truncate(file, size)


def _numbers(symbols) -> list[int]:
    """Atomic numbers; 0 for what is no element."""
    from ase.data import atomic_numbers

    return [atomic_numbers.get(symbol, 0) for symbol in symbols]


def _ase_write():
    try:
        from ase.io import write
    except ImportError as error:
        raise DPError(
            "trajectories are written by ASE, which is not installed: pip install 'dpjax[ase]', or --dump 0"
        ) from error
    return write
