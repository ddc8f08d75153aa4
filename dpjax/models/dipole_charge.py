"""Deep potential with long range (DPLR): electrostatics of atoms and Wannier centroids, as a correction to a model of short range.

A dipole model says where the centroid of an atom's valence electrons is, c_i = x_i + p_i.  Atoms and centroids carry fixed
charges, smeared to Gaussians, and E_c is the Ewald energy of all of them (:mod:`dpjax.nn.ewald`).  Forces and virial are the exact
derivatives of E_c by coordinates and cell, through the dipole model too, from one backward pass.  Zhang et al., J. Chem. Phys. 156,
124107 (2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.batching.batch import Batch
from dpjax.batching.ladder import round_up
from dpjax.models.derivatives import RESOLVED, Variables, atomic_outputs, expand, fold
from dpjax.models.geometry import Geometry
from dpjax.models.standard import StandardModel, batch_geometry
from dpjax.nn.blocks import AS_SUITS, Work
from dpjax.nn.chebyshev import Grid
from dpjax.nn.ewald import Half, half_widths, reciprocal_energy
from dpjax.nn.particle_mesh import Mesh, mesh_energy, mesh_points
from dpjax.nn.precision import with_all_digits

DIRECT = 2.5e9  # charges times vectors up to which the direct sum is faster than the mesh (benchmarks/ewald.py)


@dataclass(frozen=True)
class Charges:
    """What carries charge.

    Attributes:
        atoms: of each type of the dipole model, elementary charges.
        centroids: of the centroid of each type; 0 for types without.
        beta: inverse width of the smeared charges, 1/angstrom.
        spacing: decides which reciprocal vectors are summed, angstrom.
    """

    atoms: tuple[float, ...]
    centroids: tuple[float, ...]
    beta: float
    spacing: float


@dataclass(frozen=True, order=True)
class Sizes:
    """Static sizes of the sum.

    Attributes:
        most: atoms of a frame at most.
        half: vectors in each direction, at least those of every cell.
        mesh: points of the mesh; None: the direct sum.
    """

    most: int
    half: Half
    mesh: Mesh | None = None


def sizes_of(cells: np.ndarray, atoms: int, spacing: float, mesh: bool | None = None) -> Sizes:
    """Sizes for frames with these cells, from a coarse ladder so that programs stay few; on the host.

    Args:
        cells: (n_frame, 3, 3) angstrom.
        atoms: of the largest frame.
        spacing: of :class:`Charges`.
        mesh: take the mesh or the direct sum; None: what is faster.
    """
    half = tuple(round_up(h) for h in half_widths(cells, spacing))
    most = round_up(atoms)
    vectors = float(np.prod([2 * h + 1 for h in half]))
    by_mesh = 2 * most * vectors > DIRECT if mesh is None else mesh
    return Sizes(most, half, mesh_points(half) if by_mesh else None)


def widened(sizes: Sizes, half: Half) -> Sizes:
    """The same program with room for at least ``half`` vectors."""
    wider = tuple(max(own, round_up(h)) for own, h in zip(sizes.half, half, strict=True))
    return Sizes(sizes.most, wider, None if sizes.mesh is None else mesh_points(wider))


@with_all_digits
def predict_correction(
    model: StandardModel,
    variables: Variables,
    batch: Batch,
    *,
    charges: Charges,
    sizes: Sizes,
    work: Work = AS_SUITS,
    grid: Grid | None = None,
) -> dict[str, jax.Array]:
    """Energy, force and virial of the electrostatics of a batch.

    Args:
        model: the dipole model.
        variables: of it.
        batch: of periodic frames, whose types are those of the dipole model.
        charges, sizes: of the sum.
        work: how that of the model is divided.
        grid: resolution of the series that stand for embedding networks; None: the networks themselves.

    Returns:
        ``energy`` (n_frame,) eV, ``force`` (n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV, on the padded axes of the batch;
        with ``grid`` also ``resolved`` (1,) bool.
    """
    geometry = batch_geometry(batch)
    expansion = None if grid is None else expand(model, variables, geometry, batch, grid)

    def dipoles(disp: jax.Array) -> jax.Array:
        return atomic_outputs(model, variables, geometry.replace(disp=disp), batch, work, expansion)

    dipole, pull_back = jax.vjp(dipoles, geometry.disp)
    coord, cell = jnp.asarray(batch.coord), _cells(batch)

    def summed(coord: jax.Array, dipole: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
        energy = charge_energies(coord, dipole, cell, batch, charges, sizes)
        return jnp.sum(energy), energy

    (by_coord, by_dipole, by_cell), energy = jax.grad(summed, argnums=(0, 1, 2), has_aux=True)(coord, dipole, cell)
    through = fold(Geometry(disp=pull_back(by_dipole)[0]), geometry, batch)
    moments = jnp.einsum("na,nb->nab", by_coord, coord).reshape(-1, 9)
    own = jax.ops.segment_sum(moments, batch.frame, batch.layout.frames)
    own = own + jnp.einsum("fka,fkb->fab", by_cell, cell).reshape(-1, 9)
    out = {"energy": energy, "force": through["force"] - by_coord, "virial": through["virial"] - own}
    return out if expansion is None else out | {RESOLVED: expansion.resolved[None]}


def _cells(batch: Batch) -> jax.Array:
    """(n_frame, 3, 3) cells; those of padding frames are as good as any, so that nothing is divided by 0."""
    there = jnp.asarray(batch.natoms) > 0
    return jnp.where(there[:, None, None], jnp.asarray(batch.cell), jnp.eye(3)[None])


@with_all_digits
def charge_energies(
    coord: jax.Array, dipole: jax.Array, cell: jax.Array, batch: Batch, charges: Charges, sizes: Sizes
) -> jax.Array:
    """Ewald energy of each frame; differentiable by coordinates, dipoles and cells.

    Args:
        coord: (n_atom, 3) angstrom, any images.
        dipole: (n_atom, 3) angstrom, from an atom to its centroid.
        cell: (n_frame, 3, 3) angstrom; no zeros, also of padding.
        batch: whose types and frames are used, not its coordinates and cells.
        charges, sizes: of the sum.

    Returns:
        (n_frame,) eV.
    """
    rows, real = _rows_of_frames(batch, sizes.most)
    types = jnp.maximum(jnp.asarray(batch.atype), 0)[rows]
    own, theirs = (
        jnp.where(real, jnp.asarray(values, coord.dtype)[types], 0.0) for values in (charges.atoms, charges.centroids)
    )
    atoms = coord[rows]
    places = jnp.concatenate([atoms, atoms + dipole[rows].astype(coord.dtype)], axis=1)
    options = {"beta": charges.beta, "spacing": charges.spacing}

    def energy(frame: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        if sizes.mesh is None:
            return reciprocal_energy(*frame, half=sizes.half, **options)
        return mesh_energy(*frame, mesh=sizes.mesh, **options)

    return jax.lax.map(energy, (places, jnp.concatenate([own, theirs], axis=1), cell))


def _rows_of_frames(batch: Batch, most: int) -> tuple[jax.Array, jax.Array]:
    """(n_frame, most) places of each frame's atoms on the atom axis, and which of them there are."""
    frames = jnp.where(jnp.asarray(batch.atype) >= 0, jnp.asarray(batch.frame), batch.layout.frames)
    order = jnp.argsort(frames, stable=True)
    natoms = jnp.asarray(batch.natoms)
    number = jnp.arange(most)[None, :]
    place = (jnp.cumsum(natoms) - natoms)[:, None] + number
    return order[jnp.minimum(place, len(order) - 1)], number < natoms[:, None]
