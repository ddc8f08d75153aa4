"""How far a model is from labels: errors per system and over all systems, and the numbers behind them.

Energy and virial in eV, force in eV/angstrom, stress in eV/angstrom^3 (= -virial / volume). Every quantity is compared
number by number; pooling systems weighs each by its count of numbers, so the total equals one evaluation of everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.data import ENERGY_LABELS, System, energy_requirements, find_systems, open_system
from dpjax.errors import DataError, NonFiniteError, OutputError

ATOMS_PER_CHUNK = 20_000  # frames are read and evaluated in chunks of about this many atoms
LABELS = ("energy", "force", "virial")


@dataclass(frozen=True)
class Quantity:
    """One thing that is compared."""

    name: str
    title: str
    unit: str
    suffix: str  # of the detail file
    columns: tuple[str, ...]  # of one row, without data_ and pred_


_TENSOR = tuple(a + b for a in "xyz" for b in "xyz")

QUANTITIES = {
    q.name: q
    for q in (
        Quantity("energy", "Energy", "eV", "e", ("e",)),
        Quantity("energy_per_atom", "Energy per atom", "eV", "e_peratom", ("e",)),
        Quantity("force", "Force", "eV/Å", "f", ("fx", "fy", "fz")),
        Quantity("virial", "Virial", "eV", "v", tuple(f"v{ab}" for ab in _TENSOR)),
        Quantity("virial_per_atom", "Virial per atom", "eV", "v_peratom", tuple(f"v{ab}" for ab in _TENSOR)),
        Quantity("stress", "Stress", "eV/Å³", "s", tuple(f"s{ab}" for ab in _TENSOR)),
        Quantity("atomic_energy", "Atomic energy", "eV", "ae", ("ae",)),
    )
}


@dataclass(frozen=True)
class Errors:
    """Root mean square and mean absolute error over ``count`` numbers."""

    rmse: float
    mae: float
    count: int

    @staticmethod
    def pooled(parts: Iterable[Errors]) -> Errors:
        """The errors of all parts together."""
        parts = list(parts)
        count = sum(part.count for part in parts)
        square = sum(part.rmse**2 * part.count for part in parts) / count
        return Errors(float(np.sqrt(square)), sum(part.mae * part.count for part in parts) / count, count)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Labels and predictions of one quantity: (n_row, n_column) each, a row per frame or, for forces, per atom."""

    reference: np.ndarray
    prediction: np.ndarray

    @property
    def errors(self) -> Errors:
        """Errors over all numbers."""
        difference = self.prediction - self.reference
        rmse = float(np.sqrt(np.mean(difference**2)))
        return Errors(rmse, float(np.mean(np.abs(difference))), difference.size)


@dataclass(frozen=True, eq=False)
class SystemReport:
    """One tested system.

    Attributes:
        name: its path as given.
        n_frame: frames evaluated.
        n_atom: atoms per frame, padding included where frames differ.
        comparisons: by quantity; those without labels are absent.
    """

    name: str
    n_frame: int
    n_atom: int
    comparisons: dict[str, Comparison]

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors by quantity."""
        return {name: comparison.errors for name, comparison in self.comparisons.items()}


@dataclass(frozen=True, eq=False)
class TestReport:
    """All tested systems."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    systems: tuple[SystemReport, ...]

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors by quantity over all systems that have it."""
        parts = [system.errors for system in self.systems]
        return {
            name: Errors.pooled(p[name] for p in parts if name in p)
            for name in QUANTITIES
            if any(name in p for p in parts)
        }

    def comparison(self, name: str) -> Comparison | None:
        """Labels and predictions of one quantity over all systems, or None where there is no label."""
        parts = [system.comparisons[name] for system in self.systems if name in system.comparisons]
        if not parts:
            return None
        return Comparison(np.concatenate([p.reference for p in parts]), np.concatenate([p.prediction for p in parts]))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON: ``{"systems": [...], "weighted": {"rmse_force": ..., "mae_force": ...}}``."""
        return {
            "systems": [
                {"name": s.name, "frames": s.n_frame, "atoms": s.n_atom, "errors": _flat(s.errors)}
                for s in self.systems
            ],
            "weighted": _flat(self.errors),
        }

    def write_details(self, prefix: str | Path) -> list[Path]:
        """Writes ``PREFIX.e.out``, ``.e_peratom.out``, ``.f.out``, ``.v.out``, ``.v_peratom.out``, ``.s.out``
        and, of atomic energies, ``.ae.out``.

        A row holds the labels, then the predictions; a comment line opens each system. Returns the files.

        Raises:
            OutputError: a file cannot be written.
        """
        written = []
        for quantity in QUANTITIES.values():
            parts = [(s.name, s.comparisons[quantity.name]) for s in self.systems if quantity.name in s.comparisons]
            if parts:
                path = Path(f"{prefix}.{quantity.suffix}.out")
                _write(path, quantity, parts)
                written.append(path)
        return written


