"""One structure from a file: what ASE reads, or a system of DeePMD-kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpjax.data.system import open_systems
from dpjax.errors import DataError, DPError


@dataclass(frozen=True)
class Structure:
    """Atoms of one structure, in their own order."""

    symbols: tuple[str, ...]
    atype: np.ndarray  # (n,) types of the model
    coord: np.ndarray  # (n, 3) angstrom
    cell: np.ndarray | None  # (3, 3) rows, angstrom; vectors of open directions are made up; None: open
    pbc: tuple[bool, bool, bool]
    mass: np.ndarray  # (n,) atomic mass units
    momentum: np.ndarray | None  # (n, 3) sqrt(eV amu); None: the file has no velocities


def read_structure(
    path: str | Path, type_map: Sequence[str], frame: int = 0, masses: Mapping[str, float] | None = None
) -> Structure:
    """A frame of a file, or of a system of DeePMD-kit.

    Args:
        path: file that ASE reads, or folder of a system.
        type_map: of the model.
        frame: number of the frame; negative ones count from the end.
        masses: atomic mass units by name, instead of those of the elements.

    Raises:
        DataError: no such file or frame, an element that the model does not know, a type without mass.
        DPError: ASE is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected a structure that ASE reads, or a system of DeePMD-kit"
        )
    if path.is_dir():
        symbols, coord, cell, pbc, mass, momentum = _of_system(path, type_map, frame)
    else:
        symbols, coord, cell, pbc, mass, momentum = _of_file(path, frame)
    for place, symbol in enumerate(symbols):
        if symbol not in type_map:
            raise DataError(
                f"{path}: atom {place} is {symbol}, which the model does not know; it has {', '.join(type_map)}"
            )
    types = np.array([list(type_map).index(symbol) for symbol in symbols], np.int32)
    mass = _masses(path, symbols, mass, masses or {})
    return Structure(tuple(symbols), types, coord, cell, pbc, mass, momentum)


def _of_system(path: Path, type_map: Sequence[str], frame: int):
    systems = open_systems(str(path), type_map, ())
    system = systems[0]
    if not -system.n_frame <= frame < system.n_frame:
        raise DataError(f"{path}: frame {frame} asked for, but there are {system.n_frame}")
    frame %= system.n_frame
    arrays = system.arrays([frame], ["coord", "box"])
    types = system.frame_types(frame)
    real = types >= 0
    symbols = [type_map[t] for t in types[real]]
    cell = arrays["box"][0].reshape(3, 3) if system.periodic else None
    return symbols, arrays["coord"][0][real], cell, (system.periodic,) * 3, None, None


def _of_file(path: Path, frame: int):
    try:
        from ase import io
    except ImportError as error:
        raise DPError("reading structures needs ASE, which is not installed: pip install 'dpjax[ase]'") from error
    try:
        atoms = io.read(path, index=frame)
    except Exception as error:  # ASE's readers raise whatever their format brings up
        raise DataError(f"{path}: ASE cannot read frame {frame}: {type(error).__name__}: {error}") from error
    cell = atoms.cell.complete().array if atoms.pbc.any() else None
    momentum = atoms.get_momenta() if atoms.has("momenta") and np.any(atoms.get_momenta()) else None
    pbc = tuple(bool(p) for p in atoms.pbc)
    return atoms.get_chemical_symbols(), atoms.positions.copy(), cell, pbc, atoms.get_masses(), momentum


def _masses(path: Path, symbols: Sequence[str], given: np.ndarray | None, own: Mapping[str, float]) -> np.ndarray:
    for name in own:
        if name not in symbols:
            raise DataError(
                f"a mass is given for {name}, which is not in {path}; it has {', '.join(sorted(set(symbols)))}"
            )
    known = element_masses() if given is None else {}
    values = []
    for place, symbol in enumerate(symbols):
        value = own.get(symbol, given[place] if given is not None else known.get(symbol))
        if value is None or not np.isfinite(value) or value <= 0:
            raise DataError(
                f"{path}: {symbol} is no element with a known mass; give it as {symbol}=MASS in atomic mass units"
            )
        values.append(float(value))
    return np.array(values)


def element_masses() -> dict[str, float]:
    """Atomic mass units by symbol; DPError where ASE, which has the table, is not installed."""
    try:
        from ase.data import atomic_masses, chemical_symbols
    except ImportError as error:
        raise DPError(
            "masses of the elements come from ASE, which is not installed: pip install 'dpjax[ase]'"
        ) from error
    return dict(zip(chemical_symbols[1:], map(float, atomic_masses[1:]), strict=False))
