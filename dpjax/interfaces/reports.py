"""Errors of a model per system and over all systems, and the numbers behind them.

Every quantity is compared number by number; pooling systems weighs each by its count of numbers, so the total equals
one evaluation of everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import OutputError
from dpjax.interfaces.quantities import Quantity


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

    quantity: Quantity
    reference: np.ndarray
    prediction: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Comparison]) -> Comparison:
        """The rows of all parts, which are of one quantity."""
        reference = np.concatenate([part.reference for part in parts])
        return Comparison(parts[0].quantity, reference, np.concatenate([part.prediction for part in parts]))

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
        comparisons: by quantity; those without labels, or of atoms that no frame has, are absent.
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
    """All tested systems.

    Attributes:
        systems: their reports.
        quantities: by name, what was to be compared; labels may have been absent.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    systems: tuple[SystemReport, ...]
    quantities: dict[str, Quantity]

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors by quantity over all systems that have it."""
        parts = [system.errors for system in self.systems]
        return {
            name: Errors.pooled(p[name] for p in parts if name in p)
            for name in self.quantities
            if any(name in p for p in parts)
        }

    def comparison(self, name: str) -> Comparison | None:
        """Labels and predictions of one quantity over all systems, or None where there is no label."""
        parts = [system.comparisons[name] for system in self.systems if name in system.comparisons]
        return Comparison.joined(parts) if parts else None

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
        """Writes one file per quantity and returns the files.

        They are ``PREFIX.e.out``, ``.e_peratom.out``, ``.f.out``, ``.v.out``, ``.v_peratom.out``, ``.s.out``, ``.ae.out``
        (atomic energies) and ``.h.out`` (Hessians, number by number); of dipoles and polarizabilities ``PREFIX.out`` and
        ``.atomic.out``; of densities of states ``.dos.out`` and ``.ados.out``; of properties ``.property.out`` and
        ``.aproperty.out``. A row holds the labels, then the predictions; the points of a density of states and the numbers of
        a property stand in rows of their own. A comment line opens each system.

        Raises:
            OutputError: a file cannot be written.
        """
        written = []
        for quantity in self.quantities.values():
            parts = [(s.name, s.comparisons[quantity.name]) for s in self.systems if quantity.name in s.comparisons]
            if parts and quantity.suffix is not None:
                path = Path(".".join(filter(None, (str(prefix), quantity.suffix, "out"))))
                _write(path, quantity.columns, parts)
                written.append(path)
        return written


def _flat(errors: dict[str, Errors]) -> dict[str, float]:
    return {f"{kind}_{name}": getattr(error, kind) for name, error in errors.items() for kind in ("rmse", "mae")}


def _write(path: Path, columns: tuple[str, ...], parts: Sequence[tuple[str, Comparison]]) -> None:
    header = " ".join([*(f"data_{c}" for c in columns), *(f"pred_{c}" for c in columns)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for name, comparison in parts:
                pair = (comparison.reference, comparison.prediction)
                rows = np.concatenate([values.reshape(-1, len(columns)) for values in pair], axis=1)
                np.savetxt(file, rows, header=f"{name}: {header}")
    except OSError as error:
        raise OutputError(f"{path}: cannot write the details: {error.strerror}") from error
