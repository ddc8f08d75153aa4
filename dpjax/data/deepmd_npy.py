"""The deepmd/npy format, ordinary and mixed: ``type.raw``, ``type_map.raw``, ``nopbc`` and ``set.*/<name>.npy``.

Sets are joined in name order. A mixed system also has ``real_atom_types.npy`` in every set, with -1 for padding atoms.
``numb_copy.npy`` is not a label and changes nothing, as in DeePMD-kit's PyTorch trainer.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from dpjax.data.labels import BOX, COORD, LabelSpec
from dpjax.data.npy import NpyFile, frame_count, open_npy
from dpjax.errors import DataError

_FRAME_TYPES = LabelSpec("real_atom_types", per_atom=True)


class NpyDirectory:
    """Reader of one deepmd/npy system (a ``SystemReader``).

    Opening it reads the small text files and the headers of ``coord.npy`` and ``box.npy``; the headers of labels
    are read by ``has``, and array data only by ``read``. The exception is ``real_atom_types.npy``, read whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        atoms = read_types(path)
        self.n_atom = len(atoms)
        self.type_names = read_type_map(path)
        self.periodic = not (path / "nopbc").exists()
        self._sets = find_sets(path)
        self._files: dict[str, list[NpyFile]] = {}
        coords = [self._open_coord(folder) for folder in self._sets]
        self._files["coord"] = coords
        self._counts = [frame_count(file, 3 * self.n_atom, self._expected(COORD)) for file in coords]
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        self.n_frame = int(self._starts[-1])
        if self.periodic and not self.has(BOX):
            raise DataError(
                f"{self.expected_file(BOX)} is missing; expected the cell of every frame, shape (frames, 9). "
                f"Add it, or create an empty file {path / 'nopbc'} if the system is not periodic."
            )
        self.mixed = self.has(_FRAME_TYPES)
        self.type_index = self._read_frame_types() if self.mixed else atoms
        self._check_type_range()

    def has(self, spec: LabelSpec) -> bool:
        """Whether the array is in every set; checks shapes and frame counts from the headers."""
        if spec.name not in self._files:
            paths = [first_file(folder, spec) for folder in self._sets]
            if not any(paths):
                return False
            self._check_in_all_sets(spec, paths)
            self._files[spec.name] = [open_npy(path) for path in paths if path]
            self._check_frames(spec)
        return True

    def read(self, spec: LabelSpec, indices: np.ndarray) -> np.ndarray:
        """Frames of the array, (len(indices), width) float64, atoms in file order; zero for atoms not in the file."""
        which = np.searchsorted(self._starts, indices, side="right") - 1
        out = np.zeros((len(indices), spec.width(self.n_atom)))
        for part in np.unique(which):
            here, file = which == part, self._files[spec.name][part]
            frames, columns = indices[here] - self._starts[part], self._columns(spec, file, self._counts[part])
            if columns is None:
                out[here] = file.rows(frames, out.shape[1])
            else:
                out[np.ix_(here, columns)] = file.rows(frames, len(columns))
        return out

    def locate(self, spec: LabelSpec, frame: int) -> tuple[str, int]:
        """File that holds a frame of the array, and the frame's number inside that file."""
        part = int(np.searchsorted(self._starts, frame, side="right")) - 1
        return str(self._files[spec.name][part].path), int(frame - self._starts[part])

    def expected_file(self, spec: LabelSpec) -> str:
        """Path where the array was expected: in the first set."""
        return str(self._sets[0] / spec.file_names)

    def content_hash(self, specs: tuple[LabelSpec, ...]) -> str:
        """SHA-256 over the marker files and the bytes of the arrays named, streamed; where they lie and aliases do not matter."""
        digest = hashlib.sha256(f"periodic={self.periodic} frames={self._counts}".encode())
        files = [(path, path.name) for name in ("type.raw", "type_map.raw") if (path := self.path / name).is_file()]
        extra = (_FRAME_TYPES,) if self.mixed else ()
        for spec in sorted((*specs, *extra), key=lambda spec: spec.name):
            if self.has(spec):
                files += [(file.path, f"{file.path.parent.name}/{spec.name}.npy") for file in self._files[spec.name]]
        for path, name in files:
            digest.update(f"\n{name} {path.stat().st_size}\n".encode())
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def _open_coord(self, folder: Path) -> NpyFile:
        path = folder / "coord.npy"
        if not path.is_file():
            raise DataError(
                f"{path} is missing; expected coordinates of shape (frames, {3 * self.n_atom}). "
                f"Add the file or remove the set {folder.name}."
            )
        return open_npy(path)

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

    def _check_in_all_sets(self, spec: LabelSpec, paths: list[Path | None]) -> None:
        missing = [folder for folder, path in zip(self._sets, paths, strict=True) if path is None]
        if missing:
            raise DataError(
                f"{missing[0] / spec.file_names} is missing although {next(filter(None, paths))} exists. "
                "Expected an array in all sets of a system or in none: complete it, or make two systems of it."
            )

    def _check_frames(self, spec: LabelSpec) -> None:
        for file, expected in zip(self._files[spec.name], self._counts, strict=True):
            columns = self._columns(spec, file, expected)
            width = spec.width(self.n_atom) if columns is None else len(columns)
            found = frame_count(file, width, self._expected(spec, expected))
            if found != expected:
                raise DataError(
                    f"{file.path} has {found} frames (shape {file.shape}), but coord.npy beside it has {expected}; "
                    f"expected {self._expected(spec, expected)}. All files of a set must hold the same frames."
                )

    def _columns(self, spec: LabelSpec, file: NpyFile, frames: int) -> np.ndarray | None:
        """Where the numbers that a file holds of a frame stand in a frame of all atoms; None where it holds those of all."""
        if spec.atoms is None or file.size != frames * spec.size * len(spec.atoms):
            return None
        return (spec.size * np.array(spec.atoms, dtype=int)[:, None] + np.arange(spec.size)).ravel()

    def _read_frame_types(self) -> np.ndarray:
        if self.type_names is None:
            raise DataError(
                f"{self.path / 'type_map.raw'} is missing, but the system has real_atom_types.npy (mixed types), whose "
                "numbers need names. Write one element name per type into it."
            )
        return self.read(_FRAME_TYPES, np.arange(self.n_frame)).astype(np.int32)

    def _check_type_range(self) -> None:
        """Numbers must have a name in ``type_map.raw``; only padding atoms of mixed systems may be -1."""
        smallest = -1 if self.mixed else 0
        source = f"{self._sets[0] / 'real_atom_types.npy'}" if self.mixed else f"{self.path / 'type.raw'}"
        limit = len(self.type_names) if self.type_names is not None else None
        bad = self.type_index < smallest
        if limit is not None:
            bad |= self.type_index >= limit
        if bad.any():
            where = np.argwhere(bad)[0]
            place = f"frame {where[0]}, atom {where[1]}" if self.mixed else f"atom {where[0]}"
            upper = "or more" if limit is None else f"to {limit - 1} ({', '.join(self.type_names)} in type_map.raw)"
            raise DataError(
                f"{source}: {place} has type {self.type_index[tuple(where)]}; expected {smallest} {upper}. "
                "Correct the number or complete type_map.raw."
            )


