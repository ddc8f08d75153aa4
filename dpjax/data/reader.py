"""The seam between file formats and everything after them.

A format is one class with the few members of ``SystemReader`` and one line in ``FORMATS``. It returns what the
files hold, frame by frame in file order; mapping of types, sorting, defaults and checks of values are done once, in
``System``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from dpjax.data.deepmd_npy import NpyDirectory
from dpjax.data.labels import LabelSpec
from dpjax.errors import DataError


class SystemReader(Protocol):
    """Raw access to one system.

    Attributes:
        n_frame, n_atom: sizes; ``n_atom`` includes padding atoms of mixed systems.
        periodic: whether frames have a cell.
        mixed: whether every frame has types of its own.
        type_index: (n_atom,) or, if mixed, (n_frame, n_atom) types as the files number them, -1 for padding.
        type_names: element of each such number, or None when the numbers are the model's own.
    """

    n_frame: int
    n_atom: int
    periodic: bool
    mixed: bool
    type_index: np.ndarray
    type_names: tuple[str, ...] | None

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


def _not_built(kind: str) -> Callable[[Path], SystemReader]:
    def opener(path: Path) -> SystemReader:
        raise DataError(
            f"{path} is {kind}, a format that is not built yet; found no other data there. "
            "Expected a deepmd/npy directory (type.raw and set.*/coord.npy): convert it, for example with dpdata."
        )

    return opener


def is_hdf5(path: Path) -> bool:
    """Whether a path names an HDF5 file or, with ``#``, a group inside one."""
    return Path(str(path).split("#")[0]).suffix in (".h5", ".hdf5")


def is_lmdb(path: Path) -> bool:
    """Whether a path names an LMDB environment."""
    return path.suffix == ".lmdb" or (path / "data.mdb").is_file()


def is_raw_text(path: Path) -> bool:
    """Whether a directory holds text files and no sets."""
    return (path / "coord.raw").is_file() and not any(path.glob("set.*"))


FORMATS: tuple[tuple[Callable[[Path], bool], Callable[[Path], SystemReader]], ...] = (
    (is_hdf5, _not_built("an HDF5 file")),
    (is_lmdb, _not_built("an LMDB environment")),
    (is_raw_text, _not_built("a raw text system (*.raw without set.* directories)")),
    (Path.is_dir, NpyDirectory),
)
"""Which reader opens a path: the first whose test holds."""


def open_reader(path: Path) -> SystemReader:
    """Opens the system at ``path`` with the reader of its format.

    Raises:
        DataError: nothing is there, the format is not built yet, or the reader finds the files malformed.
    """
    for matches, opener in FORMATS:
        if matches(path):
            return opener(path)
    raise DataError(f"{path} does not exist. Expected a system directory with type.raw; correct `systems`.")
