"""Frames and their neighbour tables to a :class:`Batch`, and results back to frames.  Plain NumPy, run in the prefetch thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpjax.batching.batch import Batch, Layout
from dpjax.batching.ladder import ATOM_BLOCK, round_up
from dpjax.errors import CapacityError
from dpjax.neighbors import NeighborTable


@dataclass(frozen=True)
class Frame:
    """One structure and its neighbours.

    With spins its atoms are the points of ``batching.virtual``: the real ones, then as many virtual partners.
    """

    coord: np.ndarray  # (n, 3) angstrom
    atype: np.ndarray  # (n,) -1: placeholder, left out of the batch
    table: NeighborTable
    cell: np.ndarray | None = None  # (3, 3) or None for open boundaries
    fparam: np.ndarray | None = None  # (k,)
    aparam: np.ndarray | None = None  # (n_own, k)
    charge_spin: np.ndarray | None = None  # (2,)
    spin: np.ndarray | None = None  # (n_own, 3) of the real atoms
    scale: np.ndarray | None = None  # (n_own,) with ``spin``: distance of the virtual atom per unit of it, angstrom

    @property
    def n_own(self) -> int:
        """Atoms without virtual partners."""
        return len(self.atype) if self.spin is None else len(self.spin)

    @property
    def own_types(self) -> np.ndarray:
        """(n_own,) their types."""
        return self.atype[: self.n_own]


def _sections(frames: Sequence[Frame], n_section: int) -> tuple[np.ndarray, np.ndarray]:
    """Section of each atom of all frames joined (placeholders: -1) and the frame it belongs to."""
    atype = np.concatenate([f.atype for f in frames])
    owner = np.repeat(np.arange(len(frames)), [len(f.atype) for f in frames])
    section = atype if n_section > 1 else np.where(atype < 0, -1, 0)
    return section.astype(np.int64), owner


def _counts(frame: Frame, n_section: int) -> np.ndarray:
    """(n, n_section) neighbours of each atom in each section."""
    count = frame.table.count
    return count if n_section > 1 else count.sum(axis=1, keepdims=True)


def choose_layout(frames: Sequence[Frame], n_section: int, sel: Sequence[int | None] | None = None) -> Layout:
    """Ladder sizes that hold just ``frames``; arguments as for :func:`make_layout`."""
    section, _ = _sections(frames, n_section)
    atoms = [int(np.sum(section == t)) for t in range(n_section)]
    return make_layout(atoms, most_neighbors(frames, n_section), len(frames), sel)


def most_neighbors(frames: Sequence[Frame], n_section: int) -> np.ndarray:
    """(n_section,) largest number of neighbours that an atom of these frames has in each section."""
    most = np.zeros(n_section, dtype=int)
    for frame in frames:
        if len(frame.atype):
            most = np.maximum(most, _counts(frame, n_section).max(axis=0))
    return most


def make_layout(
    atoms: Sequence[int], most: Sequence[int], n_frame: int, sel: Sequence[int] | None = None, floor: Sequence[int] = ()
) -> Layout:
    """Sizes from the ladder.

    Args:
        atoms: atoms of each section.
        most: neighbours of each section that one atom has at most.
        n_frame: frames of the batch.
        sel: neighbours of each section that a descriptor keeps, None where no one number says it; a capacity never exceeds it
            unless real neighbours do, so that the truncation code is compiled only where it is needed.
        floor: neighbour capacities to start from; those of a running training only ever grow.
    """
    nbrs = [neighbor_capacity(int(m), None if sel is None else sel[t]) for t, m in enumerate(most)]
    if len(floor):
        nbrs = [max(a, b) for a, b in zip(nbrs, floor, strict=True)]
    places = [round_up(int(n), multiple=ATOM_BLOCK) for n in atoms]
    if not any(places):
        places[0] = 1  # frames without atoms: a program has at least one place to work on
    return Layout(tuple(places), tuple(nbrs), n_frame)


def neighbor_capacity(most: int, sel: int | None) -> int:
    """Ladder size for ``most`` neighbours, kept at ``sel`` as long as nothing exceeds it; at least one slot."""
    size = max(round_up(most, multiple=4), 1)
    return size if sel is None or most > sel else min(size, max(sel, 1))


def _places(section: np.ndarray, layout: Layout) -> np.ndarray:
    """Place on the batch's atom axis for each atom of all frames joined, -1 for placeholders."""
    order = np.argsort(section, kind="stable")
    order = order[np.searchsorted(section[order], 0) :]  # placeholders sort first
    counts = np.bincount(section[order], minlength=len(layout.atoms))
    for t, (have, room) in enumerate(zip(counts, layout.atoms, strict=True)):
        if have > room:
            raise CapacityError(
                f"{have} atoms of section {t} do not fit into a batch with {room} places; use a larger layout"
            )
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    places = np.full(len(section), -1)
    places[order] = np.repeat(np.asarray(layout.atom_start[:-1]), counts) + rank
    return places


