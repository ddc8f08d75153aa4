"""Data systems for models whose atomic parameter says who takes part: which frames they may have, whose neighbours are searched.

It tells real atoms from virtual ones (``se_a_mask``), or numbers fragments (``pairwise_dprc``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dpjax.config import ModelConfig
from dpjax.data import System
from dpjax.data.checks import without_virtual
from dpjax.data.fragments import without_ignored
from dpjax.errors import DataError
from dpjax.neighbors.frames import FrameSource
from dpjax.training.system_view import SystemView


class RealAtoms(SystemView):
    """A system in which atoms that take no part are placeholders: they are nobody's neighbours, and may lie on one point."""

    def seen_types(self, types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
        """(n_atom,) the types with -1 for atoms that take no part."""
        return without_virtual(types, aparam)

    def frame_types(self, frame: int) -> np.ndarray:
        """(n_atom,) types, -1 for placeholders and atoms that take no part."""
        aparam = self.system.arrays(np.array([frame]), ["aparam"])["aparam"][0]
        in_file = self.system.places  # errors name atoms as the files have them
        try:
            return self.seen_types(self.system.frame_types(frame)[in_file], aparam[in_file])[self.system.order]
        except DataError as error:
            raise DataError(f"system {self.name}, frame {frame}: {error}") from None

    def content_hash(self, names: Iterable[str]) -> str:
        """Of types and files; which atoms take part belongs to them."""
        return self.system.content_hash((*names, "aparam"))


class FragmentAtoms(RealAtoms):
    """A system whose atomic parameter numbers fragments."""

    def seen_types(self, types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
        """(n_atom,) the types with -1 for atoms of no fragment."""
        return without_ignored(types, aparam)


def searched(systems: Sequence[System], model: ModelConfig) -> Sequence[FrameSource]:
    """The systems as the search for neighbours sees them.

    Raises:
        DataError: frames with cells, for a model that has no use for them.
    """
    if model.takes_fragments:
        return [FragmentAtoms(system) for system in systems]
    if not model.takes_mask:
        return systems
    for system in systems:
        if system.periodic:
            raise DataError(
                f"system {system.name}: its frames have cells, but model/descriptor 'se_a_mask' is for open boundaries, where "
                "every atom sees all others. Put an empty file `nopbc` into the folder of the system if its boundaries are open."
            )
    return [RealAtoms(system) for system in systems]


def most_atoms(systems: Sequence[System], n_type: int) -> tuple[int, ...]:
    """(n_type,) most atoms of each type in a frame, real and virtual ones together."""
    most = np.zeros(n_type, int)
    for system in systems:
        for frame in range(system.n_frame if system.mixed else 1):
            types = system.frame_types(frame)
            most = np.maximum(most, np.bincount(types[types >= 0], minlength=n_type))
    return tuple(int(n) for n in most)
