"""JAX-MD: a potential as the ``neighbor_fn`` and ``energy_fn`` that its simulators and minimisers take.

    displacement, shift = jax_md.space.periodic_general(box, fractional_coordinates=True)
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, box, atype)
    init, apply = jax_md.simulate.nve(energy_fn, shift, dt)
    neighbors = neighbor_fn.allocate(R)
    state = init(key, R, kT, mass=mass, neighbor=neighbors)
    state, neighbors = neighbor_fn.run(apply, state, neighbors, 1000)

Units are eV, angstrom and, with masses in atomic mass units, :data:`dpjax.units.TIME_FS` femtoseconds.  A box is what JAX-MD takes:
a number, three lengths, or a matrix whose columns are the cell vectors.

Spins are held fixed unless they are handed over with each call, ``energy_fn(R, neighbor=neighbors, spin=spin)``; JAX-MD's
simulators pass it on.  The energy is differentiable by them: minus its derivative is the magnetic force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.errors import DataError, DPError, ModelError
from dpjax.interfaces.inputs import check_cells, read_structures
from dpjax.interfaces.md_chunks import run_chunk
from dpjax.interfaces.moving import Capacity, MovingFlags, MovingSystem, Neighbors
from dpjax.interfaces.moving_correction import CorrectedMovingSystem, moving_system
from dpjax.interfaces.potential import Potential

try:
    from jax_md import space
except ImportError as error:
    raise DPError("molecular dynamics needs JAX-MD, which is not installed: pip install 'dpjax[jax-md]'") from error

SKIN = 1.0  # angstrom
MARGIN = 1.25  # capacities over what the first structure needs

__all__ = ["EnergyFn", "NeighborFn", "Neighbors", "neighbor_fn_and_energy"]


def neighbor_fn_and_energy(
    potential: Potential,
    box: Any,
    atype: Any,
    *,
    fractional_coordinates: bool = True,
    pbc: Sequence[bool] = (True, True, True),
    skin: float = SKIN,
    capacity_multiplier: float = MARGIN,
    fparam: Any = None,
    aparam: Any = None,
    charge_spin: Any = None,
    spin: Any = None,
) -> tuple[NeighborFn, EnergyFn]:
    """A potential for JAX-MD.

    Args:
        potential: of energies.
        box: (), (3,) or (3, 3) with cell vectors as columns, angstrom; None for open boundaries.  Of many structures a list.
        atype: (n_atom,) types.  A list of arrays stands for many structures, which are simulated side by side: their atoms follow
            each other in ``R``, in real coordinates, and move by ``jax_md.space.free()``.
        fractional_coordinates: whether ``R`` holds fractions of the cell, as ``jax_md.space.periodic_general`` has them by default.
            Forces are real in both cases.  Without effect on open and on many structures, which are always in angstrom.
        pbc: directions in which the cell repeats; unless it is all three, coordinates must be real.
        skin: angstrom by which the neighbour list reaches beyond the cut-off.
        capacity_multiplier: room over what the structure at hand needs.
        fparam: (numb_fparam,) or, of many structures, (n_structure, numb_fparam).
        aparam: (n_atom, numb_aparam), or a list.
        charge_spin: (2,) charge and spin or, of many structures, (n_structure, 2).
        spin: (n_atom, 3) magnetic moments, or a list, for models that take them.

    Returns:
        ``neighbor_fn`` with ``allocate`` and ``update``, and ``energy_fn(R, neighbor=..., box=..., spin=...)`` in eV.

    Raises:
        DataError: types or boxes that do not fit.
        ModelError: the model predicts no energies, or needs an input that is missing.
    """
    many = isinstance(atype, (list, tuple)) and len(atype) > 0 and np.ndim(atype[0]) == 1
    atypes = list(atype) if many else [np.asarray(atype)]
    boxes = list(box) if many and box is not None else [None if many else box] * len(atypes)
    if len(boxes) != len(atypes):
        raise DataError(f"box: found {len(boxes)}, expected one for each of the {len(atypes)} structures")
    given = read_structures(
        potential.config, [np.zeros((len(a), 3)) for a in atypes], [np.asarray(a) for a in atypes], None,
        *(value if many or value is None else [value] for value in (fparam, aparam, charge_spin, spin)),
    )  # fmt: skip
    check_cells(potential.config, boxes)
    periodic = np.array([[False] * 3 if b is None else [bool(p) for p in pbc] for b in boxes])
    fractional = fractional_coordinates and not many and boxes[0] is not None
    if fractional and not periodic.all():
        raise DataError(
            f"pbc: found {tuple(pbc)} with fractional coordinates, which jax_md.space wraps in all directions; give real "
            "coordinates (fractional_coordinates=False) and move them by jax_md.space.free()"
        )
    inputs = [given.inputs(i) for i in range(len(atypes))]
    system = moving_system(potential, given.atype, periodic, skin, inputs)
    places = Places(system, None if boxes[0] is None or many else box_matrix(boxes[0]), fractional, _rows(boxes))
    return NeighborFn(places, float(capacity_multiplier)), EnergyFn(places)


def box_matrix(box: Any) -> jax.Array:
    """(3, 3) with cell vectors as columns, angstrom, of what JAX-MD calls a box.

    Raises:
        DataError: another shape.
    """
    box = jnp.asarray(box)
    if box.ndim > 2 or box.shape not in ((), (3,), (3, 3)):
        raise DataError(f"box: found shape {box.shape}, expected (), (3,) or (3, 3)")
    return box if box.ndim == 2 else jnp.diag(jnp.broadcast_to(box, (3,)))


def _rows(boxes: Sequence[Any]) -> np.ndarray:
    """(n, 3, 3) cells by rows; those of open structures are not used."""
    return np.stack([np.eye(3) if box is None else np.asarray(box_matrix(box)).T for box in boxes])


@dataclass(frozen=True, eq=False)
class Places:
    """From JAX-MD's coordinates to those of the batch."""

    system: MovingSystem | CorrectedMovingSystem
    box: jax.Array | None  # (3, 3) columns, where one structure is periodic
    fractional: bool
    cells: np.ndarray  # (n_frame, 3, 3) rows

    def __call__(
        self, R: jax.Array, box: Any = None, perturbation: Any = None, spin: Any = None
    ) -> tuple[jax.Array, jax.Array]:
        """Coordinates (n_place, 3) and cells (n_frame, 3, 3), angstrom; derivatives by ``R`` are real forces.

        Raises:
            DataError: ``R`` or ``spin`` has another number of atoms; a box, or spins, where there are none.
        """
        R = jnp.asarray(R)
        if R.shape != (self.system.n_atom, 3):
            raise DataError(f"R: found shape {R.shape}, expected ({self.system.n_atom}, 3)")
        spin = self._spins(spin, R)
        cells = jnp.asarray(self.cells, R.dtype)
        if self.box is None:
            if box is not None or (perturbation is not None and self.system.n_frame > 1):
                raise DataError(
                    "box and perturbation change the cell of one periodic structure; there is none here: leave them out"
                )
        else:
            box = jnp.asarray(self.box if box is None else box_matrix(box), R.dtype)
            R = space.transform(box, R) if self.fractional else R
            cells = box.T[None]
        if perturbation is not None:
            matrix = box_matrix(perturbation)
            R, cells = R @ matrix.T, cells @ matrix.T
        return self.system.placed(R, spin), cells

    def _spins(self, spin: Any, R: jax.Array) -> jax.Array | None:
        """(n_atom, 3) spins that are given instead of those of the start."""
        if spin is None:
            return None
        if self.system.spin is None:
            raise DataError("spin was given, but this model has no such input; leave it out")
        if jnp.shape(spin) != R.shape:
            raise DataError(f"spin: found shape {jnp.shape(spin)}, expected {R.shape}")
        return jnp.asarray(spin, R.dtype)


