"""Programs of a model for one structure that is spread over devices: its list of neighbours, and what the model says.

A device holds the arrays of its slab: positions, neighbour table and all that networks make of it.  What it works on is a batch of
one frame like any other, whose neighbour indices also name received atoms.  Energies are those of own atoms; the derivative pulls
at received atoms as well, and these pulls travel back to the owners.  Where messages pass, energies of a slab depend on
displacements of others; every slab takes its derivative at the same time, and what it finds for received atoms travels back, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dpjax.batching.batch import Batch, Layout
from dpjax.config.fittings.outputs import ENERGY
from dpjax.descriptors.crowding import cuts
from dpjax.descriptors.neighborhood import nearest_distance
from dpjax.models.derivatives import atomic_outputs, outputs_and_gradient, virial_moments, wrapped_positions
from dpjax.models.geometry import Geometry
from dpjax.models.spread.division import SlabPlan
from dpjax.models.spread.halo import (
    NEAR_FULL,
    NOT_RESOLVED,
    SLABS,
    STALE,
    Received,
    SlabFlags,
    SlabList,
    make_list,
    moved,
    received_positions,
    returned,
    within_cutoff,
)
from dpjax.models.standard import StandardModel, contributes
from dpjax.models.virials import virial_shares
from dpjax.nn.chebyshev import Grid

OWN, COMMON = PartitionSpec(SLABS), PartitionSpec()


class SlabAtoms(NamedTuple):
    """What does not move: types and parameters of the own atoms of all slabs in a row."""

    atype: jax.Array  # (n_slab * n_own,) int32, -1 on padding
    aparam: jax.Array | None  # (n_slab * n_own, n)
    fparam: jax.Array | None  # (1, n)
    charge_spin: jax.Array | None  # (1, 2)
    first: jax.Array  # (1,) int32 type of the first atom of the structure, as it was given


class SpreadState(NamedTuple):
    """A list and all that belongs to it; what a loop on the devices carries along."""

    listed: SlabList
    atoms: SlabAtoms
    take: jax.Array  # (n_slab * n_own,) atom at each place; anything on padding
    place: jax.Array  # (n_atom,) place of each atom; -1 for placeholders
    variables: Any


_ATOMS = SlabAtoms(OWN, OWN, COMMON, COMMON, COMMON)
_LIST = SlabList(OWN, OWN, OWN, OWN, OWN, OWN, COMMON, COMMON)


def slab_mesh(devices: Any) -> Mesh:
    """The mesh of slabs, one on each device."""
    return Mesh(np.array(devices), (SLABS,))


class SpreadPrograms:
    """Compiled programs of a model on a mesh; one for each plan, resolution of series and set of outputs.

    Attributes:
        model: a model whose atoms see their neighbours, and of these what these saw.
        mesh: of slabs.
    """

    def __init__(self, model: StandardModel, mesh: Mesh) -> None:
        self.model, self.mesh = model, mesh
        self._cuts = cuts(model.config)
        self.make_list: Callable[..., SlabList] = jax.jit(self._make_list, static_argnames="plan")
        self.outputs: Callable[..., tuple] = jax.jit(
            self._outputs, static_argnames=("plan", "grid", "atomic", "relist")
        )
        self.step: Callable[..., tuple] = jax.jit(self._step, static_argnames=("plan", "grid"))

    @property
    def common(self) -> NamedSharding:
        """Of arrays that all devices have."""
        return NamedSharding(self.mesh, COMMON)

    @property
    def own(self) -> NamedSharding:
        """Of arrays with the own atoms of all slabs in a row."""
        return NamedSharding(self.mesh, OWN)

    def _mapped(self, fn: Callable, in_specs: Any, out_specs: Any) -> Callable:
        return jax.shard_map(fn, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    def _listed(self, plan: SlabPlan, atype: jax.Array, frac: jax.Array, cell: jax.Array) -> SlabList:
        return make_list(plan, atype, frac, cell, self._cuts, by_type=self.model.by_type)

    def _make_list(self, plan: SlabPlan, atype: jax.Array, frac: jax.Array, cell: jax.Array) -> SlabList:
        """The list of all slabs for fractions (n_slab * n_own, 3)."""
        return self._mapped(partial(self._listed, plan), (OWN, OWN, COMMON), _LIST)(atype, frac, cell)

    def _outputs(
        self,
        plan: SlabPlan,
        grid: Grid | None,
        atomic: bool,
        state: SpreadState,
        coord: jax.Array,
        cell: jax.Array,
        relist: bool = False,
    ) -> tuple[dict[str, jax.Array], SlabFlags, SpreadState]:
        """Everything the model says about a structure, in the order of its atoms.

        Args:
            plan, grid, atomic: sizes, resolution of the series, and whether to give what belongs to atoms.
            state: of the structure.
            coord: (n_atom, 3) angstrom.
            cell: (3, 3) angstrom.
            relist: make the list again where it no longer holds; otherwise a flag says so.

        Returns:
            Outputs as of :func:`dpjax.models.predict`; right only if the bits of the flags are 0.  The state to go on with.
        """

        def of_slab(variables, atoms, listed, coord, cell):
            own, frac, stale = moved(plan, listed, coord, cell)
            if relist:
                listed = jax.lax.cond(stale, lambda: self._listed(plan, atoms.atype, frac, cell), lambda: listed)
                stale = False
            out, resolved, near = self._of_slab(plan, grid, atomic, variables, atoms, listed, own, cell)
            bits = listed.flags.bits | jnp.where(resolved, 0, NOT_RESOLVED) | jnp.where(stale, STALE, 0)
            bits = bits | jnp.where(jnp.any(near > np.asarray(plan.near)), NEAR_FULL, 0)
            return out, listed.flags._replace(bits=bits, near=near), listed

        if not plan.periodic:
            cell = jnp.eye(3, dtype=coord.dtype)  # whatever was given: no image of an atom is anywhere
        specs = {name: OWN if name in self.per_atom else COMMON for name in self._names(atomic)}
        run = self._mapped(of_slab, (COMMON, _ATOMS, _LIST, OWN, COMMON), (specs, COMMON, _LIST))
        placed = jax.lax.with_sharding_constraint(coord[state.take], self.own)
        out, flags, listed = run(state.variables, state.atoms, state.listed, placed, cell)
        out = {name: _in_order(value, state.place) if name in self.per_atom else value for name, value in out.items()}
        return out, flags, state._replace(listed=listed)

    def _step(self, plan: SlabPlan, grid: Grid | None, state: SpreadState, coord: jax.Array, cell: jax.Array) -> tuple:
        """Energy (), force (n_atom, 3), virial (9,), flags and the next state; arguments as for :meth:`outputs`."""
        out, flags, state = self._outputs(plan, grid, False, state, coord, cell, relist=True)
        return out["energy"][0, 0], out["force"], out["virial"][0], flags, state

    @property
    def per_atom(self) -> tuple[str, ...]:
        """Outputs that every atom has."""
        return (self.model.output.atomic, "force", "atom_virial")

    def _names(self, atomic: bool) -> list[str]:
        output = self.model.output
        names = [output.total, output.atomic]
        if self._differentiates(atomic):
            names += ["force", "virial", *(["atom_virial"] if atomic else [])]
        return names

    def _differentiates(self, atomic: bool) -> bool:
        output = self.model.output
        return output.differentiated and (atomic or output is ENERGY)

    def _of_slab(self, plan, grid, atomic, variables, atoms, listed, own, cell):
        """Outputs of one slab: own rows of what belongs to atoms, sums over all slabs of the rest.

        Also whether series are fine enough, and (n_section,) int32 most neighbours of an atom of any slab within the cut-off.
        """
        model, output = self.model, self.model.output
        every = jnp.concatenate([own, received_positions(plan, listed.sent, own, cell)])
        image = jnp.einsum("nks,sd->nkd", listed.shift.astype(cell.dtype), cell)
        disp = every[listed.index] + image - own[:, None, :]
        listed, disp, near = within_cutoff(plan, listed, disp)
        geometry = Geometry(disp=disp)
        batch = slab_batch(plan, atoms, listed, own, cell)
        if model.passes_messages:
            batch = batch.replace(copies=Received(listed.sent, plan))
        expansion = None
        if grid is not None:
            nearest = -jax.lax.pmax(-nearest_distance(disp, listed.count, plan.near), SLABS)
            expansion = model.apply(variables, nearest, grid, method=type(model).expand)
        if self._differentiates(atomic):
            values, gradient = outputs_and_gradient(model, variables, geometry, batch, expansion=expansion)
            moments = virial_moments(model, variables, geometry, batch) if atomic else None
            out = self._folded(plan, listed, gradient.disp, moments, disp, batch, atomic)
        else:
            values, out = atomic_outputs(model, variables, geometry, batch, expansion=expansion), {}
        total = jax.lax.psum(jnp.sum(values, axis=0), SLABS).reshape(1, *output.total_shape)
        if output.intensive:
            counted = jnp.sum(contributes(model.config, atoms.atype).astype(total.dtype))
            total = total / jnp.maximum(jax.lax.psum(counted, SLABS), 1.0)
        resolved = True if expansion is None else expansion.resolved
        return {output.total: total, output.atomic: values, **out}, resolved, jax.lax.pmax(near, SLABS)

    def _folded(self, plan, listed, gradient, moments, disp, batch, atomic):
        """:func:`dpjax.models.fold` where some neighbours are copies of other slabs' atoms."""
        position = None if moments is None else wrapped_positions(batch)

        def fold(pull: jax.Array, moments: jax.Array | None) -> dict[str, jax.Array]:
            n_all = plan.n_own + plan.n_received

            def at_owners(values: jax.Array) -> jax.Array:
                """(n_own, n) from what each slot (n_own, n_nbr, n) gives its neighbour."""
                flat = values.reshape(-1, values.shape[-1])
                return returned(plan, listed.sent, jax.ops.segment_sum(flat, listed.index.reshape(-1), n_all))

            out = {"force": jnp.sum(pull, axis=1) - at_owners(pull)}
            if atomic:
                there, here = virial_shares(pull, disp, moments, position)
                out["atom_virial"] = at_owners(there) if here is None else at_owners(there) + here
            virial = -jnp.einsum("nka,nkb->ab", pull, disp).reshape(1, 9)
            return out | {"virial": jax.lax.psum(virial, SLABS)}

        if gradient.ndim > disp.ndim:
            fold = jax.vmap(fold, in_axes=(1, None if moments is None else 1), out_axes=1)
        return fold(gradient, moments)


def slab_batch(plan: SlabPlan, atoms: SlabAtoms, listed: SlabList, own: jax.Array, cell: jax.Array) -> Batch:
    """The own atoms of a slab as a batch of one frame; types are there for received atoms, too, which ``index`` may name."""
    return Batch(
        coord=own,
        cell=cell[None] if plan.periodic else jnp.zeros((1, 3, 3), cell.dtype),
        atype=listed.atype,
        frame=jnp.zeros(plan.n_own, jnp.int32),
        index=listed.index,
        shift=listed.shift,
        count=listed.count,
        natoms=jnp.sum(atoms.atype >= 0, dtype=jnp.int32)[None],
        first=atoms.first,
        fparam=atoms.fparam,
        aparam=atoms.aparam,
        charge_spin=atoms.charge_spin,
        layout=Layout(plan.atoms, plan.near, 1),
    )


def _in_order(values: jax.Array, place: jax.Array) -> jax.Array:
    """Rows of own atoms of all slabs in the order of the structure; zero for placeholders."""
    real = jnp.reshape(place >= 0, (-1, *(1,) * (values.ndim - 1)))
    return jnp.where(real, values[jnp.maximum(place, 0)], 0)
