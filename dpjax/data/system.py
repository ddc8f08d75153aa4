"""One system as the rest of dpjax sees it: frames with the model's types, sorted atoms, checked values.

A system is a list of frames of the same atoms. Atoms of ordinary systems are sorted by the model's type (stable), so
that networks of one type see neighbouring rows; every atomic array, both axes of a Hessian included, follows. Mixed
systems keep the order of the file. Lengths angstrom, energies eV; everything is widened to float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dpjax.data.checks import check_cells, check_finite
from dpjax.data.labels import BOX, COORD, LabelSpec
from dpjax.data.reader import SystemReader, open_reader
from dpjax.errors import DataError


@dataclass(frozen=True, eq=False)
class System:
    """Frames of one data system; arrays are read from disk when asked for.

    Attributes:
        name: the path as the user gave it or as the search found it.
        reader: access to the files.
        types: (n_atom,) int32 model types in ascending order, or (n_frame, n_atom) in file order with -1 for padding
            atoms if the system is mixed.
        labels: what ``arrays`` can return beside ``coord`` and ``box``.
        found: 1.0 or 0.0 for ``coord``, ``box`` and each label: whether it comes from a file.
        order: (n_atom,) file position of each atom.
    """

    name: str
    reader: SystemReader
    types: np.ndarray
    labels: dict[str, LabelSpec]
    found: dict[str, float]
    order: np.ndarray

    @property
    def n_frame(self) -> int:
        """Number of frames, all sets together."""
        return self.reader.n_frame

    @property
    def n_atom(self) -> int:
        """Atoms per frame, padding atoms of mixed systems included."""
        return self.reader.n_atom

    @property
    def periodic(self) -> bool:
        """Whether the frames have a cell."""
        return self.reader.periodic

    @property
    def mixed(self) -> bool:
        """Whether every frame has its own types."""
        return self.reader.mixed

    def frame_types(self, frame: int) -> np.ndarray:
        """Model types of one frame: (n_atom,) int32, -1 for padding atoms."""
        return self.types[frame] if self.mixed else self.types

    def arrays(self, indices: Sequence[int] | np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Reads frames.

        Args:
            indices: frame numbers, any order.
            names: ``coord``, ``box`` or names in ``labels``.

        Returns:
            float64 arrays with leading axis ``len(indices)``: coord (f, n, 3), box (f, 9) (zeros if not periodic),
            energy (f, 1), force (f, n, 3), virial (f, 9), hessian (f, (3n)^2), other arrays (f, size), atomic ones
            (f, n, size). What the files lack holds its default.

        Raises:
            DataError: a value is NaN or infinite, or a cell has no volume.
        """
        frames = np.asarray(indices, dtype=np.int64)
        return {name: self._array(name, frames) for name in names}

    def coord(self, frame: int) -> np.ndarray:
        """Positions of one frame, (n_atom, 3) angstrom. Raises DataError as ``arrays`` does."""
        return self._array("coord", np.array([frame]))[0]

    def cell(self, frame: int) -> np.ndarray | None:
        """Cell vectors of one frame as rows, (3, 3) angstrom, or None if not periodic. Raises as ``arrays`` does."""
        return self._array("box", np.array([frame]))[0].reshape(3, 3) if self.periodic else None

    def content_hash(self, names: Iterable[str] | None = None) -> str:
        """SHA-256 of types and files: of the arrays named, by default of coordinates, cells and all labels found.

        Reads every byte once; the same data in another place has the same hash.
        """
        if names is None:
            names = [name for name, flag in self.found.items() if flag]
        return self.reader.content_hash(tuple(self._spec(name) for name in names))

    def _spec(self, name: str) -> LabelSpec:
        return {"coord": COORD, "box": BOX}.get(name) or self.labels[name]

    def _array(self, name: str, frames: np.ndarray) -> np.ndarray:
        spec = self._spec(name)
        shape = (len(frames), *spec.shape(self.n_atom))
        if not self.found[name]:
            return np.array(np.broadcast_to(np.asarray(spec.default, dtype=np.float64), shape))
        values = self.reader.read(spec, frames)
        check_finite(self.reader, spec, frames, values)
        if name == "box":
            check_cells(self.reader, frames, values)
        return self._reorder(spec, values.reshape(shape))

    def _reorder(self, spec: LabelSpec, values: np.ndarray) -> np.ndarray:
        if self.mixed:
            return values
        if spec.per_atom:
            return values[:, self.order]
        if spec.atom_pair:
            axis = (3 * self.order[:, None] + np.arange(3)).ravel()
            square = values.reshape(len(values), len(axis), len(axis))
            return square[:, axis[:, None], axis].reshape(values.shape)
        return values