def _fill_neighbors(batch: Batch, frames: Sequence[Frame], places: np.ndarray) -> None:
    """Write the tables of the frames into ``index``, ``shift`` and ``count`` of the batch; ``places`` of all atoms joined."""
    layout = batch.layout
    n_section = len(layout.nbrs)
    count = np.concatenate([_counts(frame, n_section) for frame in frames])
    most = count.max(axis=0, initial=0)
    if np.any(most > np.asarray(layout.nbrs)):
        raise CapacityError(
            f"neighbours {most.tolist()} do not fit into slots {list(layout.nbrs)}; use a larger layout"
        )
    real = places >= 0
    batch.count[places[real]] = count[real]
    flat = count.reshape(-1)
    before = np.cumsum(flat) - flat
    centre = np.where(real, places, 0)  # placeholders have no neighbours
    first = (centre[:, None] * layout.n_nbr + np.asarray(layout.nbr_start[:-1])).reshape(-1)
    slot = np.arange(int(flat.sum())) + np.repeat(first - before, flat)
    starts = np.concatenate([[0], np.cumsum([len(frame.atype) for frame in frames])])[:-1]
    edges = [frame.table.n_edge for frame in frames]
    atoms = np.concatenate([frame.table.index for frame in frames]).astype(np.int64) + np.repeat(starts, edges)
    batch.index.reshape(-1)[slot] = places[atoms]
    if any(frame.cell is not None for frame in frames):
        batch.shift.reshape(-1, 3)[slot] = np.concatenate([frame.table.shift for frame in frames])


def pack(frames: Sequence[Frame], layout: Layout) -> tuple[Batch, list[np.ndarray]]:
    """Join frames into one batch.

    Returns:
        The batch (NumPy arrays) and, for each frame, the place of every atom on the batch's atom axis, -1 for placeholders;
        virtual partners are left out.

    Raises:
        CapacityError: the frames do not fit into ``layout``.
    """
    if len(frames) > layout.frames:
        raise CapacityError(f"{len(frames)} frames do not fit into a batch for {layout.frames}; use a larger layout")
    section, owner = _sections(frames, len(layout.atoms))
    places = _places(section, layout)
    n_atom, n_nbr = layout.n_atom, layout.n_nbr
    shift_dtype = np.result_type(np.int8, *(f.table.shift.dtype for f in frames))
    batch = Batch(
        coord=np.zeros((n_atom, 3)),
        cell=np.zeros((layout.frames, 3, 3)),
        atype=np.full(n_atom, -1, np.int32),
        frame=np.zeros(n_atom, np.int32),
        index=np.zeros((n_atom, n_nbr), np.int32),
        shift=np.zeros((n_atom, n_nbr, 3), shift_dtype),
        count=np.zeros((n_atom, len(layout.nbrs)), np.int32),
        natoms=np.zeros(layout.frames, np.int32),
        first=np.zeros(layout.frames, np.int32),
        fparam=_stack_frames([f.fparam for f in frames], layout),
        aparam=_stack_atoms([_with_rows(f.aparam, len(f.atype)) for f in frames], places, n_atom),
        charge_spin=_stack_frames([f.charge_spin for f in frames], layout),
        layout=layout,
    )
    real = places >= 0
    batch.coord[places[real]] = np.concatenate([f.coord for f in frames])[real]
    batch.atype[places[real]] = np.concatenate([f.atype for f in frames])[real]
    batch.frame[places[real]] = owner[real]
    _fill_neighbors(batch, frames, places)
    sizes = [len(f.atype) for f in frames]
    each = np.split(places, np.cumsum(sizes)[:-1])
    own = [place[: frame.n_own] for place, frame in zip(each, frames, strict=True)]
    batch.natoms[: len(frames)] = [np.count_nonzero(place >= 0) for place in own]
    for i, frame in enumerate(frames):
        batch.first[i] = frame.atype[0] if sizes[i] else 0
        if frame.cell is not None:
            batch.cell[i] = frame.cell
    return _with_spins(batch, frames, each), own


