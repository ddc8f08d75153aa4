"""One ``.npy`` file: its header read without its data, and rows taken from it without reading the rest.

Start-up looks at headers and file sizes only, so that a data set far larger than memory opens at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from dpjax.errors import DataError


@dataclass(frozen=True)
class NpyFile:
    """A validated ``.npy`` file on disk.

    Attributes:
        path: where it is.
        shape, dtype, fortran: what its header says.
        offset: bytes before the data.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def rows(self, indices: np.ndarray, width: int) -> np.ndarray:
        """Frames ``indices`` as (len(indices), width), in the dtype of the file.

        The map is opened and closed here: a map that stays open holds a file descriptor, and data sets may have
        more files than a process may keep open.
        """
        if not self.size:
            return np.empty((len(indices), width))
        order = "F" if self.fortran else "C"
        data = np.memmap(self.path, self.dtype, "r", self.offset, self.shape or (1,), order)
        frames = data.shape[0] if data.size != width else 1
        if frames == 1:  # also a single frame stored without a frame axis
            data = data.reshape(1, width)
        return np.array(data[indices]).reshape(len(indices), width)


def open_npy(path: Path) -> NpyFile:
    """Reads the header of ``path`` and checks that the data behind it is complete and numeric.

    Raises:
        DataError: not a ``.npy`` file, truncated, or not holding plain numbers.
    """
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            offset = stream.tell()
    except (ValueError, EOFError, OSError) as cause:
        size = path.stat().st_size if path.exists() else 0
        raise DataError(
            f"{path} ({size} bytes) has no readable .npy header ({cause}). Expected a file written by numpy.save; "
            "it may have been cut off while copying: copy or convert it again."
        ) from cause
    if dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds values of dtype {dtype}; expected plain numbers (float64 or float32). Save it as float64."
        )
    found, expected = path.stat().st_size, offset + prod(shape) * dtype.itemsize
    if found < expected:
        raise DataError(
            f"{path} is truncated: its header promises shape {shape} of {dtype}, {expected} bytes, but the file "
            f"has {found}. Copy or convert it again."
        )
    return NpyFile(path, shape, dtype, fortran, offset)


def frame_count(file: NpyFile, width: int, expected: str) -> int:
    """How many frames of ``width`` values the file holds.

    Args:
        file: the opened file.
        width: values per frame.
        expected: the expected shape in words.

    Raises:
        DataError: the length is not a whole number of frames along the first axis.
    """
    if file.size == width > 0:
        return 1
    if len(file.shape) > 0 and file.shape[0] > 0 and file.size == file.shape[0] * width:
        return file.shape[0]
    raise DataError(
        f"{file.path} has shape {file.shape}, which does not fit {width} values per frame; expected {expected}. "
        "Compare it with the number of atoms in type.raw."
    )
