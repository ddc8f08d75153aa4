"""A structure on several devices, and how it stays right while its atoms move.

Lists are made again inside the compiled program.  What does not fit any more sets flags; then the host deals the atoms out anew,
with larger sizes, and the program runs again.  So nothing is lost, and a run of many steps compiles few programs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dpjax.batching import Layout
from dpjax.errors import CapacityError, DataError, NonFiniteError
from dpjax.interfaces.potential import Output, output_shapes
from dpjax.models import resolutions
from dpjax.models.spread import (
    COINCIDENT,
    NEAR_FULL,
    NOT_RESOLVED,
    SENT_FULL,
    SLABS_FAR,
    STALE,
    Division,
    SlabAtoms,
    SlabFlags,
    SlabPlan,
    SpreadState,
    divide,
    slots,
)
from dpjax.neighbors import grow
from dpjax.neighbors.device import BIN_FULL, CELL_SMALL, LIST_FULL, NOT_FINITE
from dpjax.nn.chebyshev import Grid

if TYPE_CHECKING:
    from dpjax.interfaces.spread import SpreadPotential

log = logging.getLogger(__name__)

ATTEMPTS = 8  # of one evaluation, each with larger sizes

Step = Callable[[SpreadState, Any, Any], tuple]


class SpreadStructure:
    """One structure on the devices of a :class:`SpreadPotential`, with its list of neighbours.

    Calling it gives the forces at new positions and takes care of everything: lists are made again in time, and sizes grow
    where they have to.  A loop on the devices uses :attr:`step` and :attr:`state`, and looks at the flags itself.

    Attributes:
        plan: sizes; they select the compiled program.
        grid: resolution of the series for embedding networks; None: the networks themselves.
        state: the list and what belongs to it.
        divisions: how often the atoms were dealt out to the devices.
    """

    def __init__(
        self,
        spread: SpreadPotential,
        coord: np.ndarray,
        atype: np.ndarray,
        cell: np.ndarray | None,
        fparam: np.ndarray | None = None,
        aparam: np.ndarray | None = None,
        charge_spin: np.ndarray | None = None,
        *,
        skin: float,
        axis: int | None = None,
        like: SlabPlan | None = None,
    ) -> None:
        self.spread, self.atype, self.skin, self.axis = spread, atype, skin, axis
        self.fparam, self.aparam, self.charge_spin, self.periodic = fparam, aparam, charge_spin, cell is not None
        self.plan, self.divisions = like, 0
        self._divide(coord, cell)

    @property
    def step(self) -> Step:
        """The pure function ``(state, coord, cell) -> (energy, force, virial, flags, state)``, to be called with 64-bit types on.

        ``coord`` (n_atom, 3) angstrom, ``cell`` (3, 3) angstrom (any where boundaries are open); ``energy`` () eV, ``force``
        (n_atom, 3) eV/angstrom, ``virial`` (9,) eV.  The list is made again inside where it has to be.  Results are right as long
        as ``flags.bits`` is 0; otherwise :meth:`recover` makes another ``state``, after which ``step`` is another function, too.
        """
        return partial(self.spread.programs.step, self.plan, self.grid)

    @property
    def grid(self) -> Grid | None:
        return self._choices[min(self.spread.level, len(self._choices) - 1)]

    def __call__(self, coord, cell=None) -> tuple[jax.Array, jax.Array, jax.Array, SlabFlags]:
        """Energy (), force (n_atom, 3), virial (9,) and the flags, whose bits are 0, at new positions; units as for :attr:`step`.

        Raises:
            NonFiniteError: a coordinate or the cell is NaN or infinite.
            DataError: two atoms are on one point, or a cell where there was none.
            CapacityError: sizes do not suffice even after several enlargements.
        """
        with jax.enable_x64(True):
            *result, _ = self._run(self.spread.programs.step, (self.plan, self.grid), coord, cell)
        return tuple(result)

    def outputs(self, coord, cell=None, atomic: bool = False) -> Output:
        """What ``Potential.evaluate`` gives for a frame, as NumPy arrays without the axis of frames; errors as for a call."""
        with jax.enable_x64(True):
            out, _, _ = self._run(self.spread.programs.outputs, (self.plan, self.grid, atomic), coord, cell)
            out = jax.device_get(out)
        return self._unpacked(out, atomic)

    def recover(self, flags: SlabFlags, coord, cell=None) -> None:
        """Make sizes and a list that hold what ``flags`` found missing, at the positions ``coord``; sets :attr:`state`.

        Raises:
            as a call does.
        """
        bits = int(flags.bits)
        finite = np.isfinite(np.asarray(coord)[self.atype >= 0]).all()
        if bits & NOT_FINITE or not finite:
            raise NonFiniteError("a coordinate or cell vector is NaN or infinite; look at the step before it")
        if bits & COINCIDENT:
            raise DataError("two atoms are on one point; remove one of them")
        if bits & NOT_RESOLVED:
            self.spread.level += 1
        if bits & ~NOT_RESOLVED:
            log.info("the structure is dealt out to the devices anew: %s", describe(bits))
            self.plan = _grown(self.plan, flags, self.spread.potential.model.sel, self.skin)
            with jax.enable_x64(True):
                self._divide(np.asarray(coord), None if cell is None else np.asarray(cell))

    def memory(self) -> int:
        """Bytes that the compiled step takes on each device, from XLA's own account: arguments, results and scratch."""
        with jax.enable_x64(True):
            coord, cell = self._placed(np.zeros((len(self.atype), 3)), np.eye(3) if self.periodic else None)
            lowered = self.spread.programs.step.lower(self.plan, self.grid, self.state, coord, cell)
            found = lowered.compile().memory_analysis()
        return (
            found.argument_size_in_bytes
            + found.output_size_in_bytes
            + found.temp_size_in_bytes
            - found.alias_size_in_bytes
        )

    def _run(self, program: Callable, static: tuple, coord, cell) -> tuple:
        """Results of a program and the next state, kept here, once its flags are clean."""
        arrays = self._placed(coord, cell)
        for _ in range(ATTEMPTS):
            static = (self.plan, self.grid, *static[2:])
            *result, flags, state = program(*static, self.state, *arrays)
            if int(flags.bits) == 0:
                self.state = state
                return (*result, flags, state)
            self.recover(jax.device_get(flags), coord, cell)
        raise CapacityError(
            f"after {ATTEMPTS} enlargements the structure still does not fit: {describe(int(flags.bits))}"
        )

    def _placed(self, coord, cell) -> tuple[jax.Array, jax.Array]:
        if np.shape(coord) != (len(self.atype), 3):
            raise DataError(f"coord: found shape {np.shape(coord)}, expected {(len(self.atype), 3)}")
        if (cell is not None) != self.periodic:
            raise DataError("cell: a structure keeps its boundaries; give a cell exactly if it was made with one")
        cell = np.eye(3) if cell is None else cell
        common = self.spread.programs.common
        return tuple(jax.device_put(jax.numpy.asarray(a, np.float64), common) for a in (coord, cell))

    def _divide(self, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Deal the atoms out to the devices and list their neighbours."""
        spread, model = self.spread, self.spread.potential.model
        sizes = {"n_type": model.n_type, "n_section": model.n_section, "rcut": model.rcut, "sel": model.sel}
        coord = np.asarray(coord, np.float64)
        division = divide(
            coord, self.atype, cell, len(spread.devices), **sizes, skin=self.skin, axis=self.axis, like=self.plan
        )
        self.divisions += 1
        with jax.enable_x64(True):
            atoms, frac, take, place = self._placed_atoms(division)
            box = jax.device_put(np.eye(3) if cell is None else np.asarray(cell, np.float64), spread.programs.common)
            self.plan, listed = self._list(division.plan, atoms.atype, frac, box)
        self.state = SpreadState(listed, atoms, take, place, spread.variables)
        with jax.enable_x64(True):
            layout = Layout(self.plan.atoms, self.plan.near, 1)
            self._choices = resolutions(model, spread.potential.variables, layout)

    def _list(self, plan: SlabPlan, atype: jax.Array, frac: jax.Array, box: jax.Array):
        """The list and a plan with enough slots for it."""
        for _ in range(ATTEMPTS):
            listed = self.spread.programs.make_list(plan, atype, frac, box)
            flags = jax.device_get(listed.flags)
            bits = int(flags.bits)
            if bits & COINCIDENT:
                raise DataError("two atoms are on one point; remove one of them")
            if bits == 0:
                self.spread.warn_truncation(flags)
                return plan, listed
            plan = _grown(plan, flags, self.spread.potential.model.sel, self.skin)
        raise CapacityError(f"after {ATTEMPTS} enlargements the neighbour list is still incomplete: {describe(bits)}")

    def _placed_atoms(self, division: Division) -> tuple[SlabAtoms, jax.Array, jax.Array, jax.Array]:
        """What each device has of its own atoms, their fractions, and where atoms are and are taken from."""
        programs, real = self.spread.programs, division.place >= 0
        places, n_place = division.place[real], division.plan.n_slab * division.plan.n_own

        def own(values: np.ndarray, padding: int = 0) -> jax.Array:
            out = np.full((n_place, *values.shape[1:]), padding, values.dtype)
            out[places] = values[real]
            return jax.device_put(out, programs.own)

        aparam = None if self.aparam is None else own(self.aparam)
        of_frame = (None if given is None else given[None] for given in (self.fparam, self.charge_spin))
        fparam, charge_spin = jax.device_put(tuple(of_frame), programs.common)
        first = jax.device_put(np.asarray(self.atype[:1] if len(self.atype) else [0], np.int32), programs.common)
        atoms = SlabAtoms(own(self.atype.astype(np.int32), -1), aparam, fparam, charge_spin, first)
        take = own(np.arange(len(self.atype), dtype=np.int32))
        return atoms, own(division.frac), take, jax.device_put(division.place, programs.common)

    def _unpacked(self, out: dict[str, np.ndarray], atomic: bool) -> Output:
        model, row = self.spread.potential.model, {}
        for name, shape in output_shapes(model.config, len(self.atype), atomic).items():
            if name == "mask":
                silent = np.isin(self.atype, self.spread.potential.config.silent_types)
                row[name] = ((self.atype >= 0) & ~silent).astype(np.int32)
            else:
                row[name] = np.asarray(out[name]).reshape(shape)
        return row


def _grown(plan: SlabPlan, flags: SlabFlags, sel: Sequence[int | None], skin: float) -> SlabPlan:
    """A plan whose lists and bins hold what was found missing."""
    cells = grow(plan.cells, flags.neighbors)
    near = tuple(map(max, slots(flags.near if skin else flags.neighbors.nbrs, sel, skin), plan.near))
    nbrs = tuple(map(max, slots(flags.neighbors.nbrs, None, skin), plan.cells.nbrs)) if skin else near
    return replace(plan, cells=replace(cells, nbrs=nbrs), near=near)


def describe(bits: int) -> str:
    """What the bits of flags say."""
    return "; ".join(text for bit, text in _MEANING.items() if bits & bit) or "nothing is wrong"


_MEANING = {
    BIN_FULL: "bins of the neighbour search are full",
    LIST_FULL: "an atom has more neighbours than there are slots",
    CELL_SMALL: "the cell shrank",
    NOT_FINITE: "a coordinate or cell vector is not finite",
    SENT_FULL: "more atoms lie at the borders of slabs than there are places for",
    SLABS_FAR: "atoms of slabs further away are needed",
    NOT_RESOLVED: "series for embedding networks are too coarse",
    COINCIDENT: "two atoms are on one point",
    NEAR_FULL: "an atom has more neighbours within the cut-off than there are slots",
    STALE: "atoms moved out of the neighbour list",
}
