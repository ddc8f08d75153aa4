"""The deepmd/npy format: directories with ``type.raw``, ``type_map.raw``, ``nopbc`` and ``set.*/<name>.npy``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dpjax.data.npy import NpyFile, open_npy
from dpjax.data.sets import SetSystem
from dpjax.data.tree import parsed_names, parsed_types
from dpjax.errors import DataError


class NpyTree:
    """A system directory (a ``SystemTree``)."""

    def __init__(self, path: str) -> None:
        self.name = path
        with os.scandir(self.name) as entries:
            inside = {entry.name: entry.name.startswith("set.") and entry.is_dir() for entry in entries}
        self._inside = frozenset(inside)
        self._sets = sorted(name for name, is_set in inside.items() if is_set)
        self._files: dict[str, frozenset[str]] = {}  # of each set
        self.periodic = "nopbc" not in self._inside

    def place(self, *names: str) -> str:
        """Path below the directory."""
        return "/".join((self.name, *names))

    def types(self) -> np.ndarray:
        """See ``SystemTree``."""
        if "type.raw" not in self._inside:
            raise DataError(
                f"{self.place('type.raw')} is missing; expected one integer type per atom. Add it or correct `systems`."
            )
        return parsed_types(self.place("type.raw"), self._words("type.raw"))

    def type_names(self) -> tuple[str, ...] | None:
        """See ``SystemTree``."""
        if "type_map.raw" not in self._inside:
            return None
        return parsed_names(self.place("type_map.raw"), self._words("type_map.raw"))

    def sets(self) -> list[str]:
        """See ``SystemTree``."""
        if not self._sets:
            raise DataError(
                f"{self.name} has no set.* directories (found: {', '.join(sorted(self._inside)[:8])}); expected "
                "set.000/coord.npy and so on. Convert the data to deepmd/npy or take the directory out of `systems`."
            )
        return self._sets

    def array(self, part: str, stem: str) -> NpyFile | None:
        """See ``SystemTree``."""
        if part not in self._files:
            self._files[part] = frozenset(os.listdir(self.place(part)))
        file = f"{stem}.npy"
        return open_npy(self.place(part, file)) if file in self._files[part] else None

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """See ``SystemTree``."""
        for name in ("type.raw", "type_map.raw"):
            if name in self._inside:
                yield name, Path(self.place(name)).read_bytes()

    def _words(self, name: str) -> list[str]:
        with open(self.place(name), "rb", buffering=0) as stream:
            return stream.read().decode(errors="replace").split()


def open_npy_system(path: str) -> SetSystem:
    """Reader of the system in a directory; see ``SetSystem`` for what is read and raised."""
    return SetSystem(NpyTree(path))
