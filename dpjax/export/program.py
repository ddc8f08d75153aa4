"""The programs of an artifact: pure functions of weights and a padded structure, with every size a symbol.

Atoms come in sections, each as ``blocks x block`` places, so that whoever runs the program decides how many atoms are worked on
at once: few on a CPU, where a block stays in the cache, all of them on an accelerator.  Models with networks per type have one
section of atoms and one of neighbours for each type; others have one of each, and every atom says its type.

A section of neighbours is never wider than ``sel``: the list is cut before it gets here, so no sorting is compiled.  Only the
members of a hybrid, which may keep different numbers of neighbours, cut the list in the program; where some count types apart and
others do not, no ``sel`` bounds it.  Nor does one bound the lists of the entry point that finds neighbours itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dpjax.config import ModelConfig
from dpjax.config.fittings.outputs import ENERGY
from dpjax.export.listing import lister, search_shapes
from dpjax.export.points import PARTNERS, all_points, centres, joined, magnetic_forces, of_atoms, point_sections
from dpjax.models import StandardModel, require_curvature
from dpjax.models.fragments import fragments_of_frames
from dpjax.models.gradients import summed_gradient
from dpjax.models.hessian import require_energy
from dpjax.models.standard import contributes, neighborhood, table_rows, where_rows
from dpjax.models.virials import moments_gradient, virial_shares, wrapped

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An entry point: every one gives the values of atoms and of frames."""

    name: str
    force: bool = False  # add force and virial
    atom_virial: bool = False  # add atom_virial
    hessian: bool = False  # add hessian
    search: bool = False  # find the neighbours
    charges: bool = False  # electrostatics of atoms and centroids, in the place of the dipoles that say where these are


ENERGY_ENTRIES = (
    Entry("energy"),
    Entry("energy_force_virial", force=True),
    Entry("atomic", force=True, atom_virial=True),
)
HESSIAN = Entry("hessian", force=True, hessian=True)
CORRECTION = Entry("correction", charges=True)


def entries(config: ModelConfig, *, hessian: bool = False) -> tuple[Entry, ...]:
    """The entry points of a model.

    Args:
        hessian: add that of second derivatives.

    Raises:
        ModelError: these were asked for and the model predicts no energy, or its forces are no derivatives.
    """
    output = config.fitting_net.output
    if hessian:
        require_energy(output)
        require_curvature(config)
    found = Entry("from_coordinates", force=output is ENERGY, search=True)
    if config.direct_forces:
        return Entry("energy"), Entry("output", force=True), found
    if output is ENERGY:
        # the energy of a modifier has no shares of atoms
        own = [entry for entry in ENERGY_ENTRIES if not (entry.atom_virial and config.modifier)]
        return (*own, found, *((HESSIAN,) if hessian else ()))
    values = Entry("output")
    return (values, found, *((Entry("atomic", force=True, atom_virial=True),) if output.differentiated else ()))


def flat_weights(variables: Any) -> dict[str, np.ndarray]:
    """Leaves of a nested tree of arrays under their path, ``params/descriptor/...``."""
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}


