"""The programs of an artifact: pure functions of weights and a padded structure, with every size a symbol.

Atoms come in sections, each as ``blocks x block`` places, so that whoever runs the program decides how many atoms are worked on
at once: few on a CPU, where a block stays in the cache, all of them on an accelerator.  Models with networks per type have one
section of atoms and one of neighbours for each type; others have one of each, and every atom says its type.

A section of neighbours is never wider than ``sel``: the list is cut before it gets here, so no sorting is compiled.  Only the
members of a hybrid, which may keep different numbers of neighbours, cut the list in the program; where some count types apart and
others do not, no ``sel`` bounds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dpjax.config.fittings import AtomicOutput
from dpjax.config.fittings.outputs import ENERGY
from dpjax.models import StandardModel
from dpjax.models.derivatives import summed_gradient
from dpjax.models.standard import contributes, neighborhood, table_rows, where_rows

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An entry point: every one gives the values of atoms and of frames."""

    name: str
    force: bool = False  # add force and virial
    atom_virial: bool = False  # add atom_virial


ENERGY_ENTRIES = (
    Entry("energy"),
    Entry("energy_force_virial", force=True),
    Entry("atomic", force=True, atom_virial=True),
)


def entries(output: AtomicOutput) -> tuple[Entry, ...]:
    """The entry points of a model with this output."""
    if output is ENERGY:
        return ENERGY_ENTRIES
    values = Entry("output")
    return (values, Entry("atomic", force=True, atom_virial=True)) if output.differentiated else (values,)


def flat_weights(variables: Any) -> dict[str, np.ndarray]:
    """Leaves of a nested tree of arrays under their path, ``params/descriptor/...``."""
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}


@dataclass(frozen=True)
class Symbols:
    """Sizes of a structure, as symbols of ``jax.export``; a section of ``sel`` 0 has no slots and no symbol."""

    frames: Any
    blocks: tuple[Any, ...]  # per section
    block: tuple[Any, ...]  # per section: atoms of each block
    nbrs: tuple[Any, ...]  # per section

    @classmethod
    def create(cls, sel: Sequence[int | None]) -> Symbols:
        """One scope for all.  Neighbours of a section are at most ``sel``, which keeps truncation out of the program, or any
        number where that is None."""
        wide = [t for t, keep in enumerate(sel) if keep is None or keep > 0]
        n = range(len(sel))
        names = ["frames", *(f"blocks_{t}" for t in n), *(f"block_{t}" for t in n), *(f"nbrs_{t}" for t in wide)]
        limits = [f"nbrs_{t} <= {sel[t]}" for t in wide if sel[t] is not None]
        by_name = dict(zip(names, export.symbolic_shape(", ".join(names), constraints=limits), strict=True))
        return cls(
            by_name["frames"],
            tuple(by_name[f"blocks_{t}"] for t in n),
            tuple(by_name[f"block_{t}"] for t in n),
            tuple(by_name.get(f"nbrs_{t}", 0) for t in n),
        )


def structure_shapes(model: StandardModel, sizes: Symbols) -> dict[str, Any]:
    """Shapes and dtypes of the second argument of every program; ``docs/artifact.md`` says what each array holds."""
    fitting = model.config.fitting_net
    n_section, width = model.n_section, sum(sizes.nbrs)

    def of(dtype, *shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    def section(blocks, block) -> Arrays:
        arrays = {
            "coord": of(jnp.float64, blocks, block, 3),
            "real": of(jnp.bool_, blocks, block),
            "frame": of(jnp.int32, blocks, block),
            "index": of(jnp.int32, blocks, block, width),
            "shift": of(jnp.int16, blocks, block, width, 3),
            "count": of(jnp.int32, blocks, block, n_section),
        }
        if not model.by_type:
            arrays["type"] = of(jnp.int32, blocks, block)
        if fitting.numb_aparam:
            arrays["aparam"] = of(jnp.float64, blocks, block, fitting.numb_aparam)
        return arrays

    shapes = {
        "atoms": [section(*pair) for pair in zip(sizes.blocks, sizes.block, strict=True)],
        "slots": [of(jnp.int8, size) for size in sizes.nbrs],  # contents unused: they tell the widths of the sections
        "cell": of(jnp.float64, sizes.frames, 3, 3),
    }
    if model.takes_first:
        shapes["first"] = of(jnp.int32, sizes.frames)
    if fitting.numb_fparam:
        shapes["fparam"] = of(jnp.float64, sizes.frames, fitting.numb_fparam)
    return shapes


def export_entry(model: StandardModel, variables: Any, entry: Entry, platforms: Sequence[str]) -> export.Exported:
    """Lower one entry point for all platforms; call it with ``jax.enable_x64`` on.

    The program takes ``(weights, structure)``: the leaves of ``variables`` by path, and what :func:`structure_shapes` says.
    """
    weights = flat_weights(variables)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    structure = structure_shapes(model, Symbols.create(model.sel))
    treedef = jax.tree.structure(variables)
    order = list(weights)  # of the leaves; a dictionary handed to a program comes back sorted

    def program(weights: Arrays, structure: Arrays) -> Arrays:
        tree = jax.tree.unflatten(treedef, [weights[name] for name in order])
        return evaluate(model, tree, structure, entry)

    with jax.default_matmul_precision("highest"):  # accelerators would multiply float32 with fewer digits
        return export.export(jax.jit(program), platforms=tuple(platforms))(shapes, structure)


def evaluate(model: StandardModel, variables: Any, structure: Arrays, entry: Entry) -> Arrays:
    """Outputs of an entry point on the padded axes of ``structure``; zero on padding.

    Returns:
        ``energy`` (frames, 1) and ``atom_energy`` (n_atom,) eV, ``force`` (n_atom, 3) eV/angstrom, ``virial`` (frames, 9) and
        ``atom_virial`` (n_atom, 9) eV, with ``n_atom`` the places of all sections in a row.  Models of other quantities give theirs
        (frames, *output.total_shape) and (n_atom, *output.shape); derivatives of dipoles have an axis for the components after the
        first.
    """
    output, sections = model.output, structure["atoms"]
    names = ("coord", "frame") if model.by_type else ("coord", "frame", "type")
    every = {name: jnp.concatenate([_joined(atoms[name]) for atoms in sections]) for name in names}
    moved = _zero_sums(every["coord"].shape[0], output, entry)
    rows = []
    for section, atoms in enumerate(sections):
        run = _block_program(model, variables, structure, every, section, entry)
        moved, out = jax.lax.scan(run, moved, atoms)
        rows.append(jax.tree.map(_joined, out))
    per_atom = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)

    def summed(name: str) -> jax.Array:
        return jax.ops.segment_sum(per_atom[name], every["frame"], structure["cell"].shape[0])

    total = summed("values")
    if output.intensive:
        total = total / jnp.maximum(summed("counted"), 1.0)[:, None]
    result = {output.total: total if output.shape else total[:, None], output.atomic: per_atom["values"]}
    if entry.force:
        result["force"] = per_atom["pull"] + moved["force"]
        result["virial"] = summed("virial")
    if entry.atom_virial:
        result["atom_virial"] = moved["atom_virial"]
    return result


