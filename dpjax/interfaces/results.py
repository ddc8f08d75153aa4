"""Outputs of batches, back in the order and the shapes of the frames that were given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpjax.batching import unpack_atoms, unpack_pairs

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Reading:
    """What is taken from the outputs of a program.

    Attributes:
        shapes: number of atoms of a frame -> names and shapes of its results; ``mask`` is made here.
        per_atom: names of those that every atom has, on the batch's atom axis.
        pairs: names of those that two atoms of a frame have.
        silent_types: types whose atoms ``mask`` leaves out.
    """

    shapes: Callable[[int], Shapes]
    per_atom: Sequence[str]
    pairs: Sequence[str] = ("hessian",)
    silent_types: Sequence[int] = ()


@dataclass
class Results:
    """Results of frames, filled in as batches are done.

    Attributes:
        reading: what is kept.
        types: (n_atom,) of each frame, as the caller numbers its atoms.
        stacked: one array for all frames, which have one size; else a list of arrays.
        values: name -> (n_frame, ...) or a list of the frames' arrays; empty before the first batch.
    """

    reading: Reading
    types: Sequence[np.ndarray]
    stacked: bool
    values: dict[str, Any] = field(default_factory=dict)

    def put(
        self, frames: Sequence[int], places: Sequence[np.ndarray], rows: Sequence[int], out: dict[str, Any]
    ) -> None:
        """Keeps what a batch gave.

        Args:
            frames: which they were.
            places: (n_atom,) of each frame on the atom axis of ``out``, -1 for placeholders.
            rows: of each frame among those of ``out``.
            out: outputs of a program.
        """
        sizes = [len(own) for own in places]
        ends, joined = np.cumsum(sizes)[:-1], np.concatenate(places)
        for name in self.reading.shapes(0):
            if name in self.reading.pairs:
                own = [unpack_pairs(out[name], place) for place in places]
            elif name == "mask":
                types = np.concatenate([self.types[i] for i in frames])
                counted = (types >= 0) & ~np.isin(types, self.reading.silent_types)
                own = np.split(counted.astype(np.int32), ends)
            elif name in self.reading.per_atom:
                own = np.split(unpack_atoms(flags(name, out[name]), joined), ends)
            else:
                own = np.asarray(out[name])[np.asarray(rows)]
            self._keep(name, frames, sizes, own)

    def _keep(self, name: str, frames: Sequence[int], sizes: Sequence[int], own: Sequence[np.ndarray]) -> None:
        shapes = {size: self.reading.shapes(size)[name] for size in set(sizes)}
        if name not in self.values:
            empty = np.empty((len(self.types), *shapes[sizes[0]]), own[0].dtype) if self.stacked else None
            self.values[name] = [None] * len(self.types) if empty is None else empty
        kept = self.values[name]
        for i, size, value in zip(frames, sizes, own, strict=True):
            kept[i] = value.reshape(shapes[size]) if self.stacked else value.reshape(shapes[size]).copy()


def flags(name: str, values: np.ndarray) -> np.ndarray:
    """Flags as such; programs have numbers in their place."""
    return np.asarray(values) > 0.5 if name == "mask_mag" else values
