"""Statistics of the training data for models of fragments (``pairwise_dprc``).

The networks of such a model see terms: the QM atoms of a frame, or these and one fragment.  So the mean and the spread of the
environment are taken from terms, those in which a QM atom sees the fragment; in whole frames neighbours would be many more.  The
bias belongs to QM atoms, as a correction is zero where there are none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dpjax.config.models import PairwiseDPRcConfig
from dpjax.data import System
from dpjax.data.fragments import fragment_numbers
from dpjax.descriptors.crowding import cuts
from dpjax.neighbors import NeighborCache, NeighborTable
from dpjax.neighbors.frames import FrameSource
from dpjax.statistics import energy_bias
from dpjax.training.samples import Drawn, labelled_frames
from dpjax.training.system_view import SystemView

log = logging.getLogger(__name__)

QM = 0  # number of the fragment that is in all terms


@dataclass(frozen=True, eq=False)
class TermFrames(SystemView):
    """The terms of a system as frames, in which all atoms of others are placeholders.

    Attributes:
        places: frame and fragment of each term; the fragment :data:`QM` for that of the QM atoms alone.
        numbers: (n_atom,) the fragments of each of these frames.
    """

    places: tuple[tuple[int, int], ...]
    numbers: Mapping[int, np.ndarray]

    @property
    def n_frame(self) -> int:
        return len(self.places)

    def members(self, term: int) -> np.ndarray:
        """(n_atom,) bool, the atoms of a term."""
        frame, fragment = self.places[term]
        number = self.numbers[frame]
        return (number == QM) | (number == fragment)

    def frame_types(self, frame: int) -> np.ndarray:
        """(n_atom,) types, -1 for all atoms that are not in the term."""
        return np.where(self.members(frame), self.system.frame_types(self.places[frame][0]), -1)

    def coord(self, frame: int) -> np.ndarray:
        """(n_atom, 3) angstrom."""
        return self.system.coord(self.places[frame][0])

    def cell(self, frame: int) -> np.ndarray | None:
        """(3, 3) angstrom or None."""
        return self.system.cell(self.places[frame][0])


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of drawn frames, and their neighbours.

    Attributes:
        sources: of each system that frames were drawn from; None for others.
        neighbors: of the whole frames.
    """

    sources: tuple[TermFrames | None, ...]
    neighbors: NeighborCache

    @property
    def drawn(self) -> Drawn:
        """All of them."""
        return [(i, np.arange(own.n_frame)) for i, own in enumerate(self.sources) if own is not None]

    def table(self, system: int, term: int) -> NeighborTable:
        """The neighbours in a term, of those in its frame."""
        source = self.sources[system]
        whole = self.neighbors.table(system, source.places[term][0])
        return restricted(whole, source.frame_types(term))


def terms(
    part: str,
    systems: Sequence[System],
    neighbors: NeighborCache,
    drawn: Drawn,
) -> Terms:
    """The terms of some frames for one part of the model.

    Args:
        part: ``"qm_model"`` or ``"qmmm_model"``.
        systems: the data, with atomic parameters.
        neighbors: of the frames.
        drawn: which frames.
    """
    found: list[TermFrames | None] = [None] * len(systems)
    frames_of: dict[int, list[int]] = {}
    for system, frames in drawn:
        frames_of.setdefault(system, []).extend(map(int, frames))
    for system, frames in frames_of.items():
        number = {frame: numbers(systems[system], frame) for frame in frames}
        places = []
        for frame in frames:
            own = [QM] if part == "qm_model" else seen_fragments(neighbors.table(system, frame), number[frame])
            places.extend((frame, int(fragment)) for fragment in own)
        found[system] = TermFrames(systems[system], tuple(places), number)
    return Terms(tuple(found), neighbors)


def warn_crowded(part: Any, name: str, found: Terms) -> None:
    """Say where a descriptor of a part, called ``name``, leaves neighbours out in a term."""
    for cut in (replace(own, inner=True) for own in cuts(part)):  # the table reaches as far as the other part
        most = np.zeros(len(cut.sel), int)
        for system, numbered in found.drawn:
            source = found.sources[system]
            for term in map(int, numbered):
                own = cut.most(found.table(system, term), source.coord(term), source.cell(term))
                most = np.maximum(most, own)
        for _, sentence in cut.shortage(most):
            log.warning("model/%s: in a term an atom %s", name, sentence)


