"""From coordinates to displacements and back: the only place where cells and periodic images enter a model."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def displacements(coord: jax.Array, cell: jax.Array, frame: jax.Array, index: jax.Array, shift: jax.Array) -> jax.Array:
    """Neighbour minus centre for every slot of a neighbour table.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (n_frame, 3, 3) rows are the cell vectors, angstrom; anything where shift is zero.
        frame: (n_atom,) frame of each atom.
        index: (n_atom, n_nbr) neighbouring atom; any valid index in unused slots.
        shift: (n_atom, n_nbr, 3) integer multiples of the cell vectors added to the neighbour.

    Returns:
        (n_atom, n_nbr, 3) angstrom.
    """
    image = jnp.einsum("nks,nsd->nkd", shift.astype(coord.dtype), cell[frame])
    return coord[index] + image - coord[:, None, :]
