"""One entry point at fixed sizes, with the weights inside: what a program in another language compiles through PJRT.

PJRT takes a StableHLO module whose shapes are all numbers.  ``docs/artifact.md`` says how it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import export

from dpjax.errors import ModelError
from dpjax.export.program import Symbols, absent_sections, entries, evaluate, structure_shapes
from dpjax.export.writer import Exportable, checked_weights
from dpjax.models.derived import require_no_modifier


@dataclass(frozen=True)
class FixedProgram:
    """A StableHLO module and its arguments and results, which are given in this order.

    Attributes:
        module: for ``PJRT_Client_Compile``, whose format is ``"mlir"``.
        inputs, outputs: name, NumPy dtype and shape of each.
        exported: the same for JAX.
    """

    module: bytes
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    exported: export.Exported


def fixed_program(
    potential: Exportable,
    places: Sequence[int],
    nbrs: Sequence[int],
    bins: int,
    bin_atoms: Sequence[int],
    *,
    block: int = 32,
    stencil: int = 27,
    platform: str = "cpu",
) -> FixedProgram:
    """The entry point ``from_coordinates`` for one structure of at most so many atoms.

    Args:
        potential: model and weights.
        places: atoms of each section, padding included; multiples of ``block``.
        nbrs: slots for neighbours of each section.  With spins and networks per type the virtual atoms of each type are a section,
            behind those of the types; what is said of such as are never there is not used.
        bins: at least the product of ``grid``, which is an input.
        bin_atoms: most atoms of each section in one bin.
        block: atoms worked on at once; the number of places on an accelerator.
        stencil: bins that each atom looks through.
        platform: cpu, cuda, rocm or tpu.

    Raises:
        ModelError: sizes that do not fit the model or each other; what :func:`dpjax.export.save` refuses.
    """
    model, variables = potential.model, potential.variables
    require_no_modifier(potential.config, "one program at fixed sizes")
    checked_weights(potential)
    wanted = (("places", places, model.n_atom_section), ("nbrs", nbrs, model.n_section))
    for name, given, n in (*wanted, ("bin_atoms", bin_atoms, model.n_section)):
        if len(given) != n or min(given) < 1:
            raise ModelError(f"{name}: found {list(given)}, expected {n} numbers of at least 1")
    if any(n % block for n in places):
        raise ModelError(f"places: found {list(places)}, expected multiples of block, which is {block}")
    [entry] = [e for e in entries(model.config) if e.search]
    if model.passes_messages and places[0] != block:
        raise ModelError(
            f"block: found {block}, expected {places[0]}, as atoms of this model see one another and are one block"
        )
    blocks = tuple(n // block for n in places)
    absent = absent_sections(model)
    nbrs = tuple(0 if t in absent else n for t, n in enumerate(nbrs))
    sizes = Symbols(1, blocks, (block,) * len(blocks), nbrs, bins, stencil, tuple(bin_atoms), 0)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        shapes = structure_shapes(model, sizes, entry)
        program = jax.jit(lambda structure: evaluate(model, variables, structure, entry))
        exported = export.export(program, platforms=(platform,))(shapes)
    used = [exported.in_avals[i] for i in exported.module_kept_var_idx]
    names = [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(shapes)[0]]
    results = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return FixedProgram(
        bytes(exported.mlir_module_serialized),
        _described([names[i] for i in exported.module_kept_var_idx], used),
        _described([_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(results)[0]], exported.out_avals),
        exported,
    )


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def _described(names: Sequence[str], avals: Sequence[Any]) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    return tuple((name, np.dtype(a.dtype).name, tuple(a.shape)) for name, a in zip(names, avals, strict=True))
