"""Systems whose labels have a correction taken off them, such as electrostatics that are added to a model's prediction again.

The correction of all frames of a system is computed when the first label of it is read, and kept in memory: it takes as much
as the labels themselves.  Energies eV, forces eV/angstrom, virials eV.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpjax.data.system import System

log = logging.getLogger(__name__)

CORRECTED = ("energy", "force", "virial")  # labels that a correction changes
Correct = Callable[[System], dict[str, np.ndarray]]  # (n_frame, ...) of all frames, by name


@dataclass(frozen=True, eq=False)
class CorrectedSystem(System):
    """A system whose ``arrays`` gives labels minus a correction.

    Attributes:
        correct: computes the correction of all frames of the system as it is on disk.
    """

    correct: Correct | None = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, system: System, correct: Correct) -> CorrectedSystem:
        """A system with a correction."""
        return cls(**vars(system), correct=correct)

    def correction(self, name: str) -> np.ndarray:
        """(n_frame, ...) what is taken off a label; computed once."""
        with self._lock:
            if not self._kept:
                start = time.perf_counter()
                self._kept.update(self.correct(self))
                log.info("%s: correction of %d frames, %.1f s", self.name, self.n_frame, time.perf_counter() - start)
        return self._kept[name]

    def _array(self, name: str, frames: np.ndarray) -> np.ndarray:
        values = super()._array(name, frames)
        if name not in CORRECTED or not self.found[name]:
            return values
        return values - self.correction(name)[frames].reshape(values.shape)
