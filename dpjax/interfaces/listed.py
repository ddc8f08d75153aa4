"""A potential for one structure that moves a little from call to call: a neighbour list with a skin serves many calls.

Only coordinates and cell are handed to the device in a call; the list is made anew on the host when a pair that it lacks could have
come within the cut-off.  Results are those of ``Potential.evaluate`` to rounding (:mod:`dpjax.models.listed` says why).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np

from dpjax.batching import Batch, Frame, Layout, make_layout, pack, unpack_atoms
from dpjax.batching.virtual import with_virtual_atoms
from dpjax.descriptors.crowding import cuts
from dpjax.errors import DataError, NonFiniteError
from dpjax.interfaces.inputs import read_structures
from dpjax.interfaces.potential import OF_ATOMS, Output, Potential, output_shapes
from dpjax.interfaces.results import flags
from dpjax.models import RESOLVED
from dpjax.models.listed import MARGIN, NEEDED, predict_listed, slots, still_serves
from dpjax.models.resolution import Resolver
from dpjax.neighbors import NeighborTable, search
from dpjax.neighbors.host import checked_cell
from dpjax.nn.chebyshev import Grid

log = logging.getLogger(__name__)

SKIN = 1.0  # angstrom; water at 300 K moves half of it in some 50 steps of half a femtosecond


_PROGRAMS: WeakKeyDictionary[Potential, tuple[Callable, set]] = WeakKeyDictionary()


def _program_of(potential: Potential) -> tuple[Callable, set]:
    """The program of a potential and what it was compiled for, common to all that evaluate it (as the images of a path do)."""
    if potential not in _PROGRAMS:
        run = partial(predict_listed, potential.model)
        _PROGRAMS[potential] = jax.jit(run, static_argnames=("nbrs", "atomic", "grid")), set()
    return _PROGRAMS[potential]


@dataclass(frozen=True)
class Listed:
    """A neighbour list and the structure that it was made from."""

    coord: np.ndarray  # (n, 3) angstrom
    atype: np.ndarray  # (n,)
    cell: np.ndarray | None  # (3, 3) as given
    pbc: tuple[bool, bool, bool]
    places: np.ndarray  # (n_own,) on the atom axis of the batch; virtual atoms are left out
    batch: Batch  # on the device
    owner: np.ndarray | None  # of the batch

    @property
    def own_types(self) -> np.ndarray:
        """(n_own,) types of atoms that are not virtual."""
        return self.atype[: len(self.places)]


class ListedPotential:
    """Evaluates a potential on one structure, again and again.

    Attributes:
        potential: the potential.
        skin: angstrom by which the list reaches beyond the cut-off.
        searches: how often neighbours were searched.
        programs: what was compiled for this potential: layout of the list, slots within the cut-off, whether atomic, resolution
            of series.
    """

    def __init__(self, potential: Potential, skin: float = SKIN):
        if not (math.isfinite(skin) and skin >= 0):
            raise DataError(f"skin: found {skin}, expected a number of angstrom, 0 or more")
        self.potential, self.skin = potential, float(skin)
        self.searches = 0
        self._program, self.programs = _program_of(potential)
        self._resolver = Resolver(potential.model, potential.variables)
        with jax.enable_x64(True):
            self._variables = jax.device_put(potential.variables, potential.device)
        self._cuts = [replace(cut, inner=True) for cut in cuts(potential.config)]  # the list reaches farther than any
        self._listed: Listed | None = None
        self._layout: Layout | None = None
        self._nbrs: tuple[int, ...] = ()

    def evaluate(
        self,
        coord: np.ndarray,
        atype: np.ndarray,
        cell: np.ndarray | None = None,
        *,
        pbc: Sequence[bool] = (True, True, True),
        fparam: np.ndarray | None = None,
        aparam: np.ndarray | None = None,
        charge_spin: np.ndarray | None = None,
        spin: np.ndarray | None = None,
        atomic: bool = False,
    ) -> Output:
        """What ``Potential.evaluate`` gives for this structure, without the axis of the frames.

        Args:
            coord: (n_atom, 3) angstrom.
            atype: (n_atom,) types; -1 marks a placeholder.
            cell: (3, 3) angstrom, rows are cell vectors; None for open boundaries.
            pbc: directions in which the cell repeats; vectors of the others may be zero.
            fparam, aparam, charge_spin, spin: (numb_fparam,), (n_atom, numb_aparam), (2,) and (n_atom, 3), where the model takes
                them.
            atomic: add the quantities of atoms, with a program of its own.

        Raises:
            DataError, ModelError: as ``Potential.evaluate``.
            NonFiniteError: the result is NaN or infinite.
        """
        inputs = [None if value is None else np.asarray(value)[None] for value in (fparam, aparam, charge_spin, spin)]
        given = read_structures(
            self.potential.config, np.asarray(coord)[None], atype, None if cell is None else [cell], *inputs
        )
        frame = Frame(given.coord[0], given.atype[0], None, given.cell[0], **given.inputs(0))
        if scale := self.potential.config.virtual_scale:
            frame = with_virtual_atoms(frame, scale)
        pbc = tuple(bool(p) for p in pbc) if cell is not None else (False, False, False)
        with jax.enable_x64(True):
            listed = self._listed
            if listed is None or not self._serves(listed, frame, pbc):
                listed = self._listed = self._made(frame, pbc)
            return self._unpacked(self._run(_moved(listed, frame), atomic), listed, atomic)

    def _serves(self, listed: Listed, frame: Frame, pbc: tuple[bool, ...]) -> bool:
        """Whether a list holds all neighbours of a structure."""
        if pbc != listed.pbc or not len(frame.atype) or not np.array_equal(frame.atype, listed.atype):
            return False
        real = frame.atype >= 0
        coords = (frame.coord[real], listed.coord[real]) if not real.all() else (frame.coord, listed.coord)
        cells = ()
        if any(pbc) and not np.array_equal(frame.cell, listed.cell):
            cells = tuple(checked_cell(cell, pbc) for cell in (frame.cell, listed.cell))
        return bool(still_serves(self.potential.rcut, self.skin, *coords, *cells))

    def _made(self, frame: Frame, pbc: tuple[bool, ...]) -> Listed:
        """A new list, with room for as much as the last one had where that does."""
        model, n_type = self.potential.model, len(self.potential.config.type_map)
        cell = frame.cell if any(pbc) else None
        reach, partners = self.potential.rcut + self.skin, frame.spin is not None
        table = search(frame.coord, frame.atype, n_type, reach, cell, pbc=pbc, partners=partners)
        self.searches += 1
        self._warn_truncation(table, frame.coord, cell)
        self.potential._table_start.check("the structure", table, frame.coord, cell)
        sections = (lambda count: count) if model.n_section > 1 else (lambda count: count.sum(axis=1, keepdims=True))
        within = sections(table.count_within(self.potential.rcut, frame.coord, cell)).max(axis=0, initial=0)
        most = sections(table.count).max(axis=0, initial=0)
        section = frame.atype if model.n_section > 1 else np.minimum(frame.atype, 0)
        atoms = np.bincount(section[section >= 0], minlength=model.n_section)
        wanted = make_layout(atoms, np.ceil(most * MARGIN), 1)
        if self._layout is None:
            self._layout, self._nbrs = wanted, slots(within, model.sel)
        else:
            rooms = _room(self._layout.atoms, atoms, wanted.atoms), _room(self._layout.nbrs, most, wanted.nbrs)
            self._layout = Layout(*rooms, frames=1)
            self._nbrs = _room(self._nbrs, within, slots(within, model.sel))
        batch, (places,) = pack([replace(frame, table=table, cell=cell)], self._layout)
        on_device = jax.device_put(batch, self.potential.device)
        kept = (None if array is None else array.copy() for array in (frame.coord, frame.atype, frame.cell))
        return Listed(*kept, pbc, places, on_device, batch.owner)

    def _warn_truncation(self, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Say once that ``sel`` leaves neighbours out, with type and numbers."""
        found = [text for cut in self._cuts for _, text in cut.shortage(cut.most(table, coord, cell))]
        for text in found:
            log.warning("an atom %s", text)
        self._cuts = [] if found else self._cuts

    def _run(self, batch: Batch, atomic: bool) -> Output:
        """Outputs on the padded axes, from a program with room for all that is within the cut-off."""
        while True:
            out = self._resolved(batch, atomic)
            needed = out.pop(NEEDED)
            if np.all(needed <= np.asarray(self._nbrs)):
                return out
            larger = tuple(map(max, self._nbrs, slots(needed, self.potential.model.sel)))
            log.info(
                "atoms have up to %s neighbours within the cut-off, %s fit: the program is compiled for %s",
                needed.tolist(), list(self._nbrs), list(larger),
            )  # fmt: skip
            self._nbrs = larger

    def _options(self, batch: Batch, atomic: bool) -> dict[str, Any]:
        """Options of the program that select it."""
        return {"atomic": atomic}

    def _shapes(self, n_atom: int, atomic: bool) -> dict[str, tuple[int, ...]]:
        """Shapes of what a structure has."""
        return output_shapes(self.potential.config, n_atom, atomic)

    def _resolved(self, batch: Batch, atomic: bool) -> Output:
        nbrs, options = self._nbrs, self._options(batch, atomic)

        def program(grid: Grid | None) -> tuple[Output, Any]:
            key, start = (batch.layout, nbrs, *options.values(), grid), time.perf_counter()
            out = jax.device_get(self._program(self._variables, batch, nbrs=nbrs, grid=grid, **options))
            if key not in self.programs:
                self.programs.add(key)
                log.info(
                    "program for %d places of atoms with %d neighbours compiled, %.1f s",
                    batch.layout.n_atom, sum(nbrs), time.perf_counter() - start,
                )  # fmt: skip
            return out, out.pop(RESOLVED, None)

        return self._resolver.run(replace(batch.layout, nbrs=nbrs), program)

    def _unpacked(self, out: Output, listed: Listed, atomic: bool) -> Output:
        """One frame in its own order."""
        row = {}
        types = listed.own_types
        for name, shape in self._shapes(len(types), atomic).items():
            if name == "mask":
                counted = (types >= 0) & ~np.isin(types, self.potential.config.silent_types)
                row[name] = counted.astype(np.int32)
                continue
            of_atoms = name in (self.potential.model.output.atomic, *OF_ATOMS)
            values = flags(name, out[name])
            row[name] = (unpack_atoms(values, listed.places) if of_atoms else values[0]).reshape(shape)
            if not np.isfinite(row[name]).all():
                raise NonFiniteError(f"the {name} of a structure is NaN or infinite; look for atoms on one point in it")
        return row


