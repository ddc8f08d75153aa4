"""Frames of data systems, read some at a time and evaluated together whatever system they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpjax.data import System

PAIRS_PER_ATOM = 100  # numbers of a Hessian that take as much memory as all else of an atom


@dataclass(frozen=True)
class Piece:
    """Some frames of a system.

    Attributes:
        system: it.
        frames: their numbers.
        last: whether they are its last ones.
        options: of ``evaluate``; pieces with the same ones may be evaluated together.
        labels: arrays that are read beside the inputs of the model.
    """

    system: System
    frames: np.ndarray
    last: bool
    options: dict[str, bool]
    labels: Sequence[str] = ()

    @property
    def weight(self) -> float:
        """Atoms that it counts as."""
        return len(self.frames) * _weight(self.system, self.options)

    def read(self) -> dict[str, np.ndarray]:
        """``coord``, ``box``, labels and inputs of the model, as :meth:`System.arrays` gives them, and ``types``."""
        arrays = self.system.arrays(self.frames, ["coord", "box", *self.labels, *self.system.inputs])
        return arrays | {"types": self.system.frames_types(self.frames)}


def pieces(
    system: System, frames: np.ndarray, most: float, options: dict[str, bool], labels: Sequence[str] = ()
) -> Iterator[Piece]:
    """Frames of a system in pieces of about ``most`` atoms; one without frames if there are none."""
    size = max(1, int(most / max(_weight(system, options), 1)))
    for i in range(0, max(len(frames), 1), size):
        yield Piece(system, frames[i : i + size], i + size >= len(frames), options, labels)


def chunks(given: Iterable[Piece], most: float) -> Iterator[list[Piece]]:
    """Consecutive pieces that are evaluated together: about ``most`` atoms, with the same options."""
    chunk: list[Piece] = []
    weight = 0.0
    for piece in given:
        if chunk and (weight + piece.weight > most or piece.options != chunk[0].options):
            yield chunk
            chunk, weight = [], 0.0
        chunk.append(piece)
        weight += piece.weight
    if chunk:
        yield chunk


def structures(chunk: Sequence[Piece], arrays: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Frames of all pieces as ``evaluate`` takes them, from what :meth:`Piece.read` gave; inputs a model has not are left out."""
    cells = [
        own["box"].reshape(-1, 3, 3) if piece.system.periodic else [None] * len(piece.frames)
        for piece, own in zip(chunk, arrays, strict=True)
    ]
    given = {name: _rows(own[name] for own in arrays) for name in chunk[0].system.inputs}
    coord, types = (_rows(own[name] for own in arrays) for name in ("coord", "types"))
    return {"coord": coord, "atype": types, "cell": _rows(cells), **given}


def per_piece(out: dict[str, Sequence[np.ndarray]], chunk: Sequence[Piece]) -> Iterator[dict[str, np.ndarray]]:
    """What ``evaluate`` gave for the frames of all pieces, as arrays (n_frame, ...) of each piece."""
    start = 0
    for piece in chunk:
        end = start + len(piece.frames)
        yield {name: np.stack(values[start:end]) for name, values in out.items()} if end > start else {}
        start = end


def _rows(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return [row for part in parts for row in part]


def _weight(system: System, options: dict[str, bool]) -> float:
    """Atoms that a frame of a system counts as."""
    pairs = 9 * system.n_atom**2 / PAIRS_PER_ATOM if options.get("hessian") else 0
    return max(system.n_atom, pairs)
