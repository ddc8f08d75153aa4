"""Systems inside HDF5 files: ``file.h5#/group``, with the names of the deepmd/npy format as datasets.

``type.raw`` holds integers, ``type_map.raw`` strings, ``nopbc`` anything; ``set.000/coord.npy`` and so on are read frame by
frame. At most ``OPEN`` files stay open, for all threads together: the HDF5 library does one thing at a time anyway.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import h5py
import numpy as np

from dpjax.data.sets import SetSystem
from dpjax.data.stamp import Stamp, status_of
from dpjax.data.tree import check_numbers, parsed_names, parsed_types
from dpjax.errors import DataError

OPEN = 16
_BLOCK = 1 << 20  # bytes hashed at once
_files: OrderedDict[tuple[str, Stamp], h5py.File] = OrderedDict()  # the least recently used first
_lock = threading.RLock()


def is_hdf5(path: str) -> bool:
    """Whether a path names an HDF5 file or, with ``#``, a group inside one."""
    return path.partition("#")[0].endswith((".h5", ".hdf5"))


@dataclass(frozen=True, slots=True)
class Hdf5Array:
    """A dataset of plain numbers (an ``ArraySource``)."""

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stamp: Stamp

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"{self.file}#{self.key}"

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.size * self.dtype.itemsize

    def rows(self, indices: np.ndarray, width: int) -> np.ndarray:
        """See ``ArraySource``."""
        if not self.size:
            return np.empty((len(indices), width))
        with _reading(self.file, self.stamp) as file:
            if self.size == width:  # also a single frame stored without a frame axis
                return np.repeat(file[self.key][()].reshape(1, width), len(indices), axis=0)
            ordered, place = np.unique(indices, return_inverse=True)  # the library wants ascending numbers
            together = len(ordered) == ordered[-1] - ordered[0] + 1
            chosen = slice(int(ordered[0]), int(ordered[-1]) + 1) if together else ordered
            return file[self.key][chosen].reshape(len(ordered), width)[place]

    def blocks(self) -> Iterator[bytes]:
        """See ``ArraySource``."""
        if not self.size:
            return
        rows = self.shape[0] if self.shape else 1
        step = max(1, _BLOCK * rows // self.nbytes)
        for start in range(0, rows, step):
            with _reading(self.file, self.stamp) as file:
                data = file[self.key]
                part = data[start : start + step] if self.shape else data[()]
            yield np.ascontiguousarray(part).tobytes()


class Hdf5Tree:
    """A group of an HDF5 file (a ``SystemTree``)."""

    def __init__(self, path: str) -> None:
        self._file, group = _split(path)
        self._group = "/" + group.strip("/")
        self.name = f"{self._file}#{self._group}"
        self._stamp = _stamp(self._file)
        with _reading(self._file, self._stamp) as file:
            found = file.get(self._group)
            if not isinstance(found, h5py.Group):
                raise DataError(f"{self.name} is not a group of the file; {_what_is_there(file)} Correct `systems`.")
            self._inside = frozenset(_names(found))
            groups = (
                name for name in self._inside if name.startswith("set.") and isinstance(found.get(name), h5py.Group)
            )
            self._arrays = {name: frozenset(found[name]) for name in groups}  # of each set
        self.periodic = "nopbc" not in self._inside

    def place(self, *names: str) -> str:
        """The file, ``#`` and the path inside it."""
        return "/".join((self.name.rstrip("/"), *names))

    def types(self) -> np.ndarray:
        """See ``SystemTree``."""
        words = self._words("type.raw")
        if words is None:
            raise DataError(
                f"{self.place('type.raw')} is missing; expected one integer type per atom. Add it or correct `systems`."
            )
        return parsed_types(self.place("type.raw"), words)

    def type_names(self) -> tuple[str, ...] | None:
        """See ``SystemTree``."""
        words = self._words("type_map.raw")
        return None if words is None else parsed_names(self.place("type_map.raw"), words)

    def sets(self) -> list[str]:
        """See ``SystemTree``."""
        if not self._arrays:
            raise DataError(
                f"{self.name} has no groups set.* (found: {', '.join(sorted(self._inside)[:8])}); expected "
                "set.000/coord.npy and so on. Convert the data or take the group out of `systems`."
            )
        return sorted(self._arrays)

    def array(self, part: str, stem: str) -> Hdf5Array | None:
        """See ``SystemTree``."""
        if f"{stem}.npy" not in self._arrays[part]:
            return None
        key = "/".join((self._group.rstrip("/"), part, f"{stem}.npy"))
        with _reading(self._file, self._stamp) as file:
            data = file.get(key)
            if not isinstance(data, h5py.Dataset) or data.shape is None:
                raise DataError(f"{self._file}#{key} is not an array; expected a dataset of numbers.")
            check_numbers(f"{self._file}#{key}", data.dtype)
            return Hdf5Array(self._file, key, data.shape, data.dtype, self._stamp)

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """See ``SystemTree``."""
        for name in ("type.raw", "type_map.raw"):
            words = self._words(name)
            if words is not None:
                yield name, " ".join(words).encode()

    def _words(self, name: str) -> list[str] | None:
        if name not in self._inside:
            return None
        with _reading(self._file, self._stamp) as file:
            values = np.ravel(file[f"{self._group}/{name}"][()])
        texts = (
            value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.tolist()
        )
        return [word for text in texts for word in text.split()]


def open_hdf5_system(path: str) -> SetSystem:
    """Reader of the system in a group; see ``SetSystem`` for what is read and raised."""
    return SetSystem(Hdf5Tree(path))


def groups_with_systems(path: str) -> list[str]:
    """The systems in a bare file: its top-level groups with ``type.raw``, sorted, then the root if it is one itself.

    Raises:
        DataError: the file cannot be read, or there is none.
    """
    name, _ = _split(path)
    with _reading(name, _stamp(name)) as file:
        found = sorted(g for g in _names(file) if isinstance(file.get(g), h5py.Group) and "type.raw" in file[g])
        found += [""] if "type.raw" in file else []
        if not found:
            raise DataError(
                f"{name} has no system at its top level: no group there has type.raw; {_what_is_there(file)} Name a group "
                f"further inside as {name}#/group."
            )
    return [f"/{g}" for g in found]


def _split(path: str) -> tuple[str, str]:
    name, _, group = path.partition("#")
    return name, group


def _stamp(name: str) -> Stamp:
    status = status_of(name)
    if status is None:
        raise DataError(f"{name} does not exist. Expected an HDF5 file; correct `systems`.")
    return Stamp.of(status)


def _names(group: h5py.Group) -> list[str]:
    """What is in a group; names that are no text are not those of arrays of a system."""
    return [name for name in group if isinstance(name, str)]


def _what_is_there(file: h5py.File) -> str:
    return f"found at the top level: {', '.join(sorted(_names(file))[:8]) or 'nothing'}."


@contextmanager
def _reading(name: str, stamp: Stamp) -> Iterator[h5py.File]:
    """The open file, for one thread at a time.

    Raises:
        DataError: the file changed since ``stamp``, or is damaged.
    """
    with _lock:
        stamp.check_path(name)
        try:
            yield _file(name, stamp)
        except DataError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as cause:
            raise DataError(
                f"{name} ({stamp.size} bytes) cannot be read as HDF5 ({cause}). It may have been cut off while copying: "
                "copy or convert it again."
            ) from cause


def _file(name: str, stamp: Stamp) -> h5py.File:
    key = (name, stamp)
    if key not in _files:
        for other in [k for k in _files if k[0] == name]:  # of an earlier run in this process
            _files.pop(other).close()
        while len(_files) >= OPEN:
            _files.popitem(last=False)[1].close()
        _files[key] = h5py.File(name, "r")
    _files.move_to_end(key)
    return _files[key]