def test_model(
    pot: Any,
    systems: str | Path | System | Sequence[str | Path | System],
    n_frames: int | None = None,
    progress: Callable[[SystemReport], None] | None = None,
    *,
    shuffle_seed: int | None = None,
    atomic: bool = False,
) -> TestReport:
    """Evaluates a model on labelled systems.

    Args:
        pot: a ``Potential``: its ``type_map`` and ``evaluate`` are used, and its configuration for fparam and aparam.
        systems: opened systems, or paths; a path is searched for systems below it.
        n_frames: frames per system, the first ones; None or 0 takes all.
        progress: called with each system's report as soon as it is there.
        shuffle_seed: take the frames of a system in the random order of this seed; None: in the order of the files.
        atomic: compare atomic energies too; every system that is opened here then needs ``atom_ener.npy``.

    Raises:
        DataError: a path without systems, data the model cannot take, or no label at all.
        NonFiniteError: a prediction is NaN or infinite.
    """
    reports = []
    order = np.random.default_rng(shuffle_seed).permutation if shuffle_seed is not None else np.arange
    for system in _opened(pot, systems, atomic):
        frames = order(system.n_frame)[: n_frames or system.n_frame]
        reports.append(_test_system(pot, system, frames, (*LABELS, "atom_ener") if atomic else LABELS))
        if progress is not None:
            progress(reports[-1])
    return TestReport(tuple(reports))


def _opened(pot: Any, systems: str | Path | System | Sequence[str | Path | System], atomic: bool) -> Iterable[System]:
    entries = [systems] if isinstance(systems, (str, Path, System)) else list(systems)
    if not entries:
        raise DataError("no system to test on; name at least one data directory")
    fitting = pot.config.fitting_net
    labels = energy_requirements(
        LABELS,
        numb_fparam=fitting.numb_fparam,
        numb_aparam=fitting.numb_aparam,
        default_fparam=fitting.default_fparam,
    )
    if atomic:
        advice = "test without atomic energies"
        labels = (*labels, replace(ENERGY_LABELS["atom_ener"], required=True, advice=advice))
    for entry in entries:
        if isinstance(entry, System):
            yield entry
        else:
            for path in find_systems(str(entry)):
                yield open_system(path, pot.type_map, labels, str(path))


def _test_system(pot: Any, system: System, frames: np.ndarray, names: Iterable[str]) -> SystemReport:
    labels = [name for name in names if system.found.get(name)]
    if not labels:
        raise DataError(
            f"{system.name}: found none of energy.npy, force.npy, virial.npy; there is nothing to compare with"
        )
    chunk = max(1, ATOMS_PER_CHUNK // max(system.n_atom, 1))
    parts = [_compare(pot, system, frames[i : i + chunk], labels) for i in range(0, len(frames), chunk)]
    comparisons = {
        name: Comparison(
            np.concatenate([part[name].reference for part in parts]),
            np.concatenate([part[name].prediction for part in parts]),
        )
        for name in parts[0]
    }
    return SystemReport(system.name, len(frames), system.n_atom, comparisons)


def _compare(pot: Any, system: System, frames: np.ndarray, labels: list[str]) -> dict[str, Comparison]:
    """Compares some frames of one system."""
    inputs = [name for name in ("fparam", "aparam") if name in system.labels]
    arrays = system.arrays(frames, ["coord", "box", *labels, *inputs])
    options = {"atomic": True} if "atom_ener" in labels else {}
    types = np.stack([system.frame_types(i) for i in frames])
    cell = arrays["box"].reshape(-1, 3, 3) if system.periodic else None
    out = pot.evaluate(arrays["coord"], types, cell, **{name: arrays[name] for name in inputs}, **options)
    _check_finite(system, frames, out)
    place = slice(None) if system.mixed else np.argsort(system.order)  # rows of atoms in the order of the files
    real = (types >= 0)[:, place]
    n_real = real.sum(axis=1)[:, None]
    result: dict[str, Comparison] = {}
    if "energy" in labels:
        result["energy"] = Comparison(arrays["energy"], out["energy"])
        result["energy_per_atom"] = _scaled(result["energy"], 1 / n_real)
    if "force" in labels:
        result["force"] = Comparison(arrays["force"][:, place][real], out["force"][:, place][real])
    if "virial" in labels and cell is not None:
        result["virial"] = Comparison(arrays["virial"], out["virial"])
        result["virial_per_atom"] = _scaled(result["virial"], 1 / n_real)
        result["stress"] = _scaled(result["virial"], -1 / np.abs(np.linalg.det(cell))[:, None])
    if "atom_ener" in labels:
        result["atomic_energy"] = Comparison(arrays["atom_ener"][:, place][real], out["atom_energy"][:, place][real])
    return result


def _scaled(comparison: Comparison, factor: np.ndarray) -> Comparison:
    return Comparison(comparison.reference * factor, comparison.prediction * factor)


def _check_finite(system: System, frames: np.ndarray, out: dict[str, np.ndarray]) -> None:
    for name in ("energy", "force", "virial"):
        bad = ~np.isfinite(out[name].reshape(len(frames), -1)).all(axis=1)
        if bad.any():
            raise NonFiniteError(
                f"{system.name}, frame {frames[bad.argmax()]}: the predicted {name} is not finite; "
                "look at that structure, and at the learning curve of the model"
            )


def _flat(errors: dict[str, Errors]) -> dict[str, float]:
    return {f"{kind}_{name}": getattr(error, kind) for name, error in errors.items() for kind in ("rmse", "mae")}


def _write(path: Path, quantity: Quantity, parts: Sequence[tuple[str, Comparison]]) -> None:
    columns = " ".join([*(f"data_{c}" for c in quantity.columns), *(f"pred_{c}" for c in quantity.columns)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for name, comparison in parts:
                rows = np.concatenate([comparison.reference, comparison.prediction], axis=1)
                np.savetxt(file, rows, header=f"{name}: {columns}")
    except OSError as error:
        raise OutputError(f"{path}: cannot write the details: {error.strerror}") from error