def _with_spins(batch: Batch, frames: Sequence[Frame], places: Sequence[np.ndarray]) -> Batch:
    """The batch with the spins of virtual atoms and the places of the atoms they belong to; without spins as it is."""
    if not frames or frames[0].spin is None:
        return batch
    n_atom = batch.layout.n_atom
    spin, scale, owner = np.zeros((n_atom, 3)), np.zeros(n_atom), np.arange(n_atom, dtype=np.int32)
    for frame, place in zip(frames, places, strict=True):
        own, virtual = place[: frame.n_own], place[frame.n_own :]
        there = virtual >= 0
        spin[virtual[there]], scale[virtual[there]] = frame.spin[there], frame.scale[there]
        owner[virtual[there]] = own[there]
    return batch.replace(spin=spin, scale=scale, owner=owner)


def _with_rows(values: np.ndarray | None, n: int) -> np.ndarray | None:
    """Parameters of atoms with rows of zeros for virtual partners, which have none."""
    if values is None or len(values) == n:
        return values
    return np.concatenate([values, np.zeros((n - len(values), *values.shape[1:]))])


def _stack_frames(arrays: Sequence[np.ndarray | None], layout: Layout) -> np.ndarray | None:
    if arrays[0] is None:
        return None
    rows = np.stack(arrays)
    return np.concatenate([rows, np.zeros((layout.frames - len(rows), rows.shape[1]))])


def _stack_atoms(arrays: Sequence[np.ndarray | None], places: np.ndarray, n_atom: int) -> np.ndarray | None:
    if arrays[0] is None:
        return None
    return pack_atoms(np.concatenate(arrays), places, n_atom)


def pack_atoms(values: np.ndarray, places: np.ndarray, n_atom: int) -> np.ndarray:
    """Scatter per-atom values (n, ...) of all frames joined to the batch's atom axis (n_atom, ...); padding is zero."""
    out = np.zeros((n_atom, *values.shape[1:]), values.dtype)
    real = places >= 0
    out[places[real]] = values[real]
    return out


def pack_pairs(values: Sequence[np.ndarray], places: Sequence[np.ndarray], n_atom: int, most: int) -> np.ndarray:
    """Second derivatives of frames on the batch's atom axis, as models predict them; padding is zero.

    Args:
        values: ((3 n)^2,) of each frame by the positions of its n atoms, placeholders among them.
        places: (n,) of each frame, from :func:`pack`.
        n_atom: of the batch.
        most: atoms of a frame that there are columns for; those of later ones are left out.

    Returns:
        (n_atom, 3 * most * 3): rows of the atom, then columns of the atoms of its frame in the order of the batch.
    """
    out = np.zeros((n_atom, 3, most, 3))
    for square, own in zip(values, places, strict=True):
        order = _ranked(own)
        square = square.reshape(len(own), 3, len(own), 3)
        out[own[order], :, : len(order)] = square[order][:, :, order[:most]]
    return out.reshape(n_atom, 9 * most)


def unpack_pairs(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Second derivatives (3 n, 3 n) of one frame in its own atom order from those of a batch; zero for placeholders."""
    order, n = _ranked(places), len(places)
    rows = np.asarray(values)[places[order]].reshape(len(order), 3, values.shape[1] // 9, 3)
    out = np.zeros((n, 3, n, 3))
    out[np.ix_(order, range(3), order, range(3))] = rows[:, :, : len(order)]
    return out.reshape(3 * n, 3 * n)


def _ranked(places: np.ndarray) -> np.ndarray:
    """Positions in a frame of its atoms, without placeholders, in the order of the batch's atom axis."""
    order = np.argsort(places, kind="stable")
    return order[places[order] >= 0]


def unpack_atoms(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Gather per-atom results (n_atom, ...) of one frame back into its own atom order; zero for placeholders."""
    out = np.asarray(values)[places]
    out[places < 0] = 0
    return out
