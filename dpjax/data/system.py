"""One system as the rest of dpjax sees it: frames with the model's types, sorted atoms, checked values.

A system is a list of frames of the same atoms. Atoms of ordinary systems are sorted by the model's type (stable), so
that networks of one type see neighbouring rows; every atomic array, both axes of a Hessian included, follows. Mixed
systems keep the order of the file. Lengths angstrom, energies eV; everything is widened to float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dpjax.data.checks import check_cells, check_finite, check_ranges
from dpjax.data.labels import BOX, COORD, INPUTS, LabelSpec
from dpjax.data.reader import SystemReader, open_readers
from dpjax.data.records import Origins
from dpjax.errors import DataError

UNKNOWN = -2  # stands for the elements that a model does not know


@dataclass(frozen=True, eq=False)
class System:
    """Frames of one data system; arrays are read from disk when asked for.

    Attributes:
        name: the path as the user gave it or as the search found it.
        reader: access to the files.
        lookup: model type of each number that stands for a type in the files, ``UNKNOWN`` where the model has none; the
            last entry, -1, is that of padding atoms.
        types: (n_atom,) int32 model types in ascending order; None if the system is mixed.
        labels: what ``arrays`` can return beside ``coord`` and ``box``.
        found: 1.0 or 0.0 for ``coord``, ``box`` and each label: whether it comes from a file.
        order: (n_atom,) file position of each atom.
    """

    name: str
    reader: SystemReader
    lookup: np.ndarray
    types: np.ndarray | None
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

    @property
    def origins(self) -> Origins | None:
        """Where the frames were taken from; None: from one place."""
        return getattr(self.reader, "origins", None)

    @property
    def copies(self) -> np.ndarray | None:
        """(n_frame,) how often each frame counts in a pass through the data; None: once. Raises DataError: malformed."""
        return getattr(self.reader, "copies", None)

    @property
    def inputs(self) -> list[str]:
        """Names of the labels that models take as inputs."""
        return [name for name in INPUTS if name in self.labels]

    @property
    def places(self) -> np.ndarray:
        """(n_atom,) where the atoms of the files are among those of ``types``, which are sorted."""
        return np.arange(self.n_atom) if self.mixed else np.argsort(self.order)

    def portions(self, atoms: int) -> Iterator[np.ndarray]:
        """Numbers of all frames in their order, in portions of at most so many atoms, or of one frame."""
        size = max(1, atoms // max(1, self.n_atom))
        return (np.arange(i, min(i + size, self.n_frame)) for i in range(0, self.n_frame, size))

    def frame_types(self, frame: int) -> np.ndarray:
        """Model types of one frame: (n_atom,) int32, -1 for padding atoms. Raises DataError as ``frames_types``."""
        return self.types if self.types is not None else self.frames_types(np.array([frame]))[0]

    def frames_types(self, frames: np.ndarray) -> np.ndarray:
        """Model types of frames, (len(frames), n_atom) int32, -1 for padding atoms.

        Raises:
            DataError: a frame that is read for the first time holds an element that the model does not know.
        """
        if self.types is not None:
            return np.broadcast_to(self.types, (len(frames), self.n_atom))
        numbers = self.reader.frame_types(np.asarray(frames))
        known = numbers < len(self.lookup) - 1
        types = np.where(known, self.lookup[np.where(known, numbers, -1)], UNKNOWN).astype(np.int32)
        if (types == UNKNOWN).any():
            row, atom = np.argwhere(types == UNKNOWN)[0]
            file, frame = self.reader.locate(COORD, int(frames[row]))
            names = self.reader.type_names
            element = names[numbers[row, atom]] if names else f"type {numbers[row, atom]}"
            raise DataError(
                f"{file}: frame {frame}, atom {atom} is {element}, unknown to the model. Add it to model/type_map, or leave "
                "the frame out of the data."
            )
        return types

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
            DataError: a value is NaN, infinite or out of its range, or a cell has no volume.
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
        check_ranges(self.reader, spec, frames, values)
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


def open_systems(
    path: str | Path,
    type_map: Sequence[str],
    labels: Iterable[LabelSpec] = (),
    name: str | None = None,
    *,
    skip_bad_frames: bool = False,
) -> list[System]:
    """Opens what lies at ``path``: one system, or one for each size of frames in an LMDB environment or extended XYZ file.

    Reads text files and array headers, no array data but the types of mixed systems.

    Args:
        path: where it is.
        type_map: the model's elements; types are mapped to positions in it.
        labels: arrays to make available.
        name: how to call it; the path by default.
        skip_bad_frames: leave out frames that cannot be read, where frames are stored one by one.

    Raises:
        DataError: files are missing, malformed or inconsistent, an element is unknown to the model, or a label that
            is ``required`` is missing.
    """
    specs, title = tuple(labels), name or str(path)
    opened = open_readers(path, specs, skip_bad_frames)
    return [_system(reader, tuple(type_map), specs, title + rest) for rest, reader in opened]


def open_system(
    path: Path, type_map: Sequence[str], labels: Iterable[LabelSpec] = (), name: str | None = None
) -> System:
    """Opens a path that holds a single system; arguments and errors as for ``open_systems``."""
    systems = open_systems(path, type_map, labels, name)
    if len(systems) > 1:
        raise DataError(f"{path} holds frames of {len(systems)} kinds, each a system of its own; expected one.")
    return systems[0]


def _system(reader: SystemReader, type_map: tuple[str, ...], labels: Iterable[LabelSpec], name: str) -> System:
    lookup = model_types(reader, type_map)
    types = None if reader.mixed else lookup[reader.frame_types(np.zeros(1, int))]
    order = np.arange(reader.n_atom) if types is None else np.argsort(types, kind="stable")
    specs = {spec.name: _placed(spec, types) for spec in labels}
    found = {"coord": 1.0, "box": float(reader.periodic)}
    found |= {key: float(reader.has(spec)) for key, spec in specs.items()}
    system = System(name, reader, lookup, None if types is None else types[order], specs, found, order)
    for spec in specs.values():
        if spec.required:
            require_label(system, spec)
    return system


def _placed(spec: LabelSpec, types: np.ndarray | None) -> LabelSpec:
    """The label with the positions of the atoms that its file may be restricted to; mixed systems hold all atoms."""
    if spec.selected is None or types is None:
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


def model_types(reader: SystemReader, type_map: tuple[str, ...]) -> np.ndarray:
    """Model type of each number that stands for a type in the files, int32, ``UNKNOWN`` without one; and a last entry -1.

    Raises:
        DataError: the element of an atom, or its number when the data name no elements, is not in ``type_map``.
    """
    used, names = reader.used_types, reader.type_names
    known = ", ".join(type_map)
    if names is None:
        if len(used) and used.max() >= len(type_map):
            raise DataError(
                f"{reader.types_file} uses type {used.max()}, but the model's type_map has {len(type_map)} entries ({known}) "
                f"and there is no {reader.names_file} to name it. Extend model/type_map, or add the names."
            )
        return np.array([*range(len(type_map)), -1], dtype=np.int32)
    unknown = [names[i] for i in used if names[i] not in type_map]
    if unknown:
        raise DataError(
            f"{reader.names_file} names {', '.join(unknown)}, unknown to the model, whose type_map is: {known}. "
            "Add the element to model/type_map, or take the system out of `systems`."
        )
    place = {name: i for i, name in enumerate(type_map)}
    return np.array([*(place.get(name, UNKNOWN) for name in names), -1], dtype=np.int32)
