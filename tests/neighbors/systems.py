"""A stand-in for a data system, for tests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class FakeSystem:
    """Frames in memory; counts how often coordinates are read."""

    coords: np.ndarray  # (n_frame, n_atom, 3)
    types: np.ndarray  # (n_atom,) or (n_frame, n_atom)
    box: np.ndarray | None  # (3, 3)
    name: str = "fake"
    reads: list = field(default_factory=list)

    @property
    def n_frame(self):
        return len(self.coords)

    @property
    def n_atom(self):
        return self.coords.shape[1]

    @property
    def periodic(self):
        return self.box is not None

    @property
    def mixed(self):
        return self.types.ndim == 2

    def frame_types(self, frame):
        return self.types[frame] if self.mixed else self.types

    def coord(self, frame):
        self.reads.append(frame)
        return self.coords[frame]

    def cell(self, frame):
        return self.box

    def content_hash(self, names=None):
        parts = [self.coords, np.zeros(1) if self.box is None else self.box]
        return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()


def make_system(n_frame=5, n_atom=14, cell=6.0, seed=0, mixed=False, name="fake"):
    """Random atoms of two types; a mixed system has placeholders."""
    rng = np.random.default_rng(seed)
    box = None if cell is None else np.eye(3) * cell + np.tri(3, k=-1)
    coords = rng.uniform(0, 6, (n_frame, n_atom, 3))
    types = rng.integers(-1, 2, (n_frame, n_atom)) if mixed else np.sort(rng.integers(0, 2, n_atom))
    return FakeSystem(coords, types.astype(np.int32), box, name)
