"""The seam between file formats and everything after them.

A format is one class with the few members of ``SystemReader`` and one line in ``FORMATS``. It returns what the
files hold, frame by frame in file order; mapping of types, sorting, defaults and checks of values are done once, in
``System``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dpjax.data.deepmd_npy import open_npy_system
from dpjax.data.hdf5 import is_hdf5, open_hdf5_system
from dpjax.data.labels import LabelSpec
from dpjax.data.lmdb import is_lmdb, open_lmdb
from dpjax.data.xyz import is_xyz, open_xyz
from dpjax.errors import DataError


class SystemReader(Protocol):
    """Raw access to one system.

    Attributes:
        n_frame, n_atom: sizes; ``n_atom`` includes padding atoms of mixed systems.
        periodic: whether frames have a cell.
        mixed: whether every frame has types of its own.
        type_names: element of each number that stands for a type in the files, or None when these are the model's own.
        types_file, names_file: where these numbers and names stand, for messages.
        used_types: numbers of the types that occur, as far as is known without reading all frames.
    """

    n_frame: int
    n_atom: int
    periodic: bool
    mixed: bool
    type_names: tuple[str, ...] | None
    types_file: str
    names_file: str
    used_types: np.ndarray

    def frame_types(self, frames: np.ndarray) -> np.ndarray:
        """Types as the files number them, -1 for padding: (n_atom,), or (len(frames), n_atom) if the system is mixed."""

    def has(self, spec: LabelSpec) -> bool:
        """Whether the array is there; checks its shape. Raises DataError when it is malformed or only partly there."""

    def read(self, spec: LabelSpec, indices: np.ndarray) -> np.ndarray:
        """Frames of the array, (len(indices), spec.width(n_atom)) float64, atoms in file order."""

    def locate(self, spec: LabelSpec, frame: int) -> tuple[str, int]:
        """File that holds a frame of the array, and the frame's number inside that file."""

    def expected_file(self, spec: LabelSpec) -> str:
        """Path where the array was expected, for the message about a missing one."""

    def content_hash(self, specs: tuple[LabelSpec, ...]) -> str:
        """SHA-256 of the types and the arrays named, independent of where the files lie."""


@dataclass(frozen=True)
class Format:
    """One way to store systems.

    Attributes:
        matches: whether a path is of this format.
        open: the readers of what is there, each with what its name has beyond the path; a file of frames of several sizes
            is several systems. Takes the path, the arrays that are wanted, and whether frames that cannot be read are left out.
    """

    matches: Callable[[str], bool]
    open: Callable[[str, tuple[LabelSpec, ...], bool], list[tuple[str, SystemReader]]]


def _single(opener: Callable[[str], SystemReader]) -> Callable[..., list[tuple[str, SystemReader]]]:
    """A format with one system per path, which has no frames that could be left out."""
    return lambda path, specs, skip: [("", opener(path))]


def _raw_text(path: str) -> SystemReader:
    raise DataError(
        f"{path} is a raw text system (*.raw without set.* directories), which is not trained from, as in DeePMD-kit. "
        "Expected set.*/coord.npy: convert it, for example with dpdata."
    )


def is_raw_text(path: str) -> bool:
    """Whether a directory holds text files and no sets."""
    return os.path.isfile(f"{path}/coord.raw") and not any(name.startswith("set.") for name in os.listdir(path))


FORMATS: tuple[Format, ...] = (
    Format(is_hdf5, _single(open_hdf5_system)),
    Format(is_lmdb, open_lmdb),
    Format(is_xyz, open_xyz),
    Format(is_raw_text, _single(_raw_text)),
    Format(os.path.isdir, _single(open_npy_system)),
)
"""Which readers open a path: those of the first format that matches."""


def open_readers(
    path: str | Path, specs: Iterable[LabelSpec] = (), skip_bad_frames: bool = False
) -> list[tuple[str, SystemReader]]:
    """Opens what lies at ``path`` with the readers of its format, each with what its name has beyond the path.

    Args:
        path: where it is.
        specs: the arrays that are wanted; frames that have others of them are other systems.
        skip_bad_frames: leave out frames that cannot be read, where frames are stored one by one.

    Raises:
        DataError: nothing is there, the format is not read, or the reader finds the files malformed.
    """
    path = str(path)
    for kind in FORMATS:
        if kind.matches(path):
            return kind.open(path, tuple(specs), skip_bad_frames)
    raise DataError(f"{path} does not exist. Expected a system directory with type.raw; correct `systems`.")
