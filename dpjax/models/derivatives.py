"""One derivative: the energy with respect to a :class:`Geometry`, folded into force, virial and their atomic parts.

Conventions are those of ``dpjax.units``.  For one-hop models the derivative of one centre's energy is all in its own row, so energy
and gradient of a block of atoms are computed together while the block is in cache, and ``atom_virial`` costs nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch, Layout
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.facts import embedded_pairs
from dpjax.descriptors.neighborhood import nearest_distance
from dpjax.models.blocks import CPU_BLOCK, CPU_SERIES_BLOCK, block_size, map_blocks
from dpjax.models.geometry import Geometry
from dpjax.models.standard import StandardModel, atom_rows, batch_geometry, extra_rows, neighborhood
from dpjax.nn.chebyshev import Grid

Variables = dict[str, Any]

RESOLVED = "resolved"  # output that says whether series stand for the networks to rounding
KEPT_ATOMS = 16384  # of a batch, whose activations (about 100 kB each) are kept for the backward pass


def atom_energies(
    model: StandardModel,
    variables: Variables,
    geometry: Geometry,
    batch: Batch,
    block: int | None = None,
    expansion: Expansion | None = None,
) -> jax.Array:
    """Atomic energies without derivatives, (n_atom,) eV; zero on padding.  Arguments as for :func:`energy_and_gradient`."""
    return _over_sections(model, variables, geometry, batch, block, expansion, with_gradient=False)


def energy_and_gradient(
    model: StandardModel,
    variables: Variables,
    geometry: Geometry,
    batch: Batch,
    block: int | None = None,
    expansion: Expansion | None = None,
) -> tuple[jax.Array, Geometry]:
    """Atomic energies (n_atom,) and the derivative of their sum with respect to ``geometry``.

    Args:
        model: a model whose atoms see only their own row of ``disp``.
        variables: its collections ``params`` and ``stats``.
        geometry: displacements of the batch.
        batch: the batch they belong to.
        block: atoms per block, see :func:`dpjax.models.blocks.block_size`.
        expansion: what :func:`expand` made of the embedding networks; None: the networks themselves.
    """
    energy, gradient = _over_sections(model, variables, geometry, batch, block, expansion, with_gradient=True)
    return energy, Geometry(disp=gradient)


def resolutions(model: StandardModel, variables: Variables, layout: Layout) -> tuple[Grid | None, ...]:
    """Values of ``grid`` to try one after another for batches of a layout, until ``resolved``; the last, None, always is."""
    return *model.apply(variables, layout, method=StandardModel.grids), None


def expand(model: StandardModel, variables: Variables, geometry: Geometry, batch: Batch, grid: Grid) -> Expansion:
    """The embedding networks as series that hold for every distance in a batch."""
    nearest = nearest_distance(geometry.disp, batch.count, batch.layout.nbrs)
    return model.apply(variables, nearest, grid, method=StandardModel.expand)


def _over_sections(model, variables, geometry, batch, block, expansion, *, with_gradient):
    """Run every type section of the batch in blocks; gradients are zero on padding because no energy there counts.

    Without series, blocks are computed again in the backward pass of a training step: that is cheaper than fetching the activations
    of all neighbours from memory again.  With series little is kept for each atom, so only very large batches do it.
    """
    layout = batch.layout
    with_series = expansion is not None and expansion.complete
    recompute = not with_series or layout.n_atom > KEPT_ATOMS
    pairs = embedded_pairs(model.config.descriptor, sum(layout.nbrs))
    results = []
    for t, (start, size) in enumerate(zip(layout.atom_start, layout.atoms, strict=False)):
        if not size:
            continue
        take = slice(start, start + size)
        fparam, aparam = extra_rows(batch, take)
        rows = atom_rows(model, batch, take)
        rows |= {"real": batch.atype[take] >= 0, "fparam": fparam, "aparam": aparam}
        run = _block_runner(model, variables, t, layout, with_gradient, expansion)
        largest = CPU_SERIES_BLOCK if with_series else CPU_BLOCK
        size_of_block = block_size(size, block, largest, pairs)
        run = jax.checkpoint(run) if recompute else run
        results.append(map_blocks(run, (geometry.disp[take], rows), size, size_of_block))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *results)


def _block_runner(model, variables, section, layout, with_gradient, expansion):
    """A function of one block's displacements and rows: energies, or energies and their gradient."""

    def energies(disp, rows):
        view = neighborhood(model, section, disp, rows, layout.nbrs)
        inputs = rows["fparam"], rows["aparam"], expansion
        energy = model.apply(variables, view, *inputs, method=StandardModel.atom_energy)
        energy = jnp.where(rows["real"], energy, 0.0)
        return jnp.sum(energy), energy

    def value(args):
        return energies(*args)[1]

    def value_and_gradient(args):
        (_, energy), gradient = jax.value_and_grad(energies, has_aux=True)(*args)
        return energy, gradient

    return value_and_gradient if with_gradient else value