@dataclass(frozen=True)
class Symbols:
    """Sizes of a structure, as symbols of ``jax.export`` or numbers; a section of ``sel`` 0 has no slots and no symbol."""

    frames: Any
    blocks: tuple[Any, ...]  # per section
    block: tuple[Any, ...]  # per section: atoms of each block
    nbrs: tuple[Any, ...]  # per section
    bins: Any  # the last five have a meaning for entry points that need them only
    stencil: Any
    rooms: tuple[Any, ...]  # per section
    columns: Any
    vectors: tuple[Any, ...] = ()  # per direction

    @classmethod
    def create(cls, model: StandardModel, entry: Entry) -> Symbols:
        """One scope for all.  Neighbours of a section are at most ``sel``, which keeps truncation out of the program, or any
        number where that is None or the program finds them itself.  Models that pass messages have one block."""
        one_block, n, own = model.passes_messages, range(model.n_section), range(model.n_atom_section)
        bounds = [0 if t in absent_sections(model) else None if entry.search else model.sel[t] for t in n]
        wide = [t for t in n if bounds[t] is None or bounds[t] > 0]
        names = ["bins", "stencil", "columns", *(f"room_{t}" for t in n), *(f"vectors_{d}" for d in range(3))]
        names += [*(f"blocks_{t}" for t in own if not one_block)]
        names += ["frames", *(f"block_{t}" for t in own), *(f"nbrs_{t}" for t in wide)]
        limits = [f"nbrs_{t} <= {bounds[t]}" for t in wide if bounds[t] is not None]
        by_name = dict(zip(names, export.symbolic_shape(", ".join(names), constraints=limits), strict=True))
        return cls(
            1 if entry.search or entry.charges else by_name["frames"],
            tuple(1 if one_block else by_name[f"blocks_{t}"] for t in own),
            tuple(by_name[f"block_{t}"] for t in own),
            tuple(by_name.get(f"nbrs_{t}", 0) for t in n),
            by_name["bins"],
            by_name["stencil"],
            tuple(by_name[f"room_{t}"] for t in n),
            by_name["columns"],
            tuple(by_name[f"vectors_{d}"] for d in range(3)),
        )


def absent_sections(model: StandardModel) -> tuple[int, ...]:
    """Sections of neighbours that are never there: virtual atoms of types without spin."""
    scale = model.config.virtual_scale if model.by_type else ()
    return tuple(len(scale) + t for t, length in enumerate(scale) if length == 0.0)


