"""Second derivatives of the energy by the positions of atoms: forward mode over the forces, one direction after another.

A direction moves one atom of every frame of the batch at once along one axis, as frames do not feel each other.  So there are three
directions for each atom of the largest frame, whatever their number, and memory is that of a few directions.

With spins a virtual atom moves with its atom: the spins are held fixed.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch
from dpjax.config.fittings.outputs import ENERGY, AtomicOutput
from dpjax.errors import ModelError
from dpjax.nn.blocks import atoms_at_once


def require_energy(output: AtomicOutput) -> None:
    """Raises ModelError unless a model predicts energies: other outputs have no Hessian."""
    if output is not ENERGY:
        raise ModelError(
            f"a Hessian was asked for, but this model predicts {output.total}, not energies; leave hessian out"
        )


def second_derivatives(force: Callable[[jax.Array], jax.Array], disp: jax.Array, batch: Batch, most: int) -> jax.Array:
    """Second derivatives of the energies of the frames of a batch.

    It can be differentiated once more by what ``force`` depends on; what that needs is computed again in the backward pass.

    Args:
        force: of all atoms (n_atom, 3), eV/angstrom, from the displacements; with spins it includes that on virtual atoms.
        disp: (n_atom, n_nbr, 3) neighbour minus centre, angstrom.
        batch: the batch.
        most: atoms of a frame, at least as many as the largest has.

    Returns:
        (n_atom, 3 * most * 3) eV/angstrom^2: d2E / dx_a dy_b at ``[atom x, 3 * most * a + 3 * r + b]``, where y is the atom with
        the number r (:func:`ranks`) in the frame of x; zero where the frame has no such atom.
    """
    rank = ranks(batch)
    together = atoms_at_once(*disp.shape[:2], most)

    def columns(first: jax.Array) -> jax.Array:
        """(3 * together, n_atom, 3) change of the forces as the atoms from number ``first`` on move."""
        along = jnp.arange(3 * together)
        return jax.vmap(lambda i: _derivative(force, disp, batch, rank == first + i // 3, i % 3))(along)

    starts = jnp.arange(0, most, together)
    changes = jax.lax.map(jax.checkpoint(columns), starts).reshape(-1, *batch.coord.shape)[: 3 * most]
    return -jnp.moveaxis(changes, 0, 2).reshape(len(rank), 9 * most)


def _derivative(
    force: Callable[[jax.Array], jax.Array], disp: jax.Array, batch: Batch, moved: jax.Array, axis: jax.Array
) -> jax.Array:
    """Change of the forces, (n_atom, 3), as the atoms marked in ``moved`` (n_atom,) move along one axis."""
    velocity = (moved[:, None] & (jnp.arange(3) == axis)[None, :]).astype(disp.dtype)
    return jax.jvp(force, (disp,), (velocity[batch.index] - velocity[:, None, :],))[1]


def ranks(batch: Batch) -> jax.Array:
    """(n_atom,) number of each atom within its frame, counted along the atom axis of the batch; -1 on padding.

    So atoms are counted in the order that their frame has, without placeholders and, where a model has networks per type, sorted by
    type.  A virtual atom has the number of its atom.
    """
    natoms = jnp.asarray(batch.natoms)
    frame = jnp.where(jnp.asarray(batch.is_atom), jnp.asarray(batch.frame), len(natoms))
    order = jnp.argsort(frame, stable=True)
    start = jnp.concatenate([jnp.zeros(1, natoms.dtype), jnp.cumsum(natoms, dtype=natoms.dtype)])
    place = jnp.arange(len(frame), dtype=natoms.dtype)
    rank = jnp.zeros_like(place).at[order].set(place - start[frame[order]])
    rank = jnp.where(frame < len(natoms), rank, -1)
    return rank if batch.owner is None else rank[batch.owner]
