"""One derivative: the energy with respect to a :class:`Geometry`, folded into force, virial and their atomic parts.

Conventions are those of ``dpjax.units``.  For one-hop models the derivative of one centre's energy is all in its own row, so energy
and gradient of a block of atoms are computed together while the block is in cache, and ``atom_virial`` costs nothing.  Models that
pass messages run for all atoms together; their ``atom_virial`` takes three more backward passes.

Of a dipole each component has such a derivative.  It is computed only where all is asked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch, Layout
from dpjax.config.fittings.outputs import ENERGY
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.facts import embedded_pairs
from dpjax.descriptors.neighborhood import nearest_distance
from dpjax.models.derived import require_curvature, require_derived
from dpjax.models.direct import predict_directly
from dpjax.models.geometry import Geometry
from dpjax.models.gradients import summed_gradient
from dpjax.models.hessian import require_energy, second_derivatives
from dpjax.models.spins import (
    atom_displacements,
    magnetic_forces,
    of_atoms,
    point_positions,
    spin_offsets,
)
from dpjax.models.standard import (
    StandardModel,
    atom_rows,
    batch_geometry,
    contributes,
    extra_rows,
    neighborhood,
    where_rows,
)
from dpjax.models.virials import moments_gradient, virial_shares, wrapped
from dpjax.nn.blocks import AS_SUITS, CPU_BLOCK, CPU_SERIES_BLOCK, Work, block_size, map_blocks
from dpjax.nn.chebyshev import Grid
from dpjax.nn.precision import with_all_digits

Variables = dict[str, Any]

RESOLVED = "resolved"  # output that says whether series stand for the networks to rounding
KEPT_ATOMS = 16384  # of a batch, whose activations (about 100 kB each) are kept for the backward pass


@with_all_digits
def atomic_outputs(
    model: StandardModel,
    variables: Variables,
    geometry: Geometry,
    batch: Batch,
    work: Work = AS_SUITS,
    expansion: Expansion | None = None,
) -> jax.Array:
    """Energies, or what else is predicted, of the atoms without derivatives, (n_atom, *output.shape); zero on padding.

    Arguments as for :func:`outputs_and_gradient`.
    """
    return _over_sections(model, variables, geometry, batch, work, expansion, with_gradient=False)


@with_all_digits
def outputs_and_gradient(
    model: StandardModel,
    variables: Variables,
    geometry: Geometry,
    batch: Batch,
    work: Work = AS_SUITS,
    expansion: Expansion | None = None,
) -> tuple[jax.Array, Geometry]:
    """Values of the atoms (n_atom, *output.shape) and the derivative of their sum with respect to ``geometry``.

    Args:
        model: a model whose atoms see only their own row of ``disp``.
        variables: its collections ``params`` and ``stats``.
        geometry: displacements of the batch.
        batch: the batch they belong to.
        work: how it is divided.
        expansion: what :func:`expand` made of the embedding networks; None: the networks themselves.

    Returns:
        The values, and the derivative: of an energy like ``geometry``; of a dipole with an axis for its components after that of
        the atoms.
    """
    values, gradient = _over_sections(model, variables, geometry, batch, work, expansion, with_gradient=True)
    return values, Geometry(disp=gradient)


def resolutions(model: StandardModel, variables: Variables, layout: Layout) -> tuple[Grid | None, ...]:
    """Values of ``grid`` to try one after another for batches of a layout, until ``resolved``; the last, None, always is."""
    return *model.apply(variables, layout, method=type(model).grids), None


@with_all_digits
def expand(model: StandardModel, variables: Variables, geometry: Geometry, batch: Batch, grid: Grid) -> Expansion:
    """The embedding networks as series that hold for every distance in a batch."""
    nearest = nearest_distance(geometry.disp, batch.count, batch.layout.nbrs)
    return model.apply(variables, nearest, grid, method=type(model).expand)


@with_all_digits
def atomic_features(
    model: StandardModel,
    variables: Variables,
    geometry: Geometry,
    batch: Batch,
    names: tuple[str, ...],
    work: Work = AS_SUITS,
    expansion: Expansion | None = None,
) -> dict[str, jax.Array]:
    """What the model knows of the atoms on the way to their values, (n_atom, dim) each; zero on padding.

    Args:
        names: any of :data:`dpjax.models.standard.FEATURES`.

    Other arguments as for :func:`outputs_and_gradient`.
    """
    method = partial(type(model).atomic_features, names=names)
    return _over_sections(model, variables, geometry, batch, work, expansion, with_gradient=False, method=method)


def _over_sections(model, variables, geometry, batch, work, expansion, *, with_gradient, method=None):
    """Run every type section of the batch in blocks; gradients are zero on padding because no energy there counts.

    Without series, blocks are computed again in the backward pass of a training step: that is cheaper than fetching the activations
    of all neighbours from memory again.  With series little is kept for each atom, so only very large batches do it.
    """
    layout, method = batch.layout, method or type(model).atomic_output
    with_series = model.tabulated or (expansion is not None and expansion.complete)
    recompute = not model.passes_messages and (not with_series or layout.n_atom > KEPT_ATOMS)
    pairs = embedded_pairs(model.config.descriptor, sum(layout.nbrs))
    results = []
    for t, (start, size) in enumerate(zip(layout.atom_start, layout.atoms, strict=False)):
        if not size:
            continue
        take = slice(start, start + size)
        fparam, aparam = extra_rows(batch, take)
        rows = atom_rows(model, batch, take)
        rows |= {"real": batch.atype[take] >= 0, "fparam": fparam, "aparam": aparam}
        run = _block_runner(model, variables, t, layout, work, with_gradient, expansion, method)
        largest = CPU_SERIES_BLOCK if with_series else CPU_BLOCK
        size_of_block = size if model.passes_messages else block_size(size, work.block, largest, pairs)
        run = jax.checkpoint(run) if recompute else run
        results.append(map_blocks(run, (geometry.disp[take], rows), size, size_of_block))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *results)


def _block_runner(model, variables, section, layout, work, with_gradient, expansion, method):
    """A function of one block's displacements and rows: values of its atoms, or these and the gradient of their sum."""

    def value(args):
        disp, rows = args
        view = neighborhood(model, section, disp, rows, layout.nbrs, work, layout.inner)
        own = model.apply(variables, view, rows["fparam"], rows["aparam"], expansion, method=method)
        return jax.tree.map(partial(where_rows, rows["real"]), own)

    def value_and_gradient(args):
        disp, rows = args

        def summed(disp):
            own = value((disp, rows))
            return jnp.sum(own, axis=0), own

        return summed_gradient(summed, disp)

    return value_and_gradient if with_gradient else value


