"""Structures that move by a model with a modifier: network and electrostatics each keep a neighbour list of their own.

The number of reciprocal vectors, and of mesh points, is fixed by the cells that a list was allocated for, with some room.  Which
vectors are summed follows the cell of now, as in ``Potential.evaluate``; where they are more than there is room for, energies are
NaN, and :meth:`CorrectedMovingSystem.grow` makes room, as for everything else that is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.batching import Batch
from dpjax.config.fittings.outputs import DIPOLE
from dpjax.geometry.displacements import displacements
from dpjax.interfaces.dipole_charge import DipoleCharge, require_cell
from dpjax.interfaces.moving import Capacity, MovingFlags, MovingSystem, Neighbors
from dpjax.interfaces.potential import Potential
from dpjax.models import atomic_outputs
from dpjax.models.dipole_charge import Sizes, charge_energies, sizes_of, widened
from dpjax.models.geometry import Geometry
from dpjax.nn.ewald import Half, half_widths, limits

CELL_GREW = 256  # the cell grew: more reciprocal vectors belong to the sum than there is room for


@dataclass(frozen=True)
class CorrectedCapacity:
    """Static sizes of both lists and of the sum."""

    network: Capacity
    dipole: Capacity
    sizes: Sizes


@partial(jax.tree_util.register_dataclass, data_fields=["network", "dipole"], meta_fields=["sizes"])
@dataclass(frozen=True)
class CorrectedNeighbors:
    """A neighbour list of each model; a pytree."""

    network: Neighbors
    dipole: Neighbors
    sizes: Sizes

    @property
    def capacity(self) -> CorrectedCapacity:
        return CorrectedCapacity(self.network.capacity, self.dipole.capacity, self.sizes)

    @property
    def did_buffer_overflow(self) -> jax.Array:
        """() bool: a list is incomplete, and energies on it are NaN."""
        return self.network.did_buffer_overflow | self.dipole.did_buffer_overflow


@dataclass(frozen=True)
class CorrectedFlags:
    """Why energies are NaN; on the host."""

    network: MovingFlags
    dipole: MovingFlags
    half: Half  # vectors that the cells of now need
    grew: bool

    @property
    def bits(self) -> int:
        return int(self.network.bits) | int(self.dipole.bits) | CELL_GREW * self.grew

    @property
    def nearest(self) -> jax.Array:
        """() smallest distance, angstrom."""
        return jnp.minimum(self.network.nearest, self.dipole.nearest)

    @property
    def reasons(self) -> str:
        """In words."""
        words = [self.network.reasons]
        if self.dipole.reasons:
            words.append(f"of the dipole model: {self.dipole.reasons}")
        if self.grew:
            words.append(f"the cell grew: reciprocal vectors up to {self.half} are to be summed")
        return "; ".join(word for word in words if word)


class CorrectedMovingSystem:
    """One or many structures of fixed composition and a model with a modifier; what :class:`MovingSystem` is for other models.

    Arguments, methods and errors as there; coordinates are in the order of the structures' atoms, (n_atom, 3).

    Raises:
        DataError: a structure does not repeat in all directions.
    """

    spin = None  # models with a modifier have none

    def __init__(
        self, potential: Potential, atypes: Sequence[np.ndarray], pbc: np.ndarray, skin: float,
        inputs: Sequence[Mapping[str, Any]],
    ):  # fmt: skip
        correction = potential.correction
        for i, own in enumerate(pbc):
            require_cell(np.eye(3), f"structure {i}" if len(pbc) > 1 else "the structure", own)
        self.network = MovingSystem(_network(potential), atypes, pbc, skin, inputs)
        types = [correction.types[np.asarray(own)] for own in atypes]
        self.dipole = _MovingDipoles(_dipole_potential(correction), types, pbc, skin, [{}] * len(types))
        self._charges, self._most = correction.charges, max(1, *(int(np.sum(own >= 0)) for own in types))
        self._mesh = correction.mesh

    @property
    def n_frame(self) -> int:
        return self.network.n_frame

    @property
    def n_atom(self) -> int:
        """Atoms of all structures, placeholders included."""
        return self.network.n_atom

    def placed(self, coord: jax.Array, spin: jax.Array | None = None) -> jax.Array:
        """The coordinates themselves: each model places them on its own axis."""
        return coord

    def allocate(
        self, coord: jax.Array, cell: jax.Array, margin: float, least: CorrectedCapacity | None = None,
        nearest: float = np.inf,
    ) -> CorrectedNeighbors:  # fmt: skip
        """Lists with room for structures like these; on the host."""
        rows = None, None
        sizes = sizes_of(np.asarray(cell), self._most, self._charges.spacing, self._mesh)
        if least is not None:
            rows, sizes = (least.network, least.dipole), widened(least.sizes, sizes.half)
        lists = [
            own.allocate(own.placed(coord), cell, margin, row, nearest)
            for own, row in zip(self._both, rows, strict=True)
        ]
        return CorrectedNeighbors(*lists, sizes)

    def stored(self, neighbors: CorrectedNeighbors) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON-able facts from which :meth:`restored` makes the same lists."""
        arrays, facts = self.network.stored(neighbors.network)
        dipole, own = self.dipole.stored(neighbors.dipole)
        arrays |= {f"dipole_{name}": array for name, array in dipole.items()}
        return arrays, {**facts, "dipole": own, "sizes": asdict(neighbors.sizes)}

    def restored(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> CorrectedNeighbors:
        """The lists that were stored, bit by bit."""
        dipole = {name: arrays[f"dipole_{name}"] for name in ("reference", "cell")}
        sizes = {name: tuple(own) if isinstance(own, (list, tuple)) else own for name, own in facts["sizes"].items()}
        lists = self.network.restored(arrays, facts), self.dipole.restored(dipole, facts["dipole"])
        return CorrectedNeighbors(*lists, Sizes(**sizes))

    def update(self, coord: jax.Array, cell: jax.Array, neighbors: CorrectedNeighbors) -> CorrectedNeighbors:
        """The lists, each made anew where it would not serve for another step; pure."""
        rows = zip(self._both, (neighbors.network, neighbors.dipole), strict=True)
        return CorrectedNeighbors(*(own.update(own.placed(coord), cell, row) for own, row in rows), neighbors.sizes)

    def energies(self, coord: jax.Array, cell: jax.Array, neighbors: CorrectedNeighbors) -> jax.Array:
        """(n_frame,) eV, all NaN where they would not be right; differentiable by coordinates (n_atom, 3) and cells."""
        network = self.network.energies(self.network.placed(coord), cell, neighbors.network)
        own, dipole, batch, bits = self.dipole.dipoles(self.dipole.placed(coord), cell, neighbors.dipole)
        charged = charge_energies(own, dipole, cell, batch, self._charges, neighbors.sizes)
        right = (bits == 0) & ~self._more_vectors(cell, neighbors.sizes)
        return network + charged * jnp.where(right, 1.0, jnp.nan).astype(charged.dtype)

    def diagnose(self, coord: jax.Array, cell: jax.Array, neighbors: CorrectedNeighbors) -> CorrectedFlags:
        """Why :meth:`energies` are NaN; ``bits`` is 0 where the models themselves say so."""
        rows = zip(self._both, (neighbors.network, neighbors.dipole), strict=True)
        flags = [own.diagnose(own.placed(coord), cell, row) for own, row in rows]
        cells = np.asarray(cell)
        finite = bool(np.isfinite(cells).all())
        half = half_widths(cells, self._charges.spacing) if finite else neighbors.sizes.half
        return CorrectedFlags(*flags, half, finite and bool(self._more_vectors(jnp.asarray(cells), neighbors.sizes)))

    def grow(self, capacity: CorrectedCapacity, flags: CorrectedFlags, margin: float) -> CorrectedCapacity:
        """A capacity that holds what was found missing.

        Raises:
            NonFiniteError, CapacityError: as :meth:`MovingSystem.grow`.
        """
        pairs = (("network", self.network), ("dipole", self.dipole))
        grown = {
            name: own.grow(getattr(capacity, name), getattr(flags, name), margin)
            for name, own in pairs
            if int(getattr(flags, name).bits)
        }
        return replace(capacity, **grown, sizes=widened(capacity.sizes, flags.half) if flags.grew else capacity.sizes)

    @property
    def _both(self) -> tuple[MovingSystem, MovingSystem]:
        return self.network, self.dipole

    def _more_vectors(self, cell: jax.Array, sizes: Sizes) -> jax.Array:
        """() bool: the sum over a cell has more vectors than there is room for."""
        return jnp.any(limits(cell, self._charges.spacing) > jnp.asarray(sizes.half)[None])


class _MovingDipoles(MovingSystem):
    """The structures of a dipole model."""

    output = DIPOLE

    def dipoles(
        self, coord: jax.Array, cell: jax.Array, neighbors: Neighbors
    ) -> tuple[jax.Array, jax.Array, Batch, Any]:
        """Coordinates (n_place, 3) next to those of the list, dipoles (n_place, 3) angstrom, the batch, and bits of what is wrong.

        Dipoles are differentiable by coordinates and cells.
        """
        coord = self._unwrapped(coord, cell, neighbors)
        kept, flags = self._checked(coord, cell, neighbors)
        disp = displacements(coord, cell, kept.frame, kept.index, kept.shift)
        fixed, expansion = jax.lax.stop_gradient((self.variables, neighbors.expansion))
        return (
            coord,
            atomic_outputs(self.model, fixed, Geometry(disp=disp), kept, expansion=expansion),
            kept,
            flags.bits,
        )


def moving_system(
    potential: Potential,
    atypes: Sequence[np.ndarray],
    pbc: np.ndarray,
    skin: float,
    inputs: Sequence[Mapping[str, Any]],
) -> MovingSystem | CorrectedMovingSystem:
    """Structures that move by a potential, its modifier included."""
    system = MovingSystem if potential.correction is None else CorrectedMovingSystem
    return system(potential, atypes, pbc, skin, inputs)


def _network(potential: Potential) -> Potential:
    """A potential without its modifier."""
    config = replace(potential.config, modifier=None)
    return Potential(config, potential.variables, conventions=potential.conventions, device=potential.device)


def _dipole_potential(correction: DipoleCharge) -> Potential:
    """The dipole model of a modifier."""
    config = correction.dipole_config
    return Potential(config, correction.variables, conventions=config.conventions, device=correction.device)
