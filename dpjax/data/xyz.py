"""Extended XYZ files, read with ASE: energies eV, lengths angstrom, forces eV/angstrom, stress eV/angstrom^3.

``energy``, ``forces`` and ``virial`` are what they say. A ``stress``, in ASE's sign (negative under compression), becomes the
virial -stress * volume, unless there is a ``virial``. Every other number or column is offered under its own name. The file is read
through once to note where its frames begin; after that frames are read and parsed one by one. The package ase is needed.
"""

from __future__ import annotations

import io
import os
import re
from array import array
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np

from dpjax.data.frames import Frames
from dpjax.data.labels import LabelSpec
from dpjax.data.record_checks import Record, check_frame
from dpjax.data.records import Glance, RecordSystem
from dpjax.data.stamp import Stamp, status_of
from dpjax.errors import DataError

SUFFIXES = (".xyz", ".extxyz")
_NAMES = {"forces": "force", "energies": "atom_ener", "stress": "virial"}
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]")
_KEY = re.compile(r"([A-Za-z_][\w.-]*)\s*=")
_COLUMNS = re.compile(r"\bProperties\s*=\s*[\"']?([^\s\"']+)", re.IGNORECASE)
_PERIODIC = re.compile(r"\bpbc\s*=\s*(\"[^\"]*\"|'[^']*'|\S+)")


def is_xyz(path: str) -> bool:
    """Whether a path names an extended XYZ file."""
    return path.endswith(SUFFIXES)


def open_xyz(path: str, specs: tuple[LabelSpec, ...], skip_bad: bool) -> list[tuple[str, RecordSystem]]:
    """The systems of a file; see ``Frames`` for what is read and raised."""
    return Frames(XyzStore(path), specs, skip_bad).systems()


class XyzStore:
    """The frames of a file (a ``RecordStore``)."""

    sizes = None
    quick = True

    def __init__(self, path: str) -> None:
        self.name = self.names_file = path
        status = status_of(path)
        if status is None or not os.path.isfile(path):
            raise DataError(f"{self.name} does not exist; expected an extended XYZ file. Correct `systems`.")
        self.type_names = _elements()
        self._stamp = Stamp.of(status)
        self._starts = array("q")
        self._seen: list[Glance] = []
        self._index()
        self._starts.append(self._stamp.size)
        self.origins = np.zeros(max(len(self), 1), int)

    def __len__(self) -> int:
        return len(self._seen)

    def place(self, index: int) -> str:
        """See ``RecordStore``."""
        return f"{self.name}, frame {index}"

    def glance(self, index: int) -> Glance:
        """See ``RecordStore``."""
        return self._seen[index]

    def load(self, index: int) -> Record:
        """See ``RecordStore``."""
        try:
            with open(self.name, "rb") as stream:
                self._stamp.check(self.name, os.fstat(stream.fileno()))
                stream.seek(self._starts[index])
                text = stream.read(self._starts[index + 1] - self._starts[index])
        except OSError as cause:
            raise DataError(
                f"{self.name} cannot be read ({cause.strerror or cause}). Check the file and the disk."
            ) from cause
        record = _record(self.place(index), text.decode(errors="replace"))
        check_frame(self.place(index), record, len(self.type_names))
        return record

    def _index(self) -> None:
        """Notes where frames begin, and what their second lines say.

        Raises:
            DataError: a frame does not begin with its number of atoms, or the file ends inside one.
        """
        place, line = 0, 1
        with open(self.name, "rb") as stream:
            for first in stream:
                if not first.strip():  # empty lines at the end
                    place, line = place + len(first), line + 1
                    continue
                n_atom = _atoms(self.name, first, line)
                comment = stream.readline()
                lengths = [len(row) for row in islice(stream, n_atom)]
                if len(lengths) < n_atom:
                    raise DataError(
                        f"{self.name} ends inside frame {len(self)}, which begins in line {line} with {n_atom} atoms; found "
                        f"{len(lengths)}. Copy or write the file again."
                    )
                self._starts.append(place)
                self._seen.append(_outline(n_atom, comment.decode(errors="replace")))
                place, line = place + len(first) + len(comment) + sum(lengths), line + 2 + n_atom


def _atoms(name: str, text: bytes, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        found = text.strip()[:40].decode(errors="replace")
        raise DataError(
            f"{name}, line {line}: found {found!r}; expected the number of atoms of a frame. Correct the file, or write it again "
            "with ase.io.write."
        ) from None


def _outline(n_atom: int, comment: str) -> Glance:
    """What the second line of a frame says about it."""
    keys = set(_KEY.findall(_QUOTED.sub("", comment)))
    columns = _COLUMNS.search(comment)
    names = {_NAMES.get(name, name) for name in (*keys, *_columns(columns[1] if columns else ""))}
    directions = _PERIODIC.search(comment)
    periodic = "Lattice" in keys
    if directions is not None:
        periodic = all(word[0] in "Tt1" for word in directions[1].strip("\"'").split())
    return Glance(n_atom, _shared(frozenset(names | ({"box"} if periodic else set()))), None)


@lru_cache(maxsize=1024)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One object for all equal sets: a file may have millions of frames."""
    return names


@lru_cache(maxsize=1024)
def _columns(text: str) -> tuple[str, ...]:
    """Names in a ``Properties`` such as ``species:S:1:pos:R:3:forces:R:3``."""
    return tuple(text.split(":")[::3])


def _record(place: str, text: str) -> Record:
    """One frame from its lines."""
    read = _ase("ase.io").read
    try:
        atoms = read(io.StringIO(text), index=0, format="extxyz")
    except Exception as cause:  # ASE raises whatever its parsing meets
        raise DataError(
            f"{place} cannot be read by ASE ({type(cause).__name__}: {cause}). Correct the frame or take it out."
        ) from cause
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    record: Record = {"atype": atoms.numbers, "coord": atoms.positions.ravel()}
    if atoms.pbc.any():
        if not atoms.pbc.all():
            raise DataError(
                f"{place} is periodic in some directions only (pbc {atoms.pbc.tolist()}); expected all three or none. "
                'Write "T T T" with a cell that has room for the vacuum, or "F F F".'
            )
        record["box"] = np.asarray(atoms.cell).ravel()
    stress = results.pop("stress", None)
    for name, values in (*atoms.arrays.items(), *atoms.info.items(), *results.items()):
        numbers = np.ravel(values)
        if name not in ("numbers", "positions") and numbers.dtype.kind in "fiub":
            record[_NAMES.get(name, name)] = numbers
    if stress is not None and "box" in record and "virial" not in record:
        record["virial"] = (-abs(np.linalg.det(atoms.cell)) * _full(np.asarray(stress))).ravel()
    return record


def _full(stress: np.ndarray) -> np.ndarray:
    """(3, 3) from that or from xx, yy, zz, yz, xz, xy."""
    return stress.reshape(-1)[[0, 5, 4, 5, 1, 3, 4, 3, 2]] if stress.size == 6 else stress


def _elements() -> tuple[str, ...]:
    """Element of each atomic number; 0 is X, ASE's dummy."""
    return tuple(_ase("ase.data").chemical_symbols)


def _ase(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as cause:
        raise DataError(
            "extended XYZ data need the Python package ase, which is not installed: pip install 'dpjax[ase]'"
        ) from cause
