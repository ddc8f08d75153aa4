"""Tables of pair energies: the text file, its continuation to the cut-off, and the cubic pieces between its rows.

A file has the distance in angstrom in even steps, then the energy in eV of each unordered pair of types (0-0, 0-1, ..., 1-1, ...).
Between two rows the energy is a cubic in ``u``, which runs from 0 to 1: ``((c0 u + c1) u + c2) u + c3``.  The pieces of a column
are a cubic spline whose slope is zero at both ends of the table.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import DataError

log = logging.getLogger(__name__)

EVEN = 1e-3  # by how much of a step a row may stand beside its place


@dataclass(frozen=True)
class PairTable:
    """Energies of pairs between evenly spaced distances.

    Attributes:
        start: first distance, angstrom.
        spacing: from one row to the next, angstrom.
        pieces: (n_type, n_type, n_piece, 4) eV, coefficients from the cube down.
    """

    start: float
    spacing: float
    pieces: np.ndarray

    @property
    def end(self) -> float:
        """Where the table ends, angstrom; beyond it energies are zero."""
        return self.start + self.spacing * self.pieces.shape[2]

    def rows(self) -> np.ndarray:
        """(n_piece + 1, 1 + n_pair) the table as rows of a file, its continuation included."""
        n_type, n_piece = self.pieces.shape[0], self.pieces.shape[2]
        columns = [self.start + self.spacing * np.arange(n_piece + 1)]
        for a in range(n_type):
            for b in range(a, n_type):
                own = self.pieces[a, b]
                columns.append(np.append(own[:, 3], own[-1].sum()))
        return np.stack(columns, axis=1)


def read_pair_table(path: str, rcut: float, type_map: tuple[str, ...], option: str) -> PairTable:
    """The table of a text file, continued to the cut-off.

    Args:
        path: of the file.
        rcut: where pairs end to interact, angstrom.
        type_map: names of the types; the file has a column for each pair of them.
        option: path of the option that names the file, for messages.

    Raises:
        DataError: the file is missing or malformed.
    """
    rows = _rows(path, type_map, option)
    return pair_table(continued(rows, rcut, f"{option}: {path}"), len(type_map))


def pair_table(rows: np.ndarray, n_type: int) -> PairTable:
    """The cubic pieces of a table (n_row, 1 + n_pair), as rows of a file."""
    start, spacing = float(rows[0, 0]), float(rows[1, 0] - rows[0, 0])
    pieces = np.zeros((n_type, n_type, len(rows) - 1, 4))
    column = 1
    for a in range(n_type):
        for b in range(a, n_type):
            pieces[a, b] = pieces[b, a] = _pieces(rows[:, 0], rows[:, column], spacing)
            column += 1
    return PairTable(start, spacing, pieces)


def _pieces(distance: np.ndarray, energy: np.ndarray, spacing: float) -> np.ndarray:
    """(n_row - 1, 4) of one column."""
    slope = _spline(distance, energy, 0.0, 0.0)(distance, 1) * spacing
    here, there, leaving, arriving = energy[:-1], energy[1:], slope[:-1], slope[1:]
    cube = 2 * here - 2 * there + leaving + arriving
    square = -3 * here + 3 * there - 2 * leaving - arriving
    return np.stack([cube, square, leaving, here], axis=1)


def continued(rows: np.ndarray, rcut: float, name: str) -> np.ndarray:
    """The rows of a table, and more of them where the cut-off lies beyond the last.

    A table that ends at zero goes on with zeros.  Any other goes on with a cubic that leaves it with the difference of its last two
    rows as the slope (per angstrom, as DeePMD-kit takes it) and arrives at zero with slope zero, before the cut-off where there is
    room.  Where energies are not zero at the cut-off, a warning says so.

    Args:
        rows: (n_row, 1 + n_pair).
        rcut: angstrom.
        name: of the table, for messages.
    """
    last, spacing = rows[-1], rows[1, 0] - rows[0, 0]
    reach = math.ceil(rcut / spacing - rows[0, 0] / spacing)  # the first row that is not before the cut-off
    more = reach - (len(rows) - 1)
    if rcut <= last[0] or more <= 0:
        if np.any(rows[min(max(reach, 0), len(rows) - 1), 1:]):
            log.warning("%s: energies are not zero at the cut-off, %g angstrom, where they end with a jump", name, rcut)
        return rows
    added = np.zeros((more, rows.shape[1]))
    added[:, 0] = np.linspace(last[0] + spacing, last[0] + spacing * more, more)
    if not np.any(last[1:]):
        return np.concatenate([rows, added])
    log.warning(
        "%s: the table ends at %g angstrom with energies that are not zero; it is continued to zero", name, last[0]
    )
    room = added[-1, 0] / spacing - last[0] / spacing >= 2
    goal = -2 if room else -1
    ends = np.stack([last[1:], np.zeros(rows.shape[1] - 1)])
    slope = last[1:] - rows[-2, 1:]
    added[:, 1:] = _spline([last[0], added[goal, 0]], ends, slope, np.zeros_like(slope))(added[:, 0])
    return np.concatenate([rows, added[:-1] if room else added])


def _spline(points: Any, values: np.ndarray, first: Any, last: Any) -> Callable:
    """The cubic spline through some points with given slopes at both ends."""
    from scipy.interpolate import CubicSpline  # importing SciPy adds warning filters, which importing dpjax must not

    return CubicSpline(points, values, bc_type=((1, first), (1, last)))


def _rows(path: str, type_map: tuple[str, ...], option: str) -> np.ndarray:
    """The numbers of a file, (n_row, 1 + n_pair), checked."""
    wanted = 1 + len(type_map) * (len(type_map) + 1) // 2
    where = f"{option}: {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cannot read the table ({getattr(error, 'strerror', None) or error}).") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        rows.append(_numbers(words, f"{where}, line {number}"))
        if len(words) != wanted:
            pairs = ", ".join(f"{a}-{b}" for i, a in enumerate(type_map) for b in type_map[i:])
            raise DataError(
                f"{where}, line {number}: found {len(words)} columns, expected {wanted}: the distance in angstrom, then the "
                f"energy in eV of {pairs}."
            )
    if len(rows) < 2:
        raise DataError(f"{where}: found {len(rows)} rows of numbers, expected at least 2.")
    table = np.array(rows)
    _check_distances(table[:, 0], where)
    return table


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected numbers only.") from None
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{where}: found a number that is not finite; remove the row, or give energies for it.")
    return numbers


def _check_distances(distance: np.ndarray, where: str) -> None:
    """They must grow in even steps, from zero or more."""
    spacing = distance[1] - distance[0]
    if distance[0] < 0 or spacing <= 0:
        raise DataError(
            f"{where}: the distances begin with {distance[0]:g}, {distance[1]:g}; expected them to grow from zero or more."
        )
    off = np.abs(distance - (distance[0] + spacing * np.arange(len(distance)))) > EVEN * spacing
    if off.any():
        i = int(np.flatnonzero(off)[0])
        raise DataError(
            f"{where}: row {i + 1} has the distance {distance[i]:g}, expected {distance[0] + spacing * i:g}: the distances must "
            "grow in even steps. Interpolate the table onto an even grid."
        )
