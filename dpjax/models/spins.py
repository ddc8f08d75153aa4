"""Virtual atoms for spins inside a program: where they are, and what the derivative of the energy by displacements says of spins.

The virtual atom of an atom at r with spin S is at r + scale S.  With F the force on each point (minus the derivative by its
position), the force on the atom is F(atom) + F(virtual), the magnetic force -dE/dS is scale F(virtual), and the virial has the
positions of the atoms, because spins are not strained with the cell.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch
from dpjax.geometry.displacements import displacements


def atom_positions(batch: Batch) -> jax.Array:
    """(n_atom, 3) angstrom, positions of atoms, which stand at the places of their virtual atoms, too."""
    coord = jnp.asarray(batch.coord)
    return coord if batch.owner is None else coord[batch.owner]


def spin_offsets(batch: Batch) -> jax.Array:
    """(n_atom, 3) angstrom from the atoms to their virtual atoms; zero at places of atoms."""
    return jnp.asarray(batch.scale)[:, None] * batch.spin


def point_positions(batch: Batch) -> jax.Array:
    """(n_atom, 3) angstrom, positions of atoms and of virtual atoms."""
    return atom_positions(batch) if batch.owner is None else atom_positions(batch) + spin_offsets(batch)


def atom_displacements(batch: Batch) -> jax.Array:
    """(n_atom, k, 3) angstrom, displacements with the positions of atoms in place of those of their virtual atoms."""
    return displacements(atom_positions(batch), batch.cell, batch.frame, batch.index, batch.shift)


def of_atoms(values: jax.Array, batch: Batch) -> jax.Array:
    """Values (n_atom, ...) of points added up for atoms, at whose places they stand; zero elsewhere."""
    return jax.ops.segment_sum(values, batch.owner, batch.layout.n_atom)


def magnetic_forces(force: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """``force_mag`` (n_atom, 3), eV per unit of spin, and ``mask_mag`` (n_atom, 1), 1 for atoms with spin, of forces on points."""
    scale = jnp.asarray(batch.scale)[:, None]
    carries = of_atoms((scale != 0.0).astype(force.dtype), batch)
    return {"force_mag": of_atoms(scale * force, batch), "mask_mag": carries}
