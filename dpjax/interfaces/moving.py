"""Structures that move on the device: their neighbour list, made anew inside a program, and their energies on it.

One or many structures lie on one axis of atoms, as in every batch.  A list reaches ``skin`` beyond the cut-off, so that it serves
while atoms move little.  Sizes are fixed by a :class:`Capacity`.  Where one does not suffice, or the list does not serve any more,
energies are NaN, never wrong; :meth:`MovingSystem.diagnose` then says why and :meth:`MovingSystem.grow` makes room.

With spins there are virtual atoms among the places, which :meth:`MovingSystem.placed` puts where atoms and spins say.  From there
on they are atoms like others: what is searched, and what must not have moved too far for a list to serve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.batching import Batch, Frame, make_layout, pack
from dpjax.batching.virtual import with_virtual_atoms
from dpjax.config.fittings.outputs import ENERGY
from dpjax.descriptors.neighborhood import nearest_distance
from dpjax.errors import CapacityError, DataError, ModelError, NonFiniteError
from dpjax.geometry.cells import inverse3
from dpjax.geometry.displacements import displacements
from dpjax.interfaces.potential import Potential
from dpjax.models import StandardModel, require_derived
from dpjax.models.derived import require_no_modifier
from dpjax.models.energy_rule import atomic_energies
from dpjax.models.listed import slots, still_serves, within_cutoff
from dpjax.neighbors import CellListPlan, NeighborFlags, NeighborTable, allocate, grow, search, update
from dpjax.neighbors.device import BIN_FULL, CELL_SMALL, LIST_FULL, NOT_FINITE
from dpjax.neighbors.device_frames import FramesPlan, grow_frames, reach_of, update_frames

WITHIN_FULL = 32  # an atom has more neighbours within the cut-off than the capacity has slots
TOO_NEAR = 64  # two atoms are nearer than the series of the embedding networks hold
MISSED = 128  # atoms moved so far that the list may lack neighbours

RESERVE = 0.2  # part of the skin that is left when a list is made anew, for the step that follows
NEARER = (0.7, 0.85)  # how much nearer than now two atoms may come before series are made anew


@dataclass(frozen=True)
class Capacity:
    """Static sizes; hashable, so that they select a compiled program."""

    search: CellListPlan | FramesPlan
    within: tuple[int, ...]  # slots of each section for neighbours within the cut-off
    reserve: float = RESERVE


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["bits", "bin_atoms", "nbrs", "heights", "within", "nearest"],
    meta_fields=[],
)
@dataclass(frozen=True)
class MovingFlags:
    """Why energies on a list are NaN, and what a larger capacity must hold."""

    bits: jax.Array  # () int32, a sum of the bits of dpjax.neighbors.device and of those above; 0 where all is well
    bin_atoms: jax.Array  # (n_section,) most atoms in a bin
    nbrs: jax.Array  # (n_section,) most neighbours in the list
    heights: jax.Array  # (3,) of the cell, angstrom
    within: jax.Array  # (n_section,) most neighbours within the cut-off
    nearest: jax.Array  # () smallest distance, angstrom

    @property
    def reasons(self) -> str:
        """In words, on the host."""
        bits = int(self.bits)
        words = [
            (NOT_FINITE, "a coordinate or the cell is NaN or infinite"),
            (BIN_FULL, f"bins need {np.asarray(self.bin_atoms).tolist()} atoms of each section"),
            (LIST_FULL, f"the list needs {np.asarray(self.nbrs).tolist()} slots"),
            (CELL_SMALL, f"the cell shrank to heights of {np.asarray(self.heights).round(3).tolist()} angstrom"),
            (WITHIN_FULL, f"{np.asarray(self.within).tolist()} neighbours are within the cut-off"),
            (TOO_NEAR, f"two atoms are {float(self.nearest):.3f} angstrom apart"),
            (MISSED, "atoms moved farther in a step than the list reaches"),
        ]
        return "; ".join(text for bit, text in words if bits & bit)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["index", "shift", "count", "reference", "cell", "flags", "expansion", "bound"],
    meta_fields=["capacity", "system"],
)
@dataclass(frozen=True)
class Neighbors:
    """A neighbour list, what it was made from, and series that stand for embedding networks; a pytree."""

    index: jax.Array  # (n_place, slots) on the axis of the batch
    shift: jax.Array  # (n_place, slots, 3)
    count: jax.Array  # (n_place, n_section)
    reference: jax.Array  # (n_place, 3) angstrom
    cell: jax.Array  # (n_frame, 3, 3) angstrom, rows
    flags: NeighborFlags  # of the search
    expansion: Any  # Expansion, or None: networks are evaluated for every neighbour
    bound: jax.Array  # () angstrom; the series hold for atoms that are no nearer
    capacity: Capacity
    system: MovingSystem = field(repr=False)

    @property
    def did_buffer_overflow(self) -> jax.Array:
        """() bool: the list is incomplete, and energies on it are NaN."""
        return self.flags.bits != 0


class MovingSystem:
    """One or many structures of fixed composition.

    Args:
        potential: of energies.
        atypes: (n,) types of each structure; -1 marks a placeholder.
        pbc: (n_frame, 3) bool, directions in which the cells repeat.
        skin: angstrom.
        inputs: of each structure what its frame has beside atoms and cell, as ``Structures.inputs`` gives it.

    Attributes:
        places: (atoms of all structures,) on the axis of the batch.
        section: (n_place,) of the neighbour list that an atom belongs to, -1 on padding.
        members: (n_frame, most) places of the atoms of each structure, then of their virtual atoms, then -1.
        spin: (atoms of all structures, 3) that they have where nothing else is said; None for models without spins.
    """

    output = ENERGY

    def __init__(
        self, potential: Potential, atypes: Sequence[np.ndarray], pbc: np.ndarray, skin: float,
        inputs: Sequence[Mapping[str, Any]],
    ):  # fmt: skip
        model = potential.model
        if model.output is not self.output:
            raise ModelError(f"this model predicts {model.output.total}, not energies, so nothing moves by it")
        require_derived(potential.config, "molecular dynamics and energy functions")
        require_no_modifier(potential.config, "a MovingSystem, which moving_system makes of both parts")
        if not (math.isfinite(skin) and skin > 0):
            raise DataError(f"skin: found {skin}, expected a number of angstrom above 0")
        self.potential, self.skin, self.pbc = potential, float(skin), np.asarray(pbc, bool)
        self.variables = jax.device_put(potential.variables, potential.device)
        frames = [_frame(potential, *row) for row in zip(atypes, inputs, strict=True)]
        types = np.concatenate([frame.atype for frame in frames])
        own = types if model.n_section > 1 else np.minimum(types, 0)
        atoms = np.bincount(own[own >= 0], minlength=model.n_section)
        batch, split = pack(frames, make_layout(atoms, np.zeros(model.n_section), len(frames)))
        self._owner, self._scale = batch.owner, batch.scale
        self._batch: Batch = batch.replace(owner=None, scale=None, spin=None)  # its coordinates are those of all places
        self.places = np.where(np.concatenate(split) < 0, batch.layout.n_atom, np.concatenate(split))
        self.section = batch.atype if model.n_section > 1 else np.minimum(batch.atype, 0)
        self.members = _padded([self._with_partners(places[places >= 0]) for places in split])
        self.spin = None if batch.spin is None else np.concatenate([own["spin"] for own in inputs])
        self._diagnose = jax.jit(lambda *args: self._checked(self._unwrapped(*args), *args[1:])[1])

    @property
    def model(self) -> StandardModel:
        return self.potential.model

    @property
    def n_frame(self) -> int:
        return len(self.pbc)

    @property
    def n_atom(self) -> int:
        """Atoms of all structures, placeholders included."""
        return len(self.places)

    def placed(self, coord: jax.Array, spin: jax.Array | None = None) -> jax.Array:
        """(n_place, 3) of the batch, where atoms and virtual atoms are, from the atoms of all structures.

        Args:
            coord: (n_atom, 3) angstrom.
            spin: (n_atom, 3); None: those of the start.  Without effect on models without spins.
        """
        empty = jnp.zeros((self._batch.layout.n_atom, 3), coord.dtype)
        coord = empty.at[self.places].set(coord, mode="drop")
        if self.spin is None:
            return coord
        spin = empty.at[self.places].set(self.spin if spin is None else spin, mode="drop")
        scale = self._scale[:, None]
        return coord[self._owner] + jnp.where(scale != 0.0, scale * spin[self._owner], 0.0)

    def _with_partners(self, places: np.ndarray) -> np.ndarray:
        """Places of atoms, then of their virtual atoms."""
        if self._owner is None:
            return places
        virtual = np.flatnonzero(self._owner != np.arange(len(self._owner)))
        return np.concatenate([places, virtual[np.isin(self._owner[virtual], places)]])

    def allocate(
        self, coord: jax.Array, cell: jax.Array, margin: float, least: Capacity | None = None, nearest: float = np.inf
    ) -> Neighbors:
        """A list with room for structures like these; on the host.

        Args:
            coord: (n_place, 3) angstrom.
            cell: (n_frame, 3, 3) angstrom.
            margin: capacities over what these need.
            least: sizes that are not to be undercut, with the bins to be used.
            nearest: angstrom, how near to each other atoms are known to come.
        """
        rows, cells = np.asarray(coord, np.float64), np.asarray(cell, np.float64)
        most, within, now = self._counted(rows, cells)
        width = tuple(max(4, 4 * math.ceil(m * margin / 4)) for m in most.tolist())
        plan = self._plan(rows, cells, most.tolist(), width, margin)
        capacity = Capacity(plan, slots(within, self.model.sel, max(margin, 1.0)))
        return self.made(coord, cell, capacity if least is None else _larger(capacity, least), min(now, nearest))

    def made(self, coord: jax.Array, cell: jax.Array, capacity: Capacity, nearest: float) -> Neighbors:
        """A list of given capacity, and series for atoms a little nearer than ``nearest`` angstrom; on the host."""
        expansion, bound = self._series(capacity, nearest)
        return self.searched(coord, cell, capacity, expansion, jnp.asarray(bound, coord.dtype))

    def stored(self, neighbors: Neighbors) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON-able facts from which :meth:`restored` makes the same list."""
        arrays = {"reference": np.asarray(neighbors.reference), "cell": np.asarray(neighbors.cell)}
        return arrays, {"capacity": asdict(neighbors.capacity), "bound": float(neighbors.bound)}

    def restored(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Neighbors:
        """The list that was stored, bit by bit."""
        reference, bound = jnp.asarray(arrays["reference"]), facts["bound"]
        capacity = _capacity_from(facts["capacity"])
        expansion, _ = self._series(capacity, bound, factors=(1.0,)) if bound else (None, 0.0)
        return self.searched(
            reference, jnp.asarray(arrays["cell"]), capacity, expansion, jnp.asarray(bound, reference.dtype)
        )

    def searched(self, coord, cell, capacity: Capacity, expansion: Any, bound: jax.Array) -> Neighbors:
        """A new list; pure."""
        plan = capacity.search
        coord, cell = jax.lax.stop_gradient((coord, cell))
        if isinstance(plan, FramesPlan):
            found = update_frames(plan, coord, self.section, cell, self.pbc, self.members)
        else:
            found = update(plan, coord, self.section, cell[0] if any(plan.pbc) else None)
        return Neighbors(
            found.index, found.shift, found.count, coord, cell, found.flags, expansion, bound, capacity, self
        )

    def update(self, coord: jax.Array, cell: jax.Array, neighbors: Neighbors) -> Neighbors:
        """The list, made anew where it would not serve for another step; pure.  Flags stay set until a list is allocated."""
        coord, cell = jax.lax.stop_gradient((coord, cell))
        capacity = neighbors.capacity
        old = (neighbors.index, neighbors.shift, neighbors.count, neighbors.reference, neighbors.cell, neighbors.flags)

        def anew(_):
            new = self.searched(coord, cell, capacity, None, neighbors.bound)
            bits = new.flags.bits | neighbors.flags.bits
            return new.index, new.shift, new.count, new.reference, new.cell, replace(new.flags, bits=bits)

        serves = self._serves(
            self._unwrapped(coord, cell, neighbors), cell, neighbors, self.skin * (1.0 - capacity.reserve)
        )
        index, shift, count, reference, cell, flags = jax.lax.cond(serves, lambda kept: kept, anew, old)
        return replace(
            neighbors, index=index, shift=shift, count=count, reference=reference, cell=cell, flags=flags
        )  # fmt: skip

    def energies(self, coord: jax.Array, cell: jax.Array, neighbors: Neighbors) -> jax.Array:
        """(n_frame,) eV, all NaN where they would not be right; differentiable by coordinates (n_place, 3) and cells."""
        coord = self._unwrapped(coord, cell, neighbors)
        kept, flags = self._checked(coord, cell, neighbors)
        disp = displacements(coord, cell, kept.frame, kept.index, kept.shift)
        own = atomic_energies(self.model, self.variables, kept, neighbors.expansion, disp)
        total = jax.ops.segment_sum(own, kept.frame, self.n_frame)
        return total * jnp.where(flags.bits == 0, 1.0, jnp.nan).astype(total.dtype)  # a product: forces are NaN, too

    def diagnose(self, coord: jax.Array, cell: jax.Array, neighbors: Neighbors) -> MovingFlags:
        """Why :meth:`energies` are NaN; ``bits`` is 0 where the model itself says so."""
        return self._diagnose(coord, cell, neighbors)

    def grow(self, capacity: Capacity, flags: MovingFlags, margin: float) -> Capacity:
        """A capacity that holds what was found missing.

        Raises:
            NonFiniteError: a coordinate is NaN or infinite.
            CapacityError: atoms move farther in one step than the list reaches.
        """
        bits = int(flags.bits)
        if bits & NOT_FINITE:
            raise NonFiniteError(flags.reasons)
        plan = capacity.search
        if isinstance(plan, FramesPlan):
            wanted = [4 * math.ceil(n * margin / 4) for n in np.asarray(flags.nbrs).tolist()]
            plan = grow_frames(
                plan, flags, wanted, np.diag(np.asarray(flags.heights))[None], self.pbc.any(axis=0)[None]
            )
        else:
            plan = grow(plan, flags, margin)
        capacity = replace(capacity, search=plan)
        if bits & WITHIN_FULL:
            wider = slots(np.asarray(flags.within), self.model.sel, margin)
            capacity = replace(capacity, within=tuple(map(max, capacity.within, wider)))
        if bits & MISSED:
            if capacity.reserve == 1.0:
                raise CapacityError(
                    f"atoms move more than half the skin of {self.skin:g} angstrom in one step: the time step is too long, atoms "
                    "overlap, or the skin is too small"
                )
            capacity = replace(capacity, reserve=min(1.0, 2 * capacity.reserve))
        return capacity

    def _counted(self, coord: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Most neighbours in a list and within the cut-off (n_section,), and the smallest distance, angstrom."""
        n, rcut = self.model.n_section, self.model.rcut
        most, within, nearest = np.zeros(n, int), np.zeros(n, int), np.inf
        for own, cell, pbc in zip(self.members, cells, self.pbc, strict=True):
            rows, section, box = *self._points(coord, own[own >= 0]), cell if pbc.any() else None
            table = search(rows, section, n, rcut + self.skin, box, pbc=pbc, partners=self._owner is not None)
            most = np.maximum(most, table.count.max(axis=0, initial=0))
            within = np.maximum(within, table.count_within(rcut, rows, box).max(axis=0, initial=0))
            nearest = min(nearest, _smallest(table, rows, box))
        return most, within, nearest

    def _points(self, coord: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates and sections of some places, with spins as the host's search wants them: atoms, then a partner for each."""
        if self._owner is None:
            return coord[own], self.section[own]
        atoms, virtual = own[self._owner[own] == own], own[self._owner[own] != own]
        partner = np.full(len(self._owner), -1)
        partner[self._owner[virtual]] = virtual
        place = np.concatenate([atoms, partner[atoms]])
        return coord[place], np.where(place >= 0, self.section[place], -1)

    def _plan(self, coord, cells, most, width, margin) -> CellListPlan | FramesPlan:
        rcut = self.model.rcut
        if self.n_frame == 1:
            pbc = self.pbc[0]
            plan = allocate(
                coord,
                self.section,
                self.model.n_section,
                rcut,
                cells[0] if pbc.any() else None,
                pbc=pbc,
                skin=self.skin,
                margin=margin,
                most=most,
            )
            return replace(plan, nbrs=width)
        sections = self.section[self.members]
        counts = [
            ((sections == s) & (self.members >= 0)).sum(axis=1).max(initial=0) for s in range(self.model.n_section)
        ]
        return FramesPlan(rcut, self.skin, reach_of(cells, self.pbc, rcut + self.skin), tuple(map(int, counts)), width)

    def _series(self, capacity: Capacity, nearest: float, factors=NEARER) -> tuple[Any, float]:
        """Series that are exact to rounding down to a distance, and that distance; or None and 0."""
        layout = replace(self._batch.layout, nbrs=capacity.within)
        nearest = min(nearest, self.model.rcut)
        for grid in self.model.apply(self.variables, layout, method=type(self.model).grids):
            for factor in factors:
                expand = jax.jit(
                    lambda bound, grid=grid: self.model.apply(
                        self.variables, bound, grid, method=type(self.model).expand
                    )
                )
                bound = jnp.asarray(factor * nearest, jnp.result_type(float))
                expansion = expand(bound)
                if np.all(expansion.resolved):
                    return expansion, float(bound)
        return None, 0.0

    def _unwrapped(self, coord, cell, neighbors: Neighbors) -> jax.Array:
        """Of all periodic images of an atom the one next to where it was in the list, so that shifts of the list stay right."""
        frame = self._batch.frame
        now = jnp.einsum("na,nab->nb", coord, inverse3(cell)[frame])
        then = jnp.einsum("na,nab->nb", neighbors.reference, inverse3(neighbors.cell)[frame])
        turns = jnp.where(self.pbc[frame], jax.lax.stop_gradient(jnp.round(now - then)), 0.0)
        return coord - jnp.einsum("na,nab->nb", turns, cell[frame])

    def _serves(self, coord, cell, neighbors: Neighbors, skin: float) -> jax.Array:
        """() bool: the list holds every pair within the cut-off, with ``skin`` instead of its own."""
        cells = (
            (cell[0], neighbors.cell[0]) if self.n_frame == 1 and self.pbc.any() else ()
        )  # of many frames they are fixed
        return still_serves(self.model.rcut, skin, coord, neighbors.reference, *cells)

    def _checked(self, coord, cell, neighbors: Neighbors) -> tuple[Batch, MovingFlags]:
        """The batch with neighbours within the cut-off, from unwrapped coordinates, and whether it is right."""
        coord, cell = jax.lax.stop_gradient((coord, cell))
        capacity = neighbors.capacity
        listed = self._batch.replace(
            coord=coord, cell=cell, index=neighbors.index, shift=neighbors.shift, count=neighbors.count,
            layout=replace(self._batch.layout, nbrs=capacity.search.nbrs),
        )  # fmt: skip
        kept, within = within_cutoff(listed, self.model.rcut, capacity.within)
        disp = displacements(coord, cell, kept.frame, kept.index, kept.shift)
        nearest = nearest_distance(disp, kept.count, kept.layout.nbrs)
        bits = (
            neighbors.flags.bits
            | WITHIN_FULL * jnp.any(within > jnp.asarray(capacity.within))
            | TOO_NEAR * ~(nearest >= neighbors.bound)
            | MISSED * ~self._serves(coord, cell, neighbors, self.skin)
        ).astype(jnp.int32)
        found = neighbors.flags
        return kept, MovingFlags(bits, found.bin_atoms, found.nbrs, found.heights, within, nearest)


def _frame(potential: Potential, atype: np.ndarray, inputs: Mapping[str, Any]) -> Frame:
    """A structure without neighbours, at the origin; with spins it has virtual atoms."""
    scale, n_type = potential.config.virtual_scale, len(potential.config.type_map)
    table = _no_neighbors(len(atype) * (2 if scale else 1), n_type)
    frame = Frame(np.zeros((len(atype), 3)), atype, table, **inputs)
    return with_virtual_atoms(frame, scale) if scale else frame


def _no_neighbors(n_atom: int, n_type: int) -> NeighborTable:
    return NeighborTable(np.zeros((n_atom, n_type), np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int8))


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of different lengths as one array, filled with -1."""
    out = np.full((len(rows), max(1, *map(len, rows))), -1)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out


def _smallest(table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> float:
    """Smallest distance of a table, angstrom; infinite without neighbours."""
    disp = table.displacements(coord, cell)
    return float(np.sqrt((disp * disp).sum(axis=1).min(initial=np.inf)))


def _larger(capacity: Capacity, least: Capacity) -> Capacity:
    """The larger of each size, with the bins of ``least``."""
    new, plan = capacity.search, least.search
    plan = replace(plan, nbrs=tuple(map(max, new.nbrs, plan.nbrs)))
    if getattr(new, "grid", None) == getattr(plan, "grid", None):
        plan = replace(plan, bin_atoms=tuple(map(max, new.bin_atoms, plan.bin_atoms)))
    return Capacity(plan, tuple(map(max, capacity.within, least.within)), max(capacity.reserve, least.reserve))


def _capacity_from(sizes: Mapping[str, Any]) -> Capacity:
    """The capacity of one structure from what ``asdict`` and JSON made of it."""
    plan = {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in sizes["search"].items()}
    return Capacity(CellListPlan(**plan), tuple(sizes["within"]), sizes["reserve"])