def counted_frames(model: Any, path: str, systems: Sequence[System]) -> Sequence[FrameSource]:
    """What the numbers of neighbours of a descriptor are counted in: all terms of its part, or the systems of other models.

    Args:
        model: configuration of the model.
        path: of the descriptor in the input.
        systems: the data.
    """
    if not model.takes_fragments:
        return systems
    alone = path.split("/")[1] == model.places[0]
    found = []
    for system in systems:
        each = {frame: numbers(system, frame) for frame in range(system.n_frame)}
        fragments = ((frame, range(1) if alone else range(1, own.max(initial=0) + 1)) for frame, own in each.items())
        places = tuple((frame, fragment) for frame, own in fragments for fragment in own)
        found.append(TermFrames(system, places, each))
    return found


def numbers(system: System, frame: int) -> np.ndarray:
    """(n_atom,) the fragments of a frame, as :func:`dpjax.data.fragments.fragment_numbers` counts them."""
    aparam = system.arrays(np.array([frame]), ["aparam"])["aparam"][0]
    return fragment_numbers(system.frame_types(frame), aparam)


def seen_fragments(table: NeighborTable, number: np.ndarray) -> np.ndarray:
    """The fragments, beside that of the QM atoms, of which one of these has a neighbour."""
    near = number[table.index[number[table.centre()] == QM]]
    return np.unique(near[near > QM])


def restricted(table: NeighborTable, types: np.ndarray) -> NeighborTable:
    """The neighbours among some atoms.

    Args:
        table: of all.
        types: (n_atom,) of the atoms, -1 for those that are left out.
    """
    centre, n_type = table.centre(), table.count.shape[1]
    kept = (types[centre] >= 0) & (types[table.index] >= 0)
    place = centre[kept] * n_type + types[table.index[kept]]
    count = np.bincount(place, minlength=table.n_atom * n_type).reshape(table.n_atom, n_type)
    return NeighborTable(count.astype(table.count.dtype), table.index[kept], table.shift[kept])


def energies_alone(config: PairwiseDPRcConfig) -> np.ndarray:
    """(n_type, 1) eV of single atoms that the input gives to the part of QM atoms and a fragment, in each term; else zero."""
    given = getattr(config.qmmm_model.fitting_net, "atom_ener", ()) or (None,) * len(config.type_map)
    return np.array([[energy or 0.0] for energy in given])


def output_statistics(config: PairwiseDPRcConfig, systems: Sequence[System], preset: list | None) -> dict[str, Any]:
    """``out_bias`` and ``out_std`` (n_type, 1) eV of QM atoms, from the energies of the frames (``labelled_frames``).

    What :func:`energies_alone` gives to atoms, in each term, is taken off the energies.
    """
    alone, rows = energies_alone(config), list(_counted(config, systems))
    if not rows:
        given = preset or [None] * len(config.type_map)
        bias = np.array([[0.0 if energy is None else np.ravel(energy)[0]] for energy in given])
        return {"out_bias": bias, "out_std": np.ones_like(bias)}
    qm, in_terms, labels = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    rcond = getattr(config.qm_model.fitting_net, "rcond", None)
    bias, spread = energy_bias(qm, labels - in_terms @ alone, preset=preset, exclude=config.silent_types, rcond=rcond)
    return {"out_bias": bias, "out_std": spread}


def _counted(
    config: PairwiseDPRcConfig, systems: Sequence[System]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Some frames at a time: (f, n_type) QM atoms, (f, n_type) atoms in all terms with a fragment, and (f, 1) energies."""
    n_type = len(config.type_map)
    for system, frames in labelled_frames(systems, "energy"):
        found = [(system.frame_types(frame), numbers(system, frame)) for frame in map(int, frames)]
        qm = np.stack([np.bincount(types[number == QM], minlength=n_type) for types, number in found])
        rest = np.stack([np.bincount(types[number > QM], minlength=n_type) for types, number in found])
        n_fragment = np.array([max(number.max(initial=0), 0) for _, number in found])
        in_terms = rest + n_fragment[:, None] * qm
        in_terms[:, list(config.silent_types)] = 0
        yield qm, in_terms, system.arrays(frames, ["energy"])["energy"]