@dataclass(frozen=True, eq=False)
class NeighborFn:
    """Makes neighbour lists and keeps them up to date.

    Attributes:
        places: the structures.
        margin: capacities over what they need.
    """

    places: Places
    margin: float

    def allocate(
        self, R: jax.Array, *, box: Any = None, spin: Any = None, least: Capacity | None = None, **unused: Any
    ) -> Neighbors:
        """A list with room for structures like this one; on the host.

        Args:
            R: (n_atom, 3) coordinates.
            box, spin: instead of those given to :func:`neighbor_fn_and_energy`.
            least: capacity that is not to be undercut, as of an earlier list.
        """
        return self.places.system.allocate(*self.places(R, box, spin=spin), self.margin, least)

    def update(
        self, R: jax.Array, neighbors: Neighbors, *, box: Any = None, spin: Any = None, **unused: Any
    ) -> Neighbors:
        """The list for coordinates ``R``; pure.  ``did_buffer_overflow`` of it stays set until a list is allocated."""
        return self.places.system.update(*self.places(R, box, spin=spin), neighbors)

    def diagnose(self, R: jax.Array, neighbors: Neighbors, *, box: Any = None, spin: Any = None) -> MovingFlags:
        """Why the energy of ``R`` on this list is NaN."""
        return self.places.system.diagnose(*self.places(R, box, spin=spin), neighbors)

    def enlarged(
        self, R: jax.Array, neighbors: Neighbors, flags: MovingFlags, *, box: Any = None, spin: Any = None
    ) -> Neighbors:
        """A list for ``R`` with room for what ``flags`` found missing; on the host."""
        system = self.places.system
        capacity = system.grow(neighbors.capacity, flags, self.margin)
        return system.allocate(*self.places(R, box, spin=spin), self.margin, capacity, float(flags.nearest))

    def run(
        self, apply_fn: Callable[..., Any], state: Any, neighbors: Neighbors, n_steps: int, **options: Any
    ) -> tuple[Any, Neighbors]:
        """``n_steps`` steps of a simulator on the device; see :func:`dpjax.interfaces.md_chunks.run_chunk`."""
        return run_chunk(self, apply_fn, state, neighbors, n_steps, **options)