def fold(
    gradient: Geometry, geometry: Geometry, batch: Batch, *, atomic: bool = False, moments: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Force, virial and, if ``atomic``, atomic virial from the derivative of the energy.

    Args:
        gradient: derivative of the summed energy, as :func:`outputs_and_gradient` gives it, or of a dipole.
        geometry: the point it was taken at.
        batch: the batch.
        atomic: add ``atom_virial``, which belongs to the atom that is moved.
        moments: of a model that passes messages, :func:`dpjax.models.virials.moments_gradient`.

    Returns:
        ``force`` (n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV, ``atom_virial`` (n_atom, 9) eV; of a dipole with an axis for
        its components after the first.  With spins also ``force_mag`` (n_atom, 3) eV per unit of spin and ``mask_mag`` (n_atom, 1);
        places of virtual atoms then are zero everywhere.
    """
    if gradient.disp.ndim > geometry.disp.ndim:
        axes = (1, None if moments is None else 1)
        each = jax.vmap(lambda *pulls: _folded(*pulls, geometry, batch, atomic), in_axes=axes, out_axes=1)
        return each(gradient.disp, moments)
    return _folded(gradient.disp, moments, geometry, batch, atomic)


def _folded(
    pull: jax.Array, moments: jax.Array | None, geometry: Geometry, batch: Batch, atomic: bool
) -> dict[str, jax.Array]:
    """:func:`fold` of one number's derivative by the displacements."""
    n_atom, n_frame = batch.layout.n_atom, batch.layout.frames
    disp = geometry.disp
    if batch.spin is not None:
        disp = atom_displacements(batch)
    out = {"force": _forces(pull, batch)}
    if atomic:
        out["atom_virial"] = _moved_virials(pull, moments, disp, batch)
    if batch.spin is not None:
        magnetic = magnetic_forces(out["force"], batch)
        out = {name: of_atoms(values, batch) for name, values in out.items()} | magnetic
    per_centre = -jnp.einsum("nka,nkb->nab", pull, disp).reshape(n_atom, 9)
    out["virial"] = jax.ops.segment_sum(per_centre, batch.frame, n_frame)
    return out


def _moved_virials(pull: jax.Array, moments: jax.Array | None, disp: jax.Array, batch: Batch) -> jax.Array:
    """(n_atom, 9) virials of the atoms, or virtual atoms, that are moved; ``disp`` is between atoms."""
    position = None if moments is None else wrapped_positions(batch)
    there, here = virial_shares(pull, disp, moments, position)
    moved = jax.ops.segment_sum(there.reshape(-1, 9), batch.index.reshape(-1), batch.layout.n_atom)
    return moved if here is None else moved + here


def wrapped_positions(batch: Batch) -> jax.Array:
    """(n_atom, 3) positions within the cell; of virtual atoms those of their atoms that are next to them once they are."""
    if batch.spin is None:
        return wrapped(batch.coord, batch.cell, batch.frame)
    return wrapped(point_positions(batch), batch.cell, batch.frame) - spin_offsets(batch)


def virial_moments(model: StandardModel, variables: Variables, geometry: Geometry, batch: Batch) -> jax.Array | None:
    """What the virials of atoms take beside :func:`outputs_and_gradient`: :func:`~dpjax.models.virials.moments_gradient` where
    messages pass, None in a one-hop model."""
    if not model.passes_messages:
        return None

    def values(disp: jax.Array) -> jax.Array:
        return atomic_outputs(model, variables, geometry.replace(disp=disp), batch)

    return moments_gradient(values, geometry.disp, wrapped_positions(batch))


def _forces(pull: jax.Array, batch: Batch) -> jax.Array:
    """(n_atom, 3) from the derivative by the displacements: each pulls at its centre and at its neighbour."""
    scattered = jax.ops.segment_sum(pull.reshape(-1, 3), batch.index.reshape(-1), batch.layout.n_atom)
    return jnp.sum(pull, axis=1) - scattered


@with_all_digits
def predict(
    model: StandardModel,
    variables: Variables,
    batch: Batch,
    *,
    force: bool = True,
    atomic: bool = False,
    hessian: int | None = None,
    work: Work = AS_SUITS,
    grid: Grid | None = None,
) -> dict[str, jax.Array]:
    """Everything the model says about a batch, under DeePMD's output names, on the batch's padded axes.

    Args:
        hessian: add second derivatives, with columns for so many atoms of a frame; None: leave them out.
        grid: one of :func:`resolutions`; with it the results are only right if ``resolved`` is true.

    Returns:
        ``energy`` (n_frame, 1) and ``atom_energy`` (n_atom,) eV; with ``force`` also ``force`` (n_atom, 3) eV/angstrom and
        ``virial`` (n_frame, 9) eV; with ``atomic`` also ``atom_virial`` (n_atom, 9) eV; with ``hessian`` also ``hessian`` (n_atom,
        9 * hessian) eV/angstrom^2, laid out as :func:`dpjax.models.hessian.second_derivatives` says; with ``grid`` also
        ``resolved`` (1,) bool.

        Models of other quantities give theirs (n_frame, *output.total_shape) and (n_atom, *output.shape) under the names of
        ``model.output``, ``mask`` (n_atom,), which is 1 for atoms that count, and their number ``counted`` (n_frame,).  Force,
        virial and atomic virial of dipoles come only with ``atomic``.

        With spins and ``force`` also ``force_mag`` (n_atom, 3) eV per unit of spin and ``mask_mag`` (n_atom, 1), which is 1 for
        atoms that have one.

        Models that give their forces directly have no virials; :func:`dpjax.models.direct.predict_directly` says what they have.

    Raises:
        ModelError: ``hessian`` of a model that predicts no energies, or whose forces are no derivatives of them.
    """
    if model.config.direct_forces:
        if hessian is not None:
            require_derived(model.config, "hessian")
        return predict_directly(model, variables, batch, work)
    output, geometry = model.output, batch_geometry(batch)
    expansion = None if grid is None else expand(model, variables, geometry, batch, grid)
    if output.differentiated and (atomic if output.shape else force):
        values, gradient = outputs_and_gradient(model, variables, geometry, batch, work, expansion)
        moments = virial_moments(model, variables, geometry, batch) if atomic else None
        out = fold(gradient, geometry, batch, atomic=atomic, moments=moments)
        out |= {name: jnp.zeros_like(out[name]) for name in out if model.leaves_virials and name.endswith("virial")}
    else:
        values, out = atomic_outputs(model, variables, geometry, batch, work, expansion), {}
    if hessian is not None:
        require_energy(output)
        require_curvature(model.config)

        def forces(disp: jax.Array) -> jax.Array:
            own = geometry.replace(disp=disp)
            found = _forces(outputs_and_gradient(model, variables, own, batch, work, expansion)[1].disp, batch)
            return found if batch.spin is None else of_atoms(found, batch)

        out["hessian"] = second_derivatives(forces, geometry.disp, batch, hessian)
    if expansion is not None:
        out[RESOLVED] = expansion.resolved[None]  # with an axis, along which outputs of several devices are joined
    total = jax.ops.segment_sum(values, batch.frame, batch.layout.frames).reshape(-1, *output.total_shape)
    if output is not ENERGY:
        out["mask"], out["counted"] = _counted(model, batch)
    if output.intensive:
        total = total / jnp.maximum(out["counted"], 1.0)[:, None]
    return {output.total: total, output.atomic: values, **out}


@with_all_digits
def predict_features(
    model: StandardModel,
    variables: Variables,
    batch: Batch,
    *,
    names: tuple[str, ...],
    work: Work = AS_SUITS,
    grid: Grid | None = None,
) -> dict[str, jax.Array]:
    """:func:`atomic_features` of a batch, on its padded axis.

    Returns:
        The arrays of ``names``; with ``grid`` also ``resolved`` (1,) bool, as :func:`predict` has it.
    """
    geometry = batch_geometry(batch)
    expansion = None if grid is None else expand(model, variables, geometry, batch, grid)
    out = atomic_features(model, variables, geometry, batch, names, work, expansion)
    return out if expansion is None else out | {RESOLVED: expansion.resolved[None]}


def _counted(model: StandardModel, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """(n_atom,) 1 for atoms that contribute, else 0; (n_frame,) how many do."""
    mask = contributes(model.config, jnp.asarray(batch.atype)).astype(float)
    return mask, jax.ops.segment_sum(mask, batch.frame, batch.layout.frames)
