"""The program of a modifier: electrostatics of one structure, from the dipole model that says where Wannier centroids are.

``dpjax.models.dipole_charge`` says what is computed.  Here the dipole model runs twice, block by block: once for the dipoles and
once, when the derivatives by these are known, for what they push on.  So nothing of the size of the neighbour list is kept.  The
reciprocal vectors are three arrays of integers whose lengths are symbols: whoever runs the program gives as many as the cell needs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dpjax.export.points import all_points, centres, joined, value_of_type
from dpjax.export.program import Arrays, block_values
from dpjax.models import StandardModel
from dpjax.models.dipole_charge import Charges
from dpjax.nn.ewald import energy_over


def correction(model: StandardModel, variables: Any, structure: Arrays, charges: Charges) -> Arrays:
    """Energy, force and virial of the charges of one frame.

    Args:
        model, variables: the dipole model.
        structure: one frame, with the arrays ``vectors``.
        charges: by the types of the dipole model.

    Returns:
        ``energy`` (1, 1) eV, ``force`` (n_atom, 3) eV/angstrom and ``virial`` (1, 9) eV, with ``n_atom`` the places of all
        sections in a row.
    """
    every = all_points(model, structure["atoms"])
    sections = centres(model, structure, every)
    coord, cell = every["coord"], structure["cell"][0]
    dipole = jnp.concatenate([_dipoles(model, variables, structure, every, t, own) for t, own in enumerate(sections)])
    own, theirs = (
        jnp.concatenate([joined(value_of_type(model, values, t, atoms)) for t, atoms in enumerate(sections)])
        for values in (charges.atoms, charges.centroids)
    )

    def energy(coord: jax.Array, dipole: jax.Array, cell: jax.Array) -> jax.Array:
        places = jnp.concatenate([coord, coord + dipole])
        options = {"beta": charges.beta, "spacing": charges.spacing}
        return energy_over(places, jnp.concatenate([own, theirs]), cell, tuple(structure["vectors"]), **options)

    value, (by_coord, by_dipole, by_cell) = jax.value_and_grad(energy, argnums=(0, 1, 2))(coord, dipole, cell)
    force, virial = _through_dipoles(model, variables, structure, every, sections, by_dipole)
    strain = by_coord.T @ coord + by_cell.T @ cell
    return {
        "energy": value[None, None],
        "force": force - by_coord,
        "virial": (virial - strain.reshape(9))[None],
    }


def _dipoles(
    model: StandardModel, variables: Any, structure: Arrays, every: Arrays, section: int, atoms: Arrays
) -> jax.Array:
    """(n, 3) angstrom of the atoms of a section."""

    def block(atoms: Arrays) -> jax.Array:
        disp, values = block_values(model, variables, structure, every, section, atoms)
        return values(disp)

    return joined(jax.lax.map(block, atoms))


def _through_dipoles(
    model: StandardModel, variables: Any, structure: Arrays, every: Arrays, sections: list[Arrays], by_dipole: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Forces (n_atom, 3) and virial (9,) of an energy whose derivatives by the dipoles are ``by_dipole`` (n_atom, 3)."""
    moved, pulls, virial, start = jnp.zeros_like(every["coord"]), [], jnp.zeros(9), 0
    for section, atoms in enumerate(sections):
        shape = atoms["real"].shape
        n = shape[0] * shape[1]
        along = jnp.reshape(jax.lax.dynamic_slice_in_dim(by_dipole, start, n), (*shape, 3))
        start = start + n

        def block(carry: tuple[jax.Array, jax.Array], atoms: Arrays, section: int = section) -> tuple[Any, jax.Array]:
            moved, virial = carry
            disp, values = block_values(model, variables, structure, every, section, atoms)
            pull = jax.grad(lambda disp: jnp.sum(values(disp) * atoms["along"]))(disp)  # (n, k, 3)
            virial = virial - jnp.einsum("nka,nkb->ab", pull, disp).reshape(9)
            return (moved.at[atoms["index"]].add(-pull), virial), jnp.sum(pull, axis=1)

        (moved, virial), own = jax.lax.scan(block, (moved, virial), {**atoms, "along": along})
        pulls.append(joined(own))
    return jnp.concatenate(pulls) + moved, virial
