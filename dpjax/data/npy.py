"""One ``.npy`` file: its header read without its data, and rows taken from it without reading the rest.

Start-up looks at headers and file sizes only, so that a data set far larger than memory opens at once. Nothing stays open
between reads: data sets may have more files than a process may keep open.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from dpjax.data.stamp import Stamp, changed, status_of
from dpjax.data.tree import check_numbers
from dpjax.errors import DataError

_HEAD = 512  # bytes read at once: more than the header of any ordinary array
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class NpyFile:
    """A validated ``.npy`` file on disk (an ``ArraySource``).

    Attributes:
        place: where it is.
        shape, dtype, fortran: what its header says.
        offset: bytes before the data.
        stamp: what the file looked like when it was opened.
    """

    place: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int
    stamp: Stamp

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return self.stamp.size

    def rows(self, indices: np.ndarray, width: int) -> np.ndarray:
        """Frames ``indices`` as (len(indices), width), in the dtype of the file.

        Raises:
            DataError: the file is not the one that was opened.
        """
        if not self.size:
            return np.empty((len(indices), width))
        if self.size == width:  # also a single frame stored without a frame axis
            return self._read(np.zeros(len(indices), int), width)
        if self.fortran and len(self.shape) > 1:
            self.stamp.check_path(self.place)
            data = np.memmap(self.place, self.dtype, "r", self.offset, self.shape, "F")
            return np.array(data[indices]).reshape(len(indices), width)
        return self._read(np.asarray(indices), width)

    def blocks(self) -> Iterator[bytes]:
        """All bytes of the file."""
        with _opened(self.place) as stream:
            self.stamp.check(self.place, os.fstat(stream.fileno()))
            while block := stream.read(_BLOCK):
                yield block

    def _read(self, indices: np.ndarray, width: int) -> np.ndarray:
        """Rows that lie one after the other in the file are read together."""
        out = np.empty((len(indices), width), self.dtype)
        target, step = memoryview(out.view(np.uint8).reshape(-1)), width * self.dtype.itemsize
        ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
        with _opened(self.place) as stream:
            self.stamp.check(self.place, os.fstat(stream.fileno()))
            first = 0
            for end in ends if len(indices) else ():
                stream.seek(self.offset + int(indices[first]) * step)
                self._fill(stream, target[first * step : end * step])
                first = end
        return out

    def _fill(self, stream: io.FileIO, target: memoryview) -> None:
        while target:
            done = stream.readinto(target)
            if not done:
                raise changed(self.place, "it ends before its last frame")
            target = target[done:]


def open_npy(path: str) -> NpyFile:
    """Reads the header of ``path`` and checks that the data behind it is complete and numeric.

    Raises:
        DataError: not a ``.npy`` file, truncated, or not holding plain numbers.
    """
    try:
        with io.FileIO(path) as stream:
            stamp, head = Stamp.of(os.fstat(stream.fileno())), stream.read(_HEAD)
            length = _header_length(head)
            if length > len(head):
                head += stream.read(length - len(head))
        shape, fortran, dtype = _parsed_header(head[:length])
    except (ValueError, EOFError, OSError) as cause:
        status = status_of(path)
        raise DataError(
            f"{path} ({status.st_size if status else 0} bytes) has no readable .npy header ({cause}). Expected a file "
            "written by numpy.save; it may have been cut off while copying: copy or convert it again."
        ) from cause
    check_numbers(path, dtype)
    expected = length + prod(shape) * dtype.itemsize
    if stamp.size < expected:
        raise DataError(
            f"{path} is truncated: its header promises shape {shape} of {dtype}, {expected} bytes, but the file "
            f"has {stamp.size}. Copy or convert it again."
        )
    return NpyFile(path, shape, dtype, fortran, length, stamp)


def _opened(path: str) -> io.FileIO:
    try:
        return io.FileIO(path)
    except FileNotFoundError as cause:
        raise changed(path, "it is gone") from cause
    except OSError as cause:
        raise DataError(
            f"{path} cannot be read ({cause.strerror or cause}). Check its permissions and the disk."
        ) from cause


def _header_length(head: bytes) -> int:
    """Bytes of magic string and header, as far as the first bytes tell."""
    wide = len(head) > 6 and head[6] > 1
    start, size = (12, 4) if wide else (10, 2)
    return min(start + int.from_bytes(head[start - size : start], "little"), _BLOCK)


@lru_cache(maxsize=4096)
def _parsed_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype; many files of a data set share their header."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)
