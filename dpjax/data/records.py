"""Files that hold frame after frame, each with atoms of its own: LMDB environments and extended XYZ files.

Such a file is several systems: frames of one number of atoms, all with or all without a cell, and with the same of the wanted
arrays. Each is a mixed system, since every frame brings its own types; atoms keep the order of the file. Frames are read when
they are asked for, and those used last are remembered, in a bounded number of bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from dpjax.data.labels import LabelSpec
from dpjax.data.record_checks import Record, stored
from dpjax.errors import DataError

if TYPE_CHECKING:
    from dpjax.data.frames import Frames


class Kind(NamedTuple):
    """What frames of one system have in common."""

    n_atom: int
    periodic: bool
    names: frozenset[str]  # of the wanted arrays


class Glance(NamedTuple):
    """A frame in outline."""

    n_atom: int
    names: Set[str]  # of its arrays
    types: np.ndarray | None  # None: not read


class RecordStore(Protocol):
    """A file of frames.

    Attributes:
        name: its path.
        type_names: element of each number that stands for a type, or None when these are the model's own.
        names_file: where the names stand, for messages.
        sizes: (n,) atoms of each frame where the file says so beforehand, else None.
        quick: whether looking at every frame takes little time.
        origins: (n,) number of the set of data that a frame was taken from.
    """

    name: str
    type_names: tuple[str, ...] | None
    names_file: str
    sizes: np.ndarray | None
    quick: bool
    origins: np.ndarray

    def __len__(self) -> int:
        """Number of frames."""

    def place(self, index: int) -> str:
        """What messages call a frame."""

    def load(self, index: int) -> Record:
        """Reads one frame. Raises DataError: it is damaged, or the file changed."""

    def glance(self, index: int) -> Glance:
        """What ``load`` would give, in outline; may read less. Raises as ``load``."""


@dataclass(frozen=True)
class Origins:
    """Where the frames of a system were taken from.

    Attributes:
        source: the file, whose systems count their origins together.
        ids: (n_frame,) origin of each frame.
        number: of origins in the file.
    """

    source: str
    ids: np.ndarray
    number: int


class RecordSystem:
    """Reader of the frames of one kind (a ``SystemReader``)."""

    mixed = True

    def __init__(self, frames: Frames, kind: Kind, indices: np.ndarray) -> None:
        """
        Args:
            frames: the file.
            kind: what the frames have in common.
            indices: (n_frame,) their numbers in the file, ascending.
        """
        self._frames, self._kind, self._indices = frames, kind, indices
        store = frames.store
        self.n_frame, self.n_atom, self.periodic = len(indices), kind.n_atom, kind.periodic
        self.type_names, self.types_file, self.names_file = store.type_names, store.name, store.names_file
        self.used_types = frames.used_types
        self.origins = Origins(store.name, store.origins[indices], int(store.origins.max()) + 1)

    def frame_types(self, frames: np.ndarray) -> np.ndarray:
        """See ``SystemReader``."""
        return np.stack([self._record(int(i))["atype"] for i in frames])

    def has(self, spec: LabelSpec) -> bool:
        """Whether the frames have the array; checks its shape in the first."""
        if stored(spec, self._kind.names) is None:
            return False
        self._values(spec, 0)
        return True

    def read(self, spec: LabelSpec, indices: np.ndarray) -> np.ndarray:
        """See ``SystemReader``."""
        out = np.zeros((len(indices), spec.width(self.n_atom)))
        for row, index in enumerate(indices):
            values = self._values(spec, int(index))
            out[row, self._columns(spec, values)] = values
        return out

    def locate(self, spec: LabelSpec, frame: int) -> tuple[str, int]:
        """See ``SystemReader``."""
        index = int(self._indices[frame])
        return f"{self._frames.store.place(index)}, {spec.name}", index

    def expected_file(self, spec: LabelSpec) -> str:
        """See ``SystemReader``."""
        return f"{self._frames.store.place(int(self._indices[0]))}: {' or '.join(spec.files)}"

    def content_hash(self, specs: tuple[LabelSpec, ...]) -> str:
        """See ``SystemReader``; every frame is read once."""
        wanted = [
            spec
            for spec in sorted(specs, key=lambda spec: spec.name)
            if stored(spec, {*self._kind.names, "coord", "box"})
        ]
        digest = hashlib.sha256(f"periodic={self.periodic} frames={self.n_frame} names={self.type_names}".encode())
        for index in self._indices:
            record = self._frames.fresh(int(index))
            digest.update(np.ascontiguousarray(record["atype"], "<i4").tobytes())
            for spec in wanted:
                values = record.get(stored(spec, record) or "")
                if values is not None:
                    digest.update(f"\n{spec.name}\n".encode() + np.ascontiguousarray(values, "<f8").tobytes())
        return digest.hexdigest()

    def _record(self, frame: int) -> Record:
        if not 0 <= frame < self.n_frame:
            raise IndexError(f"{self._frames.store.name} has {self.n_frame} frames of this kind; {frame} was asked for")
        index = int(self._indices[frame])
        record = self._frames.record(index)
        if len(record["atype"]) != self.n_atom or ("box" in record) != self.periodic:
            cell = "a cell" if "box" in record else "no cell"
            raise DataError(
                f"{self._frames.store.place(index)} has {len(record['atype'])} atoms and {cell}; expected {self.n_atom} atoms "
                f"{'with a' if self.periodic else 'without'} cell, as the metadata or other frames say. Write the file anew."
            )
        return record

    def _values(self, spec: LabelSpec, frame: int) -> np.ndarray:
        """The numbers of one array of one frame, flat."""
        record = self._record(frame)
        name = stored(spec, record)
        place = self._frames.store.place(int(self._indices[frame]))
        if name is None:
            raise DataError(
                f"{place} has no `{spec.name}`, which other frames of {self.n_atom} atoms have; expected it in all of them or in "
                "none. Add it, or take the frame out."
            )
        values = record[name]
        if self._columns(spec, values) is None:
            raise DataError(
                f"{place}: `{name}` has {values.size} numbers; expected {spec.width(self.n_atom)} "
                f"({spec.layout()}, natoms = {self.n_atom}). Correct it, or take the frame out."
            )
        return values

    def _columns(self, spec: LabelSpec, values: np.ndarray) -> slice | None:
        return slice(None) if values.size == spec.width(self.n_atom) else None
