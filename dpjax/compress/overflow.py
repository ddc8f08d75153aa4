"""Counting the neighbours of evaluated frames whose embedding is beyond a table: ``--frequency`` of ``dpjax compress``."""

from __future__ import annotations

import logging
import threading

import numpy as np

from dpjax.config.models.compress import Compression
from dpjax.neighbors import NeighborTable

log = logging.getLogger(__name__)


class OverflowWatch:
    """Checks every so many frames, in whatever order and from whatever thread they come.

    The input of an embedding grows as a neighbour comes nearer, so it is beyond the table where the neighbour is nearer than some
    distance, which depends on the type of the centre.

    Attributes:
        frames: seen so far.
        overflows: neighbours beyond a table in those that were checked.
    """

    def __init__(self, options: Compression | None):
        self._frequency = -1 if options is None else options.frequency
        self._nearest = None if options is None else np.asarray(options.nearest)
        self.frames = self.overflows = 0
        self._lock = threading.Lock()

    def note(
        self, name: str, table: NeighborTable, coord: np.ndarray, atype: np.ndarray, cell: np.ndarray | None
    ) -> None:
        """Take notice of a frame, and warn where it has neighbours beyond a table."""
        if self._frequency < 1:
            return
        with self._lock:
            self.frames += 1
            if (self.frames - 1) % self._frequency:
                return
        distance = np.linalg.norm(table.displacements(coord, cell), axis=1)
        short = distance < self._nearest[atype[table.centre()]]
        number = int(short.sum())
        if number:
            with self._lock:
                self.overflows += number
            log.warning(
                "%s: %d of %d neighbours are beyond the tables of the compressed model, the nearest at %.3f angstrom: there "
                "the embedding goes on as a straight line. Compress again with a larger extrapolate or a smaller min_nbor_dist.",
                name, number, len(short), distance.min(),
            )  # fmt: skip
