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

TOUCHING = 1e-15  # angstrom by which points on one place are set apart: far below any other rounding, and its square is no zero


def spin_offsets(batch: Batch) -> jax.Array:
    """(n_atom, 3) angstrom from the atoms to their virtual atoms; zero at places of atoms."""
    return jnp.asarray(batch.scale)[:, None] * batch.spin


def set_apart(disp: jax.Array) -> jax.Array:
    """Displacements (n_atom, k, 3) with a direction for pairs that have none: an atom and its virtual atom, where the spin is zero.

    The derivatives of models then are finite.  Such a pair pulls at nothing (:func:`without_touching`): its distance has a kink
    there, and zero is the mean of its slopes, which DeePMD-kit takes, too.
    """
    touching = jnp.sum(disp * disp, axis=-1, keepdims=True) == 0.0
    return jnp.where(touching, jnp.array([[[0.0, 0.0, TOUCHING]]], disp.dtype), disp)


def without_touching(pull: jax.Array, disp: jax.Array) -> jax.Array:
    """The derivative (n_atom, k, ...) by displacements (n_atom, k, 3) without that of pairs which were set apart."""
    touching = jnp.sum(disp * disp, axis=-1) <= 2.0 * TOUCHING**2
    return jnp.where(touching.reshape(*touching.shape, *(1,) * (pull.ndim - 2)), 0.0, pull)


def atom_displacements(batch: Batch) -> jax.Array:
    """(n_atom, k, 3) angstrom, displacements with the positions of atoms in place of those of their virtual atoms."""
    return displacements(batch.coord, batch.cell, batch.frame, batch.index, batch.shift)


def of_atoms(values: jax.Array, batch: Batch) -> jax.Array:
    """Values (n_atom, ...) of points added up for atoms, at whose places they stand; zero elsewhere."""
    return jax.ops.segment_sum(values, batch.owner, batch.layout.n_atom)


def magnetic_forces(force: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """``force_mag`` (n_atom, 3), eV per unit of spin, and ``mask_mag`` (n_atom, 1), 1 for atoms with spin, of forces on points."""
    scale = jnp.asarray(batch.scale)[:, None]
    carries = of_atoms((scale != 0.0).astype(force.dtype), batch)
    return {"force_mag": of_atoms(scale * force, batch), "mask_mag": carries}