def fold(gradient: Geometry, geometry: Geometry, batch: Batch, *, atomic: bool = False) -> dict[str, jax.Array]:
    """Force, virial and, if ``atomic``, atomic virial from the derivative of the energy.

    Args:
        gradient: derivative of the summed energy, as :func:`energy_and_gradient` gives it.
        geometry: the point it was taken at.
        batch: the batch.
        atomic: add ``atom_virial``, which belongs to the atom that is moved.

    Returns:
        ``force`` (n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV, ``atom_virial`` (n_atom, 9) eV.
    """
    n_atom, n_frame = batch.layout.n_atom, batch.layout.frames
    pull = gradient.disp
    owner = batch.index.reshape(-1)
    scattered = jax.ops.segment_sum(pull.reshape(-1, 3), owner, n_atom)
    out = {"force": jnp.sum(pull, axis=1) - scattered}
    if atomic:
        pair = -jnp.einsum("nka,nkb->nkab", pull, geometry.disp).reshape(-1, 9)
        out["atom_virial"] = jax.ops.segment_sum(pair, owner, n_atom)
    per_centre = -jnp.einsum("nka,nkb->nab", pull, geometry.disp).reshape(n_atom, 9)
    out["virial"] = jax.ops.segment_sum(per_centre, batch.frame, n_frame)
    return out


def predict(
    model: StandardModel,
    variables: Variables,
    batch: Batch,
    *,
    force: bool = True,
    atomic: bool = False,
    block: int | None = None,
    grid: Grid | None = None,
) -> dict[str, jax.Array]:
    """Everything the model says about a batch, under DeePMD's output names, on the batch's padded axes.

    Args:
        grid: one of :func:`resolutions`; with it the results are only right if ``resolved`` is true.

    Returns:
        ``energy`` (n_frame, 1) and ``atom_energy`` (n_atom,) eV; with ``force`` also ``force`` (n_atom, 3) eV/angstrom and
        ``virial`` (n_frame, 9) eV; with ``atomic`` also ``atom_virial`` (n_atom, 9) eV; with ``grid`` also ``resolved`` (1,) bool.
    """
    geometry = batch_geometry(batch)
    expansion = None if grid is None else expand(model, variables, geometry, batch, grid)
    if force:
        energy, gradient = energy_and_gradient(model, variables, geometry, batch, block, expansion)
        out = fold(gradient, geometry, batch, atomic=atomic)
    else:
        energy, out = atom_energies(model, variables, geometry, batch, block, expansion), {}
    if expansion is not None:
        out[RESOLVED] = expansion.resolved[None]  # with an axis, along which outputs of several devices are joined
    total = jax.ops.segment_sum(energy, batch.frame, batch.layout.frames)
    return {"energy": total[:, None], "atom_energy": energy, **out}
