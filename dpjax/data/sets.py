"""A system in the deepmd layout, ordinary or mixed, whatever it is stored in.

Sets are joined in name order. A mixed system also has ``real_atom_types`` in every set, with -1 for padding atoms.
``numb_copy`` says of each frame of a set how often a pass through the data takes it.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from dpjax.data.labels import BOX, COORD, LabelSpec
from dpjax.data.tree import ArraySource, SystemTree, frame_count
from dpjax.errors import DataError

_FRAME_TYPES = LabelSpec("real_atom_types", per_atom=True)
_BLOCK = 4096  # frames whose types are read at once


class SetSystem:
    """Reader of one system (a ``SystemReader``).

    Opening it reads the types and the headers of coordinates and cells; the headers of labels are read by ``has``, and array
    data only by ``read``. The exception are the types of mixed systems, of which two bytes per atom are kept.
    """

    def __init__(self, tree: SystemTree) -> None:
        self.tree = tree
        atoms = tree.types()
        self.n_atom = len(atoms)
        self.type_names = tree.type_names()
        self.types_file, self.names_file = tree.place("type.raw"), tree.place("type_map.raw")
        self.periodic = tree.periodic
        self._sets = tree.sets()
        self._arrays: dict[str, list[ArraySource]] = {"coord": [self._open_coord(part) for part in self._sets]}
        self._counts = [frame_count(a, 3 * self.n_atom, self._expected(COORD)) for a in self._arrays["coord"]]
        self._starts = np.cumsum([0, *self._counts])
        self.n_frame = int(self._starts[-1])
        if self.periodic and not self.has(BOX):
            raise DataError(
                f"{self.expected_file(BOX)} is missing; expected the cell of every frame, shape (frames, 9). "
                f"Add it, or create an empty {tree.place('nopbc')} if the system is not periodic."
            )
        self.mixed = self.has(_FRAME_TYPES)
        self._types = self._read_frame_types() if self.mixed else atoms
        self._check_type_range()

    @property
    def used_types(self) -> np.ndarray:
        """The numbers of all types that occur."""
        used = np.unique(self._types)
        return used[used >= 0]

    @cached_property
    def copies(self) -> np.ndarray | None:
        """(n_frame,) how often a pass takes each frame; None without any ``numb_copy``.

        Raises:
            DataError: not one whole number that is not negative for each frame, or none above zero.
        """
        found = [self.tree.array(part, "numb_copy") for part in self._sets]
        if all(array is None for array in found):
            return None
        copies = np.concatenate(
            [
                np.ones(n, int) if array is None else _copies(array, n)
                for array, n in zip(found, self._counts, strict=True)
            ]
        )
        if not copies.any():
            raise DataError(
                f"{self.tree.name}: numb_copy is 0 for all frames. Leave the system out of the input instead."
            )
        return copies

    def frame_types(self, frames: np.ndarray) -> np.ndarray:
        """Types of frames as the files number them: (len(frames), n_atom), or (n_atom,) unless mixed."""
        return self._types[frames] if self.mixed else self._types

    def has(self, spec: LabelSpec) -> bool:
        """Whether the array is in every set; checks shapes and frame counts from the headers."""
        if spec.name not in self._arrays:
            found = [self._first(part, spec) for part in self._sets]
            if all(array is None for array in found):
                return False
            self._check_in_all_sets(spec, found)
            self._arrays[spec.name] = [array for array in found if array is not None]
            self._check_frames(spec)
        return True

    def read(self, spec: LabelSpec, indices: np.ndarray) -> np.ndarray:
        """Frames of the array, (len(indices), width) float64, atoms in file order; zero for atoms not in the file."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.n_frame:
            raise IndexError(f"{self.tree.name} has {self.n_frame} frames; frames {indices.tolist()} were asked for")
        which = np.searchsorted(self._starts, indices, side="right") - 1
        out = np.zeros((len(indices), spec.width(self.n_atom)))
        for part in np.unique(which):
            here, array = which == part, self._arrays[spec.name][part]
            frames, columns = indices[here] - self._starts[part], self._columns(spec, array, self._counts[part])
            if columns is None:
                out[here] = array.rows(frames, out.shape[1])
            else:
                out[np.ix_(here, columns)] = array.rows(frames, len(columns))
        return out

    def locate(self, spec: LabelSpec, frame: int) -> tuple[str, int]:
        """File that holds a frame of the array, and the frame's number inside that file."""
        part = int(np.searchsorted(self._starts, frame, side="right")) - 1
        return self._arrays[spec.name][part].place, int(frame - self._starts[part])

    def expected_file(self, spec: LabelSpec) -> str:
        """Path where the array was expected: in the first set."""
        return self._expected_in(self._sets[0], spec)

    def content_hash(self, specs: tuple[LabelSpec, ...]) -> str:
        """SHA-256 over the marker files and the bytes of the arrays named, streamed; where they lie and aliases do not matter."""
        digest = hashlib.sha256(f"periodic={self.periodic} frames={self._counts}".encode())
        for name, text in self.tree.texts():
            digest.update(f"\n{name} {len(text)}\n".encode() + text)
        extra = (_FRAME_TYPES,) if self.mixed else ()
        for spec in sorted((*specs, *extra), key=lambda spec: spec.name):
            if self.has(spec):
                for part, array in zip(self._sets, self._arrays[spec.name], strict=True):
                    digest.update(f"\n{part}/{spec.name}.npy {array.nbytes}\n".encode())
                    for block in array.blocks():
                        digest.update(block)
        return digest.hexdigest()

    def _first(self, part: str, spec: LabelSpec) -> ArraySource | None:
        """The array in one set: the first of its names that is there, or None."""
        found = (self.tree.array(part, stem) for stem in spec.files)
        return next((array for array in found if array is not None), None)

    def _open_coord(self, part: str) -> ArraySource:
        found = self.tree.array(part, "coord")
        if found is None:
            raise DataError(
                f"{self._expected_in(part, COORD)} is missing; expected coordinates of shape (frames, {3 * self.n_atom}). "
                f"Add it or remove the set {part}."
            )
        return found

    def _expected_in(self, part: str, spec: LabelSpec) -> str:
        """Path of the array in a set, with its other names."""
        first, *others = (f"{stem}.npy" for stem in spec.files)
        return self.tree.place(part, first) + (f" (or {' or '.join(others)})" if others else "")

    def _expected(self, spec: LabelSpec, frames: int | None = None) -> str:
        """The expected shape in words and in numbers."""
        count = "frames" if frames is None else frames
        whole = f"{spec.layout()} = ({count}, {spec.width(self.n_atom)}) with natoms = {self.n_atom}"
        if spec.atoms is None:
            return whole
        part = (
            f"({count}, {spec.size * len(spec.atoms)}) for the {len(spec.atoms)} atoms of the types in sel_type alone"
        )
        return f"{whole}, or {part}"

    def _check_in_all_sets(self, spec: LabelSpec, found: list[ArraySource | None]) -> None:
        missing = [part for part, array in zip(self._sets, found, strict=True) if array is None]
        if missing:
            there = next(array.place for array in found if array is not None)
            raise DataError(
                f"{self._expected_in(missing[0], spec)} is missing although {there} exists. "
                "Expected an array in all sets of a system or in none: complete it, or make two systems of it."
            )

    def _check_frames(self, spec: LabelSpec) -> None:
        for array, expected in zip(self._arrays[spec.name], self._counts, strict=True):
            columns = self._columns(spec, array, expected)
            width = spec.width(self.n_atom) if columns is None else len(columns)
            found = frame_count(array, width, self._expected(spec, expected))
            if found != expected:
                raise DataError(
                    f"{array.place} has {found} frames (shape {array.shape}), but coord.npy beside it has "
                    f"{expected}; expected {self._expected(spec, expected)}. All files of a set must hold the same frames."
                )

    def _columns(self, spec: LabelSpec, array: ArraySource, frames: int) -> np.ndarray | None:
        """Where the numbers that an array holds of a frame stand in a frame of all atoms; None where it holds those of all."""
        if spec.atoms is None or array.size != frames * spec.size * len(spec.atoms):
            return None
        return (spec.size * np.array(spec.atoms, dtype=int)[:, None] + np.arange(spec.size)).ravel()

    def _read_frame_types(self) -> np.ndarray:
        if self.type_names is None:
            raise DataError(
                f"{self.tree.place('type_map.raw')} is missing, but the system has real_atom_types.npy "
                "(mixed types), whose numbers need names. Write one element name per type into it."
            )
        types = np.empty((self.n_frame, self.n_atom), np.int16)
        for start in range(0, self.n_frame, _BLOCK):
            frames = np.arange(start, min(start + _BLOCK, self.n_frame))
            limits = np.iinfo(np.int16)
            types[frames] = np.nan_to_num(self.read(_FRAME_TYPES, frames), nan=limits.max).clip(limits.min, limits.max)
        return types

    def _check_type_range(self) -> None:
        """Numbers must have a name in ``type_map.raw``; only padding atoms of mixed systems may be -1."""
        smallest = -1 if self.mixed else 0
        limit = len(self.type_names) if self.type_names is not None else None
        bad = self._types < smallest
        if limit is not None:
            bad |= self._types >= limit
        if bad.any():
            where = np.argwhere(bad)[0]
            source = self.expected_file(_FRAME_TYPES) if self.mixed else self.tree.place("type.raw")
            place = f"frame {where[0]}, atom {where[1]}" if self.mixed else f"atom {where[0]}"
            upper = "or more" if limit is None else f"to {limit - 1} ({', '.join(self.type_names)} in type_map.raw)"
            raise DataError(
                f"{source}: {place} has type {self._types[tuple(where)]}; expected {smallest} {upper}. "
                "Correct the number or complete type_map.raw."
            )


def _copies(array: ArraySource, n_frame: int) -> np.ndarray:
    """``numb_copy`` of one set."""
    values = array.rows(np.arange(n_frame), 1).ravel() if array.size == n_frame else np.full(1, -1)
    if np.any(values < 0) or np.any(values != np.round(values)):
        found = f"{array.size} values" if array.size != n_frame else f"{values[(values < 0) | (values % 1 > 0)][0]:g}"
        raise DataError(
            f"{array.place}: found {found}, expected for each of the {n_frame} frames how often it counts, a whole number that is "
            "not negative. Correct the file or remove it."
        )
    return values.astype(int)
