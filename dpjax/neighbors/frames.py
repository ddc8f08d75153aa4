"""Neighbour tables of the frames of data systems, several at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from dpjax.errors import DataError
from dpjax.neighbors.host import search
from dpjax.neighbors.table import NeighborTable

A = TypeVar("A")
B = TypeVar("B")


class FrameSource(Protocol):
    """What is asked of a data system; ``dpjax.data.System`` has it."""

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
    coord, cell = system.coord(frame), system.cell(frame)
    try:
        return search(coord, system.frame_types(frame), n_type, rcut, cell), coord, cell
    except DataError as error:
        raise DataError(f"system {system.name}, frame {frame}: {error}") from error


def default_workers() -> int:
    """Threads for neighbour search: the cores this process may use, at most 8 (reading and sorting share memory)."""
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def in_threads(fn: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """``map(fn, items)`` in order on several threads, with few results waiting; an error ends it at once.

    The search spends most of its time outside the interpreter lock, so threads help (two threads: 1.9 times faster).
    """
    if workers <= 1:
        yield from map(fn, items)
        return
    waiting: deque = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="dpjax-neighbors") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(fn, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
