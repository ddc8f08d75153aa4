"""What a system in the deepmd layout is made of, whatever it is stored in: a tree of arrays.

A directory of ``.npy`` files and a group of an HDF5 file are such trees. ``SetSystem`` reads both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from dpjax.errors import DataError


class ArraySource(Protocol):
    """One array on disk, whose shape is known and whose data are read row by row.

    Attributes:
        place: what messages call it.
        shape: as it is stored.
        size: number of values.
        nbytes: bytes that :meth:`blocks` gives.
    """

    place: str
    shape: tuple[int, ...]
    size: int
    nbytes: int

    def rows(self, indices: np.ndarray, width: int) -> np.ndarray:
        """Frames ``indices`` as (len(indices), width), in the stored dtype; nothing else is read.

        Raises:
            DataError: the file changed since it was opened, or cannot be read.
        """

    def blocks(self) -> Iterator[bytes]:
        """The content piece by piece, for a hash."""


class SystemTree(Protocol):
    """Where the parts of one system lie.

    Attributes:
        name: what messages call it.
        periodic: whether there is no marker ``nopbc``.
    """

    name: str
    periodic: bool

    def types(self) -> np.ndarray:
        """The integers of ``type.raw``, (n_atom,) int32. Raises DataError: missing, empty, or anything but integers."""

    def type_names(self) -> tuple[str, ...] | None:
        """The names of ``type_map.raw``, None without it. Raises DataError: empty."""

    def sets(self) -> list[str]:
        """Names of the ``set.*`` in order. Raises DataError: there is none."""

    def array(self, part: str, stem: str) -> ArraySource | None:
        """An array of one set, None where there is none. Raises DataError: it is damaged or holds no plain numbers."""

    def place(self, *names: str) -> str:
        """What messages call an item, such as ``("set.000", "coord.npy")``."""

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of ``type.raw`` and ``type_map.raw``, for a hash."""


def frame_count(source: ArraySource, width: int, expected: str) -> int:
    """How many frames of ``width`` values the array holds.

    Args:
        source: the opened array.
        width: values per frame.
        expected: the expected shape in words.

    Raises:
        DataError: the length is not a whole number of frames along the first axis.
    """
    if source.size == width > 0:
        return 1
    if len(source.shape) > 0 and source.shape[0] > 0 and source.size == source.shape[0] * width:
        return source.shape[0]
    raise DataError(
        f"{source.place} has shape {source.shape}, which does not fit {width} values per frame; expected {expected}. "
        "Compare it with the number of atoms in type.raw."
    )


def check_numbers(place: str, dtype: np.dtype) -> None:
    """Raises DataError unless an array holds plain numbers."""
    if dtype.kind not in "fiu":
        raise DataError(
            f"{place} holds values of dtype {dtype}; expected plain numbers (float64 or float32). Save it as float64."
        )


def parsed_types(place: str, words: list[str]) -> np.ndarray:
    """The integers of a ``type.raw`` from its words: (n_atom,) int32.

    Raises:
        DataError: there is none, or one is no integer.
    """
    for number, word in enumerate(words, 1):
        digits = word[1:] if word[:1] == "-" else word
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise DataError(
                f"{place}: entry {number} is {word[:40]!r}; expected integers only, one per atom, types counted "
                "from 0. Element names belong into type_map.raw."
            )
    if not words:
        raise DataError(f"{place} is empty; expected one integer type per atom. Write them, in the order of coord.npy.")
    return np.array(words, dtype=np.int32)


def parsed_names(place: str, words: list[str]) -> tuple[str, ...]:
    """The names of a ``type_map.raw``. Raises DataError: there is none."""
    if not words:
        raise DataError(f"{place} is empty; expected one element name per type. Write them, or remove it.")
    return tuple(words)
