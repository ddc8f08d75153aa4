"""Virials of single atoms: of an atom that is moved, the sum, over energies that it changes, of the derivative times the way from
the atom to the energy's owner.

In a one-hop model a displacement changes the energy of its centre only, which is the owner.  Where messages pass it changes those
of many atoms, and the sum over owners is a derivative of its own: of positions times energies.  Positions are those within the
cell, as in DeePMD-kit; so these virials, unlike their sum, depend on where in space a structure lies.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dpjax.geometry.cells import inverse3
from dpjax.models.gradients import summed_gradient


def wrapped(coord: jax.Array, cell: jax.Array, frame: jax.Array) -> jax.Array:
    """Of all periodic images of each atom the one in the cell, (n_atom, 3) angstrom; as it is in frames without one.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (n_frame, 3, 3) angstrom; zero where open.
        frame: (n_atom,) that an atom belongs to.
    """
    is_open = jnp.all(cell == 0.0, axis=(1, 2))
    full = jnp.where(is_open[:, None, None], jnp.eye(3, dtype=cell.dtype), cell)
    turns = jnp.floor(jnp.einsum("na,nab->nb", coord, inverse3(full)[frame]))
    turns = jnp.where(is_open[frame, None], 0.0, turns)
    return coord - jnp.einsum("na,nab->nb", turns, full[frame])


def moments_gradient(values: Callable[[jax.Array], jax.Array], disp: jax.Array, position: jax.Array) -> jax.Array:
    """Derivative by the displacements of the sum of positions times values.

    Args:
        values: displacements -> (n_atom, *number) of the atoms.
        disp: (n_atom, k, 3) angstrom.
        position: (n_atom, 3) angstrom.

    Returns:
        (n_atom, *number, k, 3, 3): by the first of the last two axes, of the sum with the second component of the positions.
    """

    def summed(disp: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = values(disp)
        return jnp.einsum("nb,n...->...b", position, own).reshape(-1), own

    own, gradient = summed_gradient(summed, disp)  # (n_atom, product of number and 3, k, 3)
    gradient = gradient.reshape(gradient.shape[0], *own.shape[1:], 3, *gradient.shape[2:])
    return jnp.moveaxis(gradient, own.ndim, -1)


def virial_shares(
    pull: jax.Array, disp: jax.Array, moments: jax.Array | None = None, position: jax.Array | None = None
) -> tuple[jax.Array, jax.Array | None]:
    """What each displacement adds to the virials of its neighbour and of its centre.

    Args:
        pull: (n_atom, k, 3) derivative of all energies by the displacements.
        disp: (n_atom, k, 3) angstrom.
        moments: (n_atom, k, 3, 3) of :func:`moments_gradient`; None: a one-hop model.
        position: (n_atom, 3) angstrom that it was made with.

    Returns:
        (n_atom, k, 9) of the neighbours and (n_atom, 9) of the centres, None in a one-hop model, whose centres have no share.
    """
    if moments is None:
        return -jnp.einsum("nka,nkb->nkab", pull, disp).reshape(*pull.shape[:2], 9), None
    there = moments - jnp.einsum("nka,nkb->nkab", pull, position[:, None] + disp)
    here = jnp.sum(jnp.einsum("nka,nb->nkab", pull, position) - moments, axis=1)
    return there.reshape(*pull.shape[:2], 9), here.reshape(-1, 9)