def open_system(
    path: Path, type_map: Sequence[str], labels: Iterable[LabelSpec] = (), name: str | None = None
) -> System:
    """Opens one system; reads text files and array headers, no array data (but the types of mixed systems).

    Args:
        path: where it is.
        type_map: the model's elements; types are mapped to positions in it.
        labels: arrays to make available.
        name: how to call it; the path by default.

    Raises:
        DataError: files are missing, malformed or inconsistent, an element is unknown to the model, or a label that
            is ``required`` is missing.
    """
    reader = open_reader(path)
    types = model_types(reader, path, tuple(type_map))
    order = np.arange(reader.n_atom) if reader.mixed else np.argsort(types, kind="stable")
    specs = {spec.name: _placed(spec, types, reader.mixed) for spec in labels}
    found = {"coord": 1.0, "box": float(reader.periodic)}
    found |= {key: float(reader.has(spec)) for key, spec in specs.items()}
    system = System(name or str(path), reader, types if reader.mixed else types[order], specs, found, order)
    for spec in specs.values():
        if spec.required:
            require_label(system, spec)
    return system


def _placed(spec: LabelSpec, types: np.ndarray, mixed: bool) -> LabelSpec:
    """The label with the positions of the atoms that its file may be restricted to; mixed systems hold all atoms."""
    if spec.selected is None or mixed:
        return spec
    return replace(spec, atoms=tuple(np.flatnonzero(np.isin(types, spec.selected)).tolist()))


def require_label(system: System, spec: LabelSpec) -> None:
    """Raises DataError, naming system, file and what to change, unless the system has the label."""
    if not system.found[spec.name]:
        remedy = f", or {spec.advice}" if spec.advice else ""
        raise DataError(
            f"system {system.name}: {system.reader.expected_file(spec)} is missing, but `{spec.name}` is needed; "
            f"expected shape {spec.layout()}. Add the file, take the system out of `systems`{remedy}."
        )


def model_types(reader: SystemReader, path: Path, type_map: tuple[str, ...]) -> np.ndarray:
    """Types of the reader in the model's numbering, same shape, int32, -1 kept.

    Raises:
        DataError: an atom's element, or its number when the data names no elements, is not in ``type_map``.
    """
    used = np.unique(reader.type_index)
    used = used[used >= 0]
    known = ", ".join(type_map)
    if reader.type_names is None:
        if len(used) and used[-1] >= len(type_map):
            raise DataError(
                f"{path}/type.raw uses type {used[-1]}, but the model's type_map has {len(type_map)} entries ({known}) "
                "and there is no type_map.raw to name it. Extend model/type_map, or add type_map.raw."
            )
        return reader.type_index.astype(np.int32)
    unknown = [reader.type_names[i] for i in used if reader.type_names[i] not in type_map]
    if unknown:
        raise DataError(
            f"{path}/type_map.raw names {', '.join(unknown)}, unknown to the model, whose type_map is: {known}. "
            "Add the element to model/type_map, or take the system out of `systems`."
        )
    lookup = np.array([type_map.index(n) if n in type_map else -1 for n in reader.type_names] + [-1], dtype=np.int32)
    return lookup[reader.type_index]  # -1 (padding) picks the last entry, which is -1
