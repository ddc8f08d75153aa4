"""Neighbour tables of the frames of data systems, several at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from dpjax.data.threads import default_workers as default_workers
from dpjax.data.threads import in_threads as in_threads
from dpjax.errors import DataError
from dpjax.neighbors.host import search
from dpjax.neighbors.table import NeighborTable


class FrameSource(Protocol):
    """What is asked of a data system; ``dpjax.data.System`` has it.

    With an attribute ``partners`` that is true, the second half of the atoms are virtual ones of the first.
    """

    name: str
    n_frame: int
    n_atom: int
    periodic: bool
    mixed: bool

    def frame_types(self, frame: int) -> np.ndarray:
        """(n_atom,) types, -1 for placeholders."""

    def coord(self, frame: int) -> np.ndarray:
        """(n_atom, 3) angstrom."""

    def cell(self, frame: int) -> np.ndarray | None:
        """(3, 3) angstrom or None."""

    def content_hash(self, names: Iterable[str]) -> str:
        """Hash of types and of the named arrays, wherever the files lie."""


def frame_table(
    system: FrameSource, frame: int, n_type: int, rcut: float
) -> tuple[NeighborTable, np.ndarray, np.ndarray | None]:
    """Table, coordinates and cell of one frame.

    Raises:
        DataError: as :func:`dpjax.neighbors.search`, with system and frame named.
    """
    coord, cell, types = system.coord(frame), system.cell(frame), system.frame_types(frame)
    try:
        return search(coord, types, n_type, rcut, cell, partners=getattr(system, "partners", False)), coord, cell
    except DataError as error:
        raise DataError(f"system {system.name}, frame {frame}: {error}") from error
