"""Frames of data systems as they are searched for neighbours: with virtual atoms where a model has spins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dpjax.batching.virtual import point_types, points
from dpjax.data import System
from dpjax.neighbors.frames import FrameSource
from dpjax.training.system_view import SystemView


@dataclass(frozen=True, eq=False)
class SpinPoints(SystemView):
    """A system's atoms, then the virtual partner of each, as ``batching.virtual`` has them.

    Attributes:
        system: it, with the array ``spin``.
        scale: (n_type,) angstrom per unit of spin for each type of the data.
    """

    scale: tuple[float, ...]
    partners = True

    @property
    def n_atom(self) -> int:
        """Points of a frame."""
        return 2 * self.system.n_atom

    def frame_types(self, frame: int) -> np.ndarray:
        """(n_atom,) types, -1 for placeholders."""
        return point_types(self.system.frame_types(frame), self.scale)

    def coord(self, frame: int) -> np.ndarray:
        """(n_atom, 3) angstrom."""
        arrays = self.system.arrays(np.array([frame]), ["coord", "spin"])
        return points(arrays["coord"][0], self.system.frame_types(frame), arrays["spin"][0], self.scale)

    def content_hash(self, names: Iterable[str]) -> str:
        """Hash of types, spins, scales and of the named arrays, wherever the files lie."""
        own = self.system.content_hash((*names, "spin"))
        return hashlib.sha256(f"{own} {self.scale!r}".encode()).hexdigest()


def points_of(systems: Sequence[System], scale: tuple[float, ...]) -> Sequence[FrameSource]:
    """What of each system is searched for neighbours; ``scale`` is empty for models without spins."""
    return [SpinPoints(system, scale) for system in systems] if scale else systems