def _moved(listed: Listed, frame: Frame) -> Batch:
    """The batch of a list with the coordinates, cell and inputs of a structure."""
    batch, places = listed.batch, listed.places
    real, n_own = places >= 0, len(places)
    coord = np.zeros(batch.coord.shape)
    coord[places[real]] = frame.coord[:n_own][real]
    cell = frame.cell[None] if any(listed.pbc) else np.zeros((1, 3, 3))
    changes: dict[str, Any] = {"coord": coord, "cell": cell}
    for name in ("fparam", "charge_spin"):
        if getattr(frame, name) is not None:
            changes[name] = getattr(frame, name)[None]
    if frame.aparam is not None:
        changes["aparam"] = np.zeros(batch.aparam.shape)
        changes["aparam"][places[real]] = frame.aparam[real]
    if frame.spin is not None:
        changes["spin"] = _spins(listed, frame.spin)
    return batch.replace(**changes)


def _spins(listed: Listed, spin: np.ndarray) -> np.ndarray:
    """(n_place, 3) spins at the places of virtual atoms, which are those of the atoms they belong to."""
    real, owner = listed.places >= 0, listed.owner
    spins = np.zeros((len(owner), 3))
    spins[listed.places[real]] = spin[real]
    return np.where((owner != np.arange(len(owner)))[:, None], spins[owner], 0.0)


def _room(have: Sequence[int], need: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Sizes of sections: those there are, where they hold what is needed and are at most twice what would be chosen now."""
    return tuple(old if n <= old <= 2 * new else new for old, n, new in zip(have, need, wanted, strict=True))