def _joined(array: jax.Array) -> jax.Array:
    """(blocks, block, ...) as (blocks * block, ...)."""
    return jnp.reshape(array, (array.shape[0] * array.shape[1], *array.shape[2:]))


def _zero_sums(n_atom: Any, output: AtomicOutput, entry: Entry) -> Arrays:
    """What blocks add up on the atoms that are neighbours: arrays (n_atom, *output.shape, 3 or 9)."""
    sums = {"force": 3} if entry.force else {}
    sums |= {"atom_virial": 9} if entry.atom_virial else {}
    return {name: jnp.zeros((n_atom, *output.shape, size), jnp.float64) for name, size in sums.items()}


def _block_program(model, variables, structure, every, section, entry):
    """One step of a scan over the blocks of a section: its rows, and its share of what neighbours receive.

    The share is added up while the block is at hand, so that nothing of the size of the neighbour list is kept.  ``every`` holds
    arrays of all sections in a row, which ``index`` refers to.
    """
    coord, number = every["coord"], model.output.shape
    nbrs = tuple(slots.shape[0] for slots in structure["slots"])

    def run(moved, atoms):
        image = jnp.einsum("nks,nsd->nkd", atoms["shift"].astype(coord.dtype), structure["cell"][atoms["frame"]])
        disp = coord[atoms["index"]] + image - atoms["coord"][:, None, :]
        fparam = structure["fparam"][atoms["frame"]] if "fparam" in structure else None
        own = {**atoms, "atype": atoms.get("type")}
        rows = table_rows(model, own, every.get("type"), structure.get("first"))

        def values(disp):
            view = neighborhood(model, section, disp, rows, nbrs)
            found = model.apply(variables, view, fparam, atoms.get("aparam"), method=StandardModel.atomic_output)
            found = where_rows(atoms["real"], found)
            return jnp.sum(found, axis=0), found

        out = {"counted": _counted(model, section, atoms)} if model.output.intensive else {}
        if not entry.force:
            return moved, out | {"values": values(disp)[1]}
        found, gradient = summed_gradient(values, disp)
        pull = jnp.moveaxis(gradient, 1, 2) if number else gradient  # (n, k, *number, 3)
        virial = -jnp.einsum("nk...a,nkb->n...ab", pull, disp).reshape(-1, *number, 9)
        moved = {**moved, "force": moved["force"].at[atoms["index"]].add(-pull)}
        if entry.atom_virial:
            pair = -jnp.einsum("nk...a,nkb->nk...ab", pull, disp).reshape(*atoms["index"].shape, *number, 9)
            moved["atom_virial"] = moved["atom_virial"].at[atoms["index"]].add(pair)
        return moved, out | {"values": found, "pull": jnp.sum(pull, axis=1), "virial": virial}

    return run


def _counted(model: StandardModel, section: int, atoms: Arrays) -> jax.Array:
    """1 for the atoms of a block that contribute, else 0."""
    types = jnp.full_like(atoms["frame"], section) if model.by_type else atoms["type"]
    return (atoms["real"] & contributes(model.config, types)).astype(jnp.float64)