def structure_shapes(model: StandardModel, sizes: Symbols, entry: Entry) -> dict[str, Any]:
    """Shapes and dtypes of the second argument of a program; ``docs/artifact.md`` says what each array holds."""
    fitting = model.config.fitting_net
    n_section, width = model.n_section, sum(sizes.nbrs)

    def of(dtype, *shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    def listed(*places) -> Arrays:
        return {
            "index": of(jnp.int32, *places, width),
            "shift": of(jnp.int16, *places, width, 3),
            "count": of(jnp.int32, *places, n_section),
        }

    def section(blocks, block) -> Arrays:
        arrays = {
            "coord": of(jnp.float64, blocks, block, 3),
            "real": of(jnp.bool_, blocks, block),
        }
        if not entry.search:
            arrays |= {"frame": of(jnp.int32, blocks, block), **listed(blocks, block)}
        if model.takes_spins:
            arrays["spin"] = of(jnp.float64, blocks, block, 3)
        if entry.hessian:
            arrays["number"] = of(jnp.int32, blocks, block)
        if not model.by_type:
            arrays["type"] = of(jnp.int32, blocks, block)
        if fitting.numb_aparam:
            arrays["aparam"] = of(jnp.float64, blocks, block, fitting.numb_aparam)
        return arrays

    places = list(zip(sizes.blocks, sizes.block, strict=True))
    shapes = {
        "atoms": [section(*pair) for pair in places],
        "slots": [of(jnp.int8, size) for size in sizes.nbrs],  # contents unused: they tell the widths of the sections
        "cell": of(jnp.float64, sizes.frames, 3, 3),
    }
    if entry.search:
        shapes |= search_shapes(n_section, sizes.bins, sizes.stencil, sizes.rooms)
    elif model.takes_spins and model.passes_messages:
        shapes[PARTNERS] = [listed(*pair) for pair in places]
    if entry.hessian:
        shapes["columns"] = of(jnp.int8, sizes.columns)
    if entry.charges:
        shapes["vectors"] = [of(jnp.int32, size) for size in sizes.vectors]
    if model.takes_first:
        shapes["first"] = of(jnp.int32, sizes.frames)
    for name in ("fparam", "charge_spin"):
        if size := model.config.inputs.get(name):
            shapes[name] = of(jnp.float64, sizes.frames, size)
    return shapes


def export_entry(
    model: StandardModel, variables: Any, entry: Entry, platforms: Sequence[str], outputs: Callable | None = None
) -> export.Exported:
    """Lower one entry point for all platforms; call it with ``jax.enable_x64`` on.

    The program takes ``(weights, structure)``: the leaves of ``variables`` by path, and what :func:`structure_shapes` says.

    Args:
        outputs: what it gives, of model, variables and structure; None: :func:`evaluate`.
    """
    weights = flat_weights(variables)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    sizes = Symbols.create(model, entry)
    structure = structure_shapes(model, sizes, entry)
    treedef = jax.tree.structure(variables)
    order = list(weights)  # of the leaves; a dictionary handed to a program comes back sorted

    def program(weights: Arrays, structure: Arrays) -> Arrays:
        tree = jax.tree.unflatten(treedef, [weights[name] for name in order])
        return evaluate(model, tree, structure, entry) if outputs is None else outputs(model, tree, structure)

    with jax.default_matmul_precision("highest"):  # accelerators would multiply float32 with fewer digits
        return export.export(jax.jit(program), platforms=tuple(platforms))(shapes, structure)


def evaluate(model: StandardModel, variables: Any, structure: Arrays, entry: Entry) -> Arrays:
    """Outputs of an entry point on the padded axes of ``structure``; zero on padding.

    Returns:
        ``energy`` (frames, 1) and ``atom_energy`` (n_atom,) eV, ``force`` (n_atom, 3) eV/angstrom, ``virial`` (frames, 9) and
        ``atom_virial`` (n_atom, 9) eV, with ``n_atom`` the places of all sections in a row.  Models of other quantities give theirs
        (frames, *output.total_shape) and (n_atom, *output.shape); derivatives of dipoles have an axis for the components after the
        first.  With spins and forces also ``force_mag`` (n_atom, 3) eV per unit of spin.  With ``search`` also
        :data:`~dpjax.export.listing.FLAGS`; with ``hessian`` also ``hessian`` (n_atom, 9 * columns) eV/angstrom^2, d2E / dx_a dy_b
        at ``[x, 3 * columns * a + 3 * r + b]``, where r is the number of y in the frame of x.
    """
    if entry.search:
        structure = structure | {"atoms": _with_places(structure["atoms"])}
    if not entry.hessian:
        return _outputs(model, variables, structure, entry)

    def forces(moved: jax.Array) -> tuple[jax.Array, Arrays]:
        out = _outputs(model, variables, _moved(structure, moved), entry)
        return out["force"], out

    n_atom = sum(atoms["real"].shape[0] * atoms["real"].shape[1] for atoms in structure["atoms"])
    still = jnp.zeros((n_atom, 3), structure["cell"].dtype)
    number = jnp.concatenate([joined(atoms["number"]) for atoms in structure["atoms"]])

    def column(i: jax.Array) -> jax.Array:
        along = (number == i // 3)[:, None] & (jnp.arange(3) == i % 3)[None, :]
        return jax.jvp(forces, (still,), (along.astype(still.dtype),), has_aux=True)[1]

    columns = 3 * structure["columns"].shape[0]
    changes = jax.lax.map(column, jnp.arange(columns))  # (3 columns, n_atom, 3)
    hessian = -jnp.reshape(jnp.moveaxis(changes, 0, 2), (n_atom, 3 * columns))
    return forces(still)[1] | {"hessian": hessian}


def _with_places(sections: Sequence[Arrays]) -> list[Arrays]:
    """The atoms of a single frame, each with its place on the axis of all atoms."""
    out, start = [], 0
    for atoms in sections:
        shape = atoms["real"].shape
        place = start + jnp.reshape(jnp.arange(shape[0] * shape[1], dtype=jnp.int32), shape)
        out.append({**atoms, "place": place, "frame": jnp.zeros(shape, jnp.int32)})
        start = start + shape[0] * shape[1]
    return out


def _moved(structure: Arrays, moved: jax.Array) -> Arrays:
    """The structure with its atoms displaced by ``moved`` (n_atom, 3) angstrom."""
    sections, start = [], 0
    for atoms in structure["atoms"]:
        n = atoms["real"].shape[0] * atoms["real"].shape[1]
        own = jax.lax.dynamic_slice_in_dim(moved, start, n)
        sections.append({**atoms, "coord": atoms["coord"] + jnp.reshape(own, atoms["coord"].shape)})
        start = start + n
    return {**structure, "atoms": sections}


def _outputs(model: StandardModel, variables: Any, structure: Arrays, entry: Entry) -> Arrays:
    """:func:`evaluate` without second derivatives."""
    output, every = model.output, all_points(model, structure["atoms"])
    if model.takes_fragments:
        real = jnp.concatenate([joined(atoms["real"]) for atoms in structure["atoms"]])
        every["fragments"] = fragments_of_frames(every["aparam"], every["frame"], real, structure["cell"].shape[0])
    find = None
    if entry.search:
        find = lister(model, structure, every["coord"], point_sections(model, structure["atoms"]))
    sections = centres(model, structure, every)
    moved = _zero_sums(every["coord"].shape[0], model, entry)
    rows, needs = [], []
    for section, atoms in enumerate(sections):
        run = _block_program(model, variables, structure, every, section, entry, find)
        moved, out = jax.lax.scan(run, moved, atoms)
        if find:
            needs.append(jnp.max(out.pop("need"), axis=0))
        rows.append(jax.tree.map(joined, out))
    per_atom = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)
    frame = jnp.concatenate([joined(atoms["frame"]) for atoms in sections])

    def summed(name: str) -> jax.Array:
        return jax.ops.segment_sum(per_atom[name], frame, structure["cell"].shape[0])

    total = summed("values")
    if output.intensive:
        total = total / jnp.maximum(summed("counted"), 1.0)[:, None]
    result = {output.total: total if output.shape else total[:, None], output.atomic: per_atom["values"]}
    if entry.force and model.config.direct_forces:
        result["force"] = per_atom["force"]
    elif entry.force:
        pull = per_atom["pull"]
        if model.takes_spins and not model.passes_messages:  # virtual atoms were no centres
            pull = jnp.concatenate([pull, jnp.zeros_like(pull)])
        result["force"] = pull + moved["force"]
        result["virial"] = summed("virial")
    if entry.atom_virial:
        result["atom_virial"] = moved["atom_virial"]
    result |= {
        name: jnp.zeros_like(result[name]) for name in result if model.leaves_virials and name.endswith("virial")
    }
    result = _of_atoms(model, result, every) if model.takes_spins else result
    if find:
        result |= find.report(jnp.max(jnp.stack(needs), axis=0))
    return result


def _of_atoms(model: StandardModel, result: Arrays, every: Arrays) -> Arrays:
    """Outputs with those of virtual atoms given to their atoms; virtual atoms have no energy."""
    n_atom, own = every["coord"].shape[0] // 2, model.output.atomic
    magnetic = {"force_mag": magnetic_forces(result["force"], every)} if "force" in result else {}
    found = {name: of_atoms(result[name]) for name in ("force", "atom_virial") if name in result}
    return result | {own: result[own][:n_atom]} | found | magnetic


def _zero_sums(n_atom: Any, model: StandardModel, entry: Entry) -> Arrays:
    """What blocks add up on the atoms that are neighbours: arrays (n_atom, *output.shape, 3 or 9)."""
    output = model.output
    sums = {"force": 3} if entry.force and not model.config.direct_forces else {}
    sums |= {"atom_virial": 9} if entry.atom_virial else {}
    return {name: jnp.zeros((n_atom, *output.shape, size), jnp.float64) for name, size in sums.items()}


def _block_program(model, variables, structure, every, section, entry, find):
    """One step of a scan over the blocks of a section: its rows, and its share of what neighbours receive.

    The share is added up while the block is at hand, so that nothing of the size of the neighbour list is kept.  ``every`` holds
    :func:`all_points`, which ``index`` refers to.
    """
    number = model.output.shape

    def shares(gradient, values, atoms, disp, way):
        """:func:`virial_shares` (n, k, *number, 9) and (n, *number, 9); a block of a model that passes messages is all atoms.

        With spins the positions of virtual atoms are those of their atoms.
        """
        moments = position = None
        if model.passes_messages:
            position = wrapped(atoms["coord"], structure["cell"], atoms["frame"])
            position = position - (atoms["coord"] - atoms["home"]) if model.takes_spins else position
            moments = moments_gradient(lambda disp: values(disp)[1], disp, position)
        if not number:
            return virial_shares(gradient, way, moments, position)
        each = jax.vmap(virial_shares, in_axes=(1, None, None if moments is None else 1, None), out_axes=1)
        there, here = each(gradient, way, moments, position)
        return jnp.moveaxis(there, 1, 2), here

    def given(disp, atoms):
        """Energies and, where they are wanted, forces of a model that gives both directly."""
        found = block_output(model, variables, structure, every, section, atoms, type(model).direct_output)(disp)
        named = {"values": "atom_energy", **({"force": "force"} if entry.force else {})}
        return {name: where_rows(atoms["real"], found[key]) for name, key in named.items()}

    def run(moved, atoms):
        atoms = atoms | find.of_block(atoms["place"]) if find else atoms
        disp, of_atoms_at = block_values(model, variables, structure, every, section, atoms)

        def values(disp):
            found = of_atoms_at(disp)
            return jnp.sum(found, axis=0), found

        out = {"counted": _counted(model, section, atoms)} if model.output.intensive else {}
        out |= {"need": atoms["need"]} if find else {}
        if model.config.direct_forces:
            return moved, out | given(disp, atoms)
        if not entry.force:
            return moved, out | {"values": values(disp)[1]}
        found, gradient = summed_gradient(values, disp)
        pull = jnp.moveaxis(gradient, 1, 2) if number else gradient  # (n, k, *number, 3)
        way = between(structure, every["home"], atoms["home"], atoms) if model.takes_spins else disp
        virial = -jnp.einsum("nk...a,nkb->n...ab", pull, way).reshape(-1, *number, 9)
        moved = {**moved, "force": moved["force"].at[atoms["index"]].add(-pull)}
        if entry.atom_virial:
            there, here = shares(gradient, values, atoms, disp, way)
            moved["atom_virial"] = moved["atom_virial"].at[atoms["index"]].add(there)
            moved["atom_virial"] = moved["atom_virial"] if here is None else moved["atom_virial"] + here
        return moved, out | {"values": found, "pull": jnp.sum(pull, axis=1), "virial": virial}

    return run


def between(structure: Arrays, positions: jax.Array, centre: jax.Array, atoms: Arrays) -> jax.Array:
    """(n, k, 3) angstrom from the ``centre`` (n, 3) of each atom of a block to its neighbours, of ``positions`` of all points."""
    image = jnp.einsum("nks,nsd->nkd", atoms["shift"].astype(positions.dtype), structure["cell"][atoms["frame"]])
    return positions[atoms["index"]] + image - centre[:, None, :]


def block_values(
    model: StandardModel, variables: Any, structure: Arrays, every: Arrays, section: int, atoms: Arrays
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Displacements (n, k, 3) of the neighbours of a block, and atomic outputs as a function of them; zero on padding."""
    disp = between(structure, every["coord"], atoms["coord"], atoms)
    output = block_output(model, variables, structure, every, section, atoms, type(model).atomic_output)
    return disp, lambda disp: where_rows(atoms["real"], output(disp))


def block_output(
    model: StandardModel,
    variables: Any,
    structure: Arrays,
    every: Arrays,
    section: int,
    atoms: Arrays,
    method: Callable,
) -> Callable[[jax.Array], Any]:
    """What a ``method`` of the model gives for the atoms of a block, as a function of the displacements (n, k, 3) of neighbours."""
    nbrs = tuple(slots.shape[0] for slots in structure["slots"])
    fparam = structure["fparam"][atoms["frame"]] if "fparam" in structure else None
    own = {**atoms, "atype": atoms.get("type")}
    told = structure.get("first"), structure.get("charge_spin"), every.get("aparam"), every.get("fragments")
    rows = table_rows(model, own, every.get("type"), *told)

    def output(disp: jax.Array) -> Any:
        view = neighborhood(model, section, disp, rows, nbrs)
        return model.apply(variables, view, fparam, atoms.get("aparam"), method=method)

    return output


def _counted(model: StandardModel, section: int, atoms: Arrays) -> jax.Array:
    """1 for the atoms of a block that contribute, else 0."""
    types = jnp.full_like(atoms["frame"], section) if model.by_type else atoms["type"]
    return (atoms["real"] & contributes(model.config, types)).astype(jnp.float64)