@dataclass(frozen=True, eq=False)
class EnergyFn:
    """Energy of coordinates on a neighbour list; differentiable, with forces and stress from one pass.

    It is NaN where the list does not hold all neighbours; ``neighbor_fn.diagnose`` says why.
    """

    places: Places

    def __call__(
        self,
        R: jax.Array,
        neighbor: Neighbors,
        *,
        box: Any = None,
        perturbation: Any = None,
        spin: Any = None,
        **unused: Any,
    ) -> jax.Array:
        """() eV, of many structures their sum."""
        return jnp.sum(self.each(R, neighbor, box=box, perturbation=perturbation, spin=spin))

    def each(
        self, R: jax.Array, neighbor: Neighbors, *, box: Any = None, perturbation: Any = None, spin: Any = None
    ) -> jax.Array:
        """(n_structure,) eV."""
        return self.places.system.energies(*self.places(R, box, perturbation, spin), neighbor)

    def value_and_force(
        self, R: jax.Array, neighbor: Neighbors, *, box: Any = None, spin: Any = None, **unused: Any
    ) -> tuple[jax.Array, jax.Array]:
        """() eV and (n_atom, 3) eV/angstrom."""
        value, gradient = jax.value_and_grad(partial(self, neighbor=neighbor, box=box, spin=spin))(R)
        return value, -gradient

    def force(
        self, R: jax.Array, neighbor: Neighbors, *, box: Any = None, spin: Any = None, **unused: Any
    ) -> jax.Array:
        """(n_atom, 3) eV/angstrom, real forces also of fractional coordinates; at fixed spins."""
        return self.value_and_force(R, neighbor, box=box, spin=spin)[1]

    def magnetic_force(
        self, R: jax.Array, neighbor: Neighbors, *, box: Any = None, spin: Any = None, **unused: Any
    ) -> jax.Array:
        """(n_atom, 3) eV per unit of spin, zero for atoms of types without.

        Raises:
            ModelError: the model has no spins.
        """
        return -jax.grad(lambda spin: self(R, neighbor, box=box, spin=spin))(self._spins(R, spin))

    def evaluate(
        self, R: jax.Array, neighbor: Neighbors, *, box: Any = None, spin: Any = None, **unused: Any
    ) -> dict[str, jax.Array]:
        """``energy`` (), ``force`` (n_atom, 3) and ``virial`` (3, 3) eV of one structure, with signs as in :mod:`dpjax.units`.

        With spins also ``force_mag`` (n_atom, 3) eV per unit of spin.

        Raises:
            ModelError: there are many structures.
        """
        if self.places.system.n_frame > 1:
            raise ModelError("the virial is that of one structure, and there are many; take each() and force()")
        R = jnp.asarray(R)
        magnetic = {"spin": self._spins(R, spin)} if self.places.system.spin is not None else {}

        def energy(R: jax.Array, strain: jax.Array, magnetic: dict[str, jax.Array]) -> jax.Array:
            # JAX-MD's perturbation multiplies columns, r' = (1 + e) r, so e_ab there is e_ba of dpjax.units.
            return self(R, neighbor, box=box, perturbation=jnp.eye(3, dtype=strain.dtype) + strain, **magnetic)

        still = jnp.zeros((3, 3), R.dtype)
        value, (gradient, strained, by_spin) = jax.value_and_grad(energy, argnums=(0, 1, 2))(R, still, magnetic)
        forces = {"force_mag": -by_spin["spin"]} if magnetic else {}
        return {"energy": value, "force": -gradient, "virial": -strained, **forces}

    def _spins(self, R: jax.Array, spin: Any) -> jax.Array:
        """(n_atom, 3) spins that are given, or those of the start."""
        start = self.places.system.spin
        if start is None:
            raise ModelError("magnetic_force: this model has no spins")
        return jnp.asarray(start if spin is None else spin, jnp.asarray(R).dtype)