def first_file(folder: Path, spec: LabelSpec) -> Path | None:
    """The file of an array in one set: the first of its names that is there, or None."""
    return next((path for stem in spec.files if (path := folder / f"{stem}.npy").is_file()), None)


def read_types(path: Path) -> np.ndarray:
    """The integers of ``type.raw`` in directory ``path``: (n_atom,) int32.

    Raises:
        DataError: the file is missing, empty or holds anything but integers.
    """
    file = path / "type.raw"
    if not file.is_file():
        raise DataError(f"{file} is missing; expected one integer type per atom. Add it or correct `systems`.")
    words = file.read_text(errors="replace").split()
    for number, word in enumerate(words, 1):
        if not re.fullmatch(r"-?\d{1,9}", word):
            raise DataError(
                f"{file}: entry {number} is {word[:40]!r}; expected integers only, one per atom, types counted "
                "from 0. Element names belong into type_map.raw."
            )
    if not words:
        raise DataError(f"{file} is empty; expected one integer type per atom. Write them, in the order of coord.npy.")
    return np.array(words, dtype=np.int32)


def read_type_map(path: Path) -> tuple[str, ...] | None:
    """The names of ``type_map.raw`` in directory ``path``, or None when there is no such file.

    Raises:
        DataError: the file is empty.
    """
    file = path / "type_map.raw"
    if not file.is_file():
        return None
    names = tuple(file.read_text(errors="replace").split())
    if not names:
        raise DataError(f"{file} is empty; expected one element name per type. Write them, or remove the file.")
    return names


def find_sets(path: Path) -> list[Path]:
    """The ``set.*`` directories of ``path`` in name order.

    Raises:
        DataError: there is none.
    """
    sets = sorted(folder for folder in path.glob("set.*") if folder.is_dir())
    if not sets:
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:8])
        raise DataError(
            f"{path} has no set.* directories (found: {inside}); expected set.000/coord.npy and so on. "
            "Convert the data to deepmd/npy or take the directory out of `systems`."
        )
    return sets
