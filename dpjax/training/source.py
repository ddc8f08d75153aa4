"""From frame numbers to labelled batches: labels, neighbours and padding, on the host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from dpjax.batching import (
    Frame,
    Layout,
    choose_layout,
    make_layout,
    most_neighbors,
    pack,
    pack_atoms,
    pack_pairs,
    round_up,
)
from dpjax.batching.inner import InnerCut, inner_places, most_inner, with_inner
from dpjax.batching.lists import ListPlan, ListSizes, make_lists
from dpjax.batching.packing import neighbor_capacity
from dpjax.batching.virtual import with_virtual_atoms
from dpjax.data import System
from dpjax.descriptors.crowding import Cut, by_cut, most_neighbors_of
from dpjax.neighbors import NeighborCache, search_many
from dpjax.neighbors.frames import FrameSource
from dpjax.training.devices import Part, deal, idle, own_places, stack
from dpjax.training.noise import Noise, NoiseRule, disturbance
from dpjax.training.points import points_of
from dpjax.training.step import LabelledBatch

log = logging.getLogger(__name__)

OBSERVED = 200  # frames searched before the first step


@dataclass(frozen=True)
class ModelNeeds:
    """What packing must know of a model."""

    n_type: int
    n_section: int
    rcut: float  # angstrom
    sel: tuple[int | None, ...]  # per section
    cuts: tuple[Cut, ...]  # what each descriptor keeps
    inputs: tuple[str, ...] = ()  # what it takes of a frame beside atoms and cell, as fields of a ``Frame``
    lists: ListPlan | None = None  # edges and angles that a batch lists
    inner: tuple[InnerCut, ...] = ()  # lists that reach less far than the table
    virtual_scale: tuple[
        float, ...
    ] = ()  # of each type of the data, with spins: angstrom per unit of it to the virtual atom


class Extent(NamedTuple):
    """What one frame needs room for; arrays (n_section,) unless they say otherwise."""

    atoms: np.ndarray  # without placeholders
    most: np.ndarray  # neighbours that one of them has at most
    within: np.ndarray  # (n_number,) the same within the cut-off of each descriptor, for each number of its ``sel``
    inner: np.ndarray  # (n_inner,) neighbours within each cut-off of ``needs.inner`` that an atom has at most


@dataclass
class BatchSource:
    """Packs frames of systems into batches whose sizes come from a coarse ladder.

    Neighbour capacities start at what :meth:`observe` finds and only grow, so a run settles on few programs.

    Attributes:
        noise: how batches may be disturbed; all batches then say what was done to them.  None: they are not.
        points: what of each system is searched for neighbours: itself, or with spins its atoms and their virtual partners.
    """

    systems: Sequence[System]
    neighbors: NeighborCache
    needs: ModelNeeds
    labels: tuple[str, ...]
    noise: NoiseRule | None = None
    points: Sequence[FrameSource] = field(init=False)
    capacity: np.ndarray = field(init=False)  # neighbours of each section
    inner: np.ndarray = field(init=False)  # neighbours within the cut-offs of ``needs.inner``
    places: dict[str, np.ndarray] = field(
        init=False, default_factory=dict
    )  # atoms, for batches of so many mixed frames
    _lists: ListSizes = field(init=False)
    _places_in_lists: dict[int, tuple[int, int]] = field(init=False, default_factory=dict)  # that systems need
    _warned: set[tuple[str, int]] = field(init=False, default_factory=set)

    def __post_init__(self):
        self.points = points_of(self.systems, self.needs.virtual_scale)
        self.capacity = np.zeros(self.needs.n_section, dtype=int)
        self.inner = np.zeros(len(self.needs.inner), dtype=int)
        self._lists = ListSizes(self.needs.lists)

    def observe(self, systems: Sequence[int], n_frame: int = OBSERVED) -> dict[int, np.ndarray]:
        """Make room for the neighbours of about ``n_frame`` frames, spread evenly over these systems and their frames.

        Without it every frame denser than those before it would cost a compilation in the middle of the run.

        Returns:
            For each system that was looked at (n, n_section) atoms of its frames.
        """
        atoms: dict[int, np.ndarray] = {}
        for system in _spread(systems, n_frame):
            source = self.systems[system]
            frames = _spread(range(source.n_frame), max(1, n_frame // len(systems)))
            extents = [self.extent(system, i) for i in frames]
            for extent in (*extents, *self._disturbed_extents(system, frames)):
                self._warn_truncation(source.name, extent.within)
                capacity = [neighbor_capacity(int(m), k) for m, k in zip(extent.most, self.needs.sel, strict=True)]
                self.reserve(capacity, extent.inner)
            atoms[system] = np.array([extent.atoms for extent in extents])
            if self.needs.lists is not None:
                self._places_in_lists[system] = self._most_listed(system, frames)
        return atoms

    def _disturbed_extents(self, system: int, frames: Sequence[int]) -> list[Extent]:
        """What frames need room for once their atoms are displaced; none where they are never."""
        if self.noise is None:
            return []
        return [self._extent(frame) for frame in self.frames(system, frames, self.noise.certain(0))]

    def _most_listed(self, system: int, frames: Sequence[int]) -> tuple[int, int]:
        """Places for edges and for angles that the lists of one of these frames need at most, in a block."""
        source, sizes = self.points[system], []
        for i in frames:
            table = self.neighbors.table(system, i)
            frame = Frame(source.coord(i), source.frame_types(i), table, source.cell(i))
            sizes.append(make_lists(pack([frame], choose_layout([frame], 1))[0], self.needs.lists).sizes)
        return tuple(np.max(sizes, axis=0).tolist())

    def expect(self, atoms: Sequence[np.ndarray], weights: Sequence[float], n_frame: int) -> None:
        """Make room for the atoms of batches of ``n_frame`` frames, each drawn by itself from systems of any sizes.

        Places for three standard deviations more than the mean hold nearly every batch, so that few programs are compiled.

        Args:
            atoms: for each system (n, n_section) atoms of its frames.
            weights: how often a system is drawn.
            n_frame: of a batch, on one device.
        """
        mean = np.average([own.mean(axis=0) for own in atoms], axis=0, weights=weights)
        square = np.average([(own**2).mean(axis=0) for own in atoms], axis=0, weights=weights)
        most = n_frame * np.max([own.max(axis=0) for own in atoms], axis=0)
        wanted = n_frame * mean + 3.0 * np.sqrt(n_frame * np.maximum(square - mean**2, 0.0))
        self.places[str(n_frame)] = np.minimum(np.ceil(wanted), most).astype(int)

    def reserve(self, capacity: Sequence[int], inner: Sequence[int] = ()) -> None:
        """Room that every batch from now on has at least.

        Args:
            capacity: (n_section,) neighbour capacities.
            inner: (n_inner,) neighbours within the cut-offs of ``needs.inner``; empty: as many as there is room for already.
        """
        self.capacity = np.maximum(self.capacity, np.asarray(capacity, dtype=int))
        if len(inner):
            self.inner = np.maximum(self.inner, inner_places(self.needs.inner, inner))

    def without_close_pairs(self, parts: Sequence[Part], least: float) -> list[Part]:
        """The frames in which no two atoms are closer than ``least`` angstrom."""
        kept = [(system, [i for i in frames if self.nearest(system, int(i)) >= least]) for system, frames in parts]
        return [(system, frames) for system, frames in kept if frames]

    def nearest(self, system: int, frame: int) -> float:
        """Smallest distance of two atoms of a frame, angstrom; infinite where no atom has a neighbour within the cut-off."""
        source, table = self.points[system], self.neighbors.table(system, frame)
        distances = np.linalg.norm(table.displacements(source.coord(frame), source.cell(frame)), axis=1)
        own = np.maximum(table.centre(), table.index) < self.systems[system].n_atom  # without virtual ones
        return float(distances[own].min(initial=np.inf))

    def extent(self, system: int, frame: int) -> Extent:
        """What a frame needs room for; its neighbours are searched, its labels are not read."""
        source = self.points[system]
        types, table = source.frame_types(frame), self.neighbors.table(system, frame)
        inner = bool(self.needs.inner) or any(cut.inner for cut in self.needs.cuts)
        coord = source.coord(frame) if inner else np.zeros((source.n_atom, 3))
        return self._extent(Frame(coord, types, table, source.cell(frame) if inner else None))

    def frames(self, system: int, indices: Sequence[int], noise: Noise | None = None) -> list[Frame]:
        """Frames of one system with their neighbours and inputs; with ``noise`` their atoms are displaced by it."""
        source, inputs = self.systems[system], self.needs.inputs
        arrays = source.arrays(indices, ["coord", *inputs])
        found = [
            Frame(
                coord=arrays["coord"][k],
                atype=source.frame_types(i),
                table=self.neighbors.table(system, int(i)),
                cell=source.cell(int(i)),
                **{name: arrays[name][k] for name in inputs},
            )
            for k, i in enumerate(indices)
        ]
        if self.needs.virtual_scale:
            found = [with_virtual_atoms(frame, self.needs.virtual_scale) for frame in found]
        return found if noise is None else self._displaced(found, system, indices, noise)

    def _displaced(self, frames: Sequence[Frame], system: int, indices: Sequence[int], noise: Noise) -> list[Frame]:
        """Frames of a system with noise on their atoms, whose neighbours are searched for once more."""
        moved = [noise.of(system, int(i), f.atype).noise for i, f in zip(indices, frames, strict=True)]
        coord = [frame.coord + own for frame, own in zip(frames, moved, strict=True)]
        types, cells = [frame.atype for frame in frames], [frame.cell for frame in frames]
        names = [f"{self.systems[system].name}, frame {i}, with noise on its atoms" for i in indices]
        tables = search_many(coord, types, self.needs.n_type, self.needs.rcut, cells, names)
        return [replace(f, coord=x, table=t) for f, x, t in zip(frames, coord, tables, strict=True)]

    def batch(
        self, parts: Sequence[Part], n_frame: int | None = None, n_device: int = 1, noise: Noise | None = None
    ) -> LabelledBatch:
        """The labelled batch of some frames.

        Args:
            parts: pairs (position in ``systems``, frame numbers).
            n_frame: size to pad to, so that the last short batch of a pass needs no program of its own.
            n_device: devices that share the frames; above 1 all arrays get a leading device axis. Of several processes each
                gets the batches of its own devices, in sizes that are enough for all.
            noise: on the atoms; None: they stay where they are.
        """
        total = n_frame or sum(len(indices) for _, indices in parts)
        if own_places() is not None:

            def extent(system: int, frame: int) -> Extent:
                own = self.frames(system, [frame], noise) if noise else None
                return self.extent(system, frame) if own is None else self._extent(own[0])

            return self.packed(parts, self.layout(parts, extent, total, n_device), n_device, noise)
        shards = self._shards(parts, n_device, noise)
        layout = self._layout([(own, [self._extent(f) for f in frames]) for own, frames in shards], total, n_device)
        return self._packed(shards, layout, n_device, noise)

    def layout(
        self, parts: Sequence[Part], extent: Callable[[int, int], Extent], n_frame: int, n_device: int = 1
    ) -> Layout:
        """The sizes that :meth:`batch` would give these frames now; like it, makes room for them in later batches.

        Args:
            parts, n_frame, n_device: as for :meth:`batch`.
            extent: of a frame of a system, such as :meth:`extent`.
        """
        dealt = [own for own in deal(parts, n_device) if own]
        return self._layout(
            [(own, [extent(s, int(i)) for s, frames in own for i in frames]) for own in dealt], n_frame, n_device
        )

    def packed(
        self, parts: Sequence[Part], layout: Layout, n_device: int = 1, noise: Noise | None = None
    ) -> LabelledBatch:
        """The labelled batch of some frames in sizes that are known; arguments as for :meth:`batch`."""
        places = own_places()
        if places is None:
            return self._packed(self._shards(parts, n_device, noise), layout, n_device, noise)
        dealt = deal(parts, n_device)
        most = self._pair_columns({system for system, _ in parts})

        def labelled(i: int) -> LabelledBatch:
            return self._labelled(dealt[i], self._frames_of(dealt[i], noise), layout, most, noise)

        own = [labelled(i) for i in places if dealt[i]]
        return stack(own or [idle(labelled(0))], len(places))

    def _shards(
        self, parts: Sequence[Part], n_device: int, noise: Noise | None
    ) -> list[tuple[list[Part], list[Frame]]]:
        return [(own, self._frames_of(own, noise)) for own in deal(parts, n_device) if own]

    def _packed(self, shards: Sequence[tuple], layout: Layout, n_device: int, noise: Noise | None) -> LabelledBatch:
        most = self._pair_columns({system for own, _ in shards for system, _ in own})
        batches = [self._labelled(own, frames, layout, most, noise) for own, frames in shards]
        drawn = {system for own, _ in shards for system, _ in own}
        places = self._places_in_lists.get(*drawn, (0, 0)) if len(drawn) == 1 else (0, 0)  # a mixture needs fewer
        listed = self._lists.added([data.batch for data in batches], places)  # of one process
        batches = [data.replace(batch=batch) for data, batch in zip(batches, listed, strict=True)]
        return batches[0] if n_device == 1 else stack(batches, n_device)

    def _frames_of(self, parts: Sequence[Part], noise: Noise | None) -> list[Frame]:
        return [frame for system, indices in parts for frame in self.frames(system, indices, noise)]

    def _pair_columns(self, systems: set[int]) -> int:
        """Atoms of a frame that the Hessians of a batch from these systems have columns for, on all its devices.

        One where the data have no Hessians: what is not compared need not be computed.
        """
        pairs = [name for name in self.labels if self.systems[0].labels[name].atom_pair]
        if not pairs:  # of very many systems none is looked at
            return 1
        drawn = [self.systems[s] for s in (systems if len(systems) == 1 else range(len(self.systems)))]
        found = any(system.found[name] for system in drawn for name in pairs)
        return round_up(max(1, *(system.n_atom for system in drawn))) if found else 1

    def _labelled(
        self, parts: Sequence[Part], frames: Sequence[Frame], layout: Layout, most: int, noise: Noise | None
    ) -> LabelledBatch:
        batch, places = pack(frames, layout)
        label = self._labels(parts, places, layout, most)
        if self.noise is not None:
            every = [(system, int(i)) for system, indices in parts for i in indices] if noise else []
            each = [noise.of(*place, frame.atype) for place, frame in zip(every, frames, strict=False)]
            batch = batch.replace(disturbance=disturbance(each, places, layout, label["force"]))
        first = self.systems[parts[0][0]]
        return LabelledBatch(batch, label, {name: np.float64(first.found[name]) for name in self.labels})

    def _extent(self, frame: Frame) -> Extent:
        real, n_section = frame.atype[frame.atype >= 0], self.needs.n_section
        atoms = np.array([len(real)]) if n_section == 1 else np.bincount(real, minlength=n_section)
        within = most_neighbors_of(self.needs.cuts, frame.table, frame.coord, frame.cell)
        return Extent(atoms, most_neighbors([frame], n_section), within, most_inner(self.needs.inner, frame))

    def _layout(self, shards: Sequence[tuple], n_frame: int, n_device: int) -> Layout:
        """Sizes that hold the shards (parts, extents of their frames) of all devices."""
        layouts = [self._shard_layout(own, extents, -(-n_frame // n_device)) for own, extents in shards]
        atoms = tuple(np.max([layout.atoms for layout in layouts], axis=0).tolist())
        return replace(layouts[-1], atoms=atoms)  # neighbour capacities only grow: the last has the largest

    def _shard_layout(self, parts: Sequence[Part], extents: Sequence[Extent], n_frame: int) -> Layout:
        atoms = np.sum([e.atoms for e in extents], axis=0)
        if len(parts) == 1 and not self.systems[parts[0][0]].mixed:  # every frame has the same composition
            atoms = atoms // len(extents) * n_frame
        else:  # compositions vary: grow to the largest met, so that a run settles on few programs
            atoms = self.places[str(n_frame)] = np.maximum(self.places.get(str(n_frame), 0), atoms)
        most = np.max([e.most for e in extents], axis=0)
        self._warn_truncation(self.systems[parts[0][0]].name, np.max([e.within for e in extents], axis=0))
        layout = make_layout(atoms, most, n_frame, self.needs.sel, self.capacity)
        self.reserve(layout.nbrs, np.max([e.inner for e in extents], axis=0))
        return with_inner(layout, self.needs.inner, self.inner)

    def _warn_truncation(self, system: str, within: np.ndarray) -> None:
        """Say once for each number that ``sel`` leaves neighbours out."""
        for cut, most in by_cut(self.needs.cuts, within):
            for t, sentence in cut.shortage(most):
                if (cut.path, t) not in self._warned:
                    self._warned.add((cut.path, t))
                    log.warning(
                        "%s: an atom in %s %s. `dpjax neighbor-stat` suggests larger values.",
                        cut.path,
                        system,
                        sentence,
                    )

    def _labels(
        self, parts: Sequence[Part], places: Sequence[np.ndarray], layout: Layout, most: int
    ) -> dict[str, np.ndarray]:
        rows = [self.systems[system].arrays(indices, self.labels) for system, indices in parts]
        pairs = [name for name, spec in self.systems[parts[0][0]].labels.items() if spec.atom_pair]
        label = {}
        for name in self.labels:
            own = [row[name] for row in rows]
            if name in pairs:
                squares = [square for part in own for square in part]
                label[name] = pack_pairs(squares, places, layout.n_atom, most)
            else:
                label[name] = _padded(own, np.concatenate(places), layout)
        return label


def _spread(items: Sequence[int], n: int) -> list[int]:
    """At most ``n`` of the items, evenly spaced."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(n, len(items)), dtype=int))]


def _padded(parts: Sequence[np.ndarray], places: np.ndarray, layout: Layout) -> np.ndarray:
    """Labels on the batch's axes: (f, n, k) per atom becomes (n_atom, k), (f, k) per frame becomes (n_frame, k)."""
    values = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    if parts[0].ndim == 3:
        return pack_atoms(values, places, layout.n_atom)
    padding = np.zeros((layout.frames - len(values), values.shape[1]), values.dtype)
    return np.concatenate([values, padding])
