"""The neighbour search inside a program: a structure without a neighbour list gets one, block by block, on the device.

It is the cell list of :mod:`dpjax.neighbors.device` with every size a symbol or an input: whoever runs the program chooses bins and
slots, and flags in the output say what was too small.  Nothing of the size of the list is kept beyond the block that needs it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dpjax.models import StandardModel
from dpjax.neighbors.device import Bins, SearchSizes, flags_of, search_block, sort_into_bins

Arrays = dict[str, Any]

FLAGS = ("flags", "bin_atoms", "nbrs", "heights")  # outputs beside those of the model


def search_shapes(n_section: int, bins: Any, stencil: Any, rooms: tuple[Any, ...]) -> Arrays:
    """Shapes and dtypes of what a structure has instead of a neighbour list; ``docs/artifact.md`` says what each array holds."""

    def of(dtype, *shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    return {
        "pbc": of(jnp.bool_, 3),
        "grid": of(jnp.int32, 3),
        "width": of(jnp.float64, 3),
        "offsets": of(jnp.int32, stencil, 3),
        "bins": of(jnp.int8, bins),  # contents unused, as of all int8 arrays: they tell sizes
        "bin_atoms": [of(jnp.int8, rooms[t]) for t in range(n_section)],
    }


class Lister(NamedTuple):
    """Finds the neighbours of the atoms of a structure."""

    sizes: SearchSizes
    bins: Bins
    section: jax.Array  # (n_place,) of each place, -1 on padding
    cell: jax.Array  # (3, 3)

    def of_block(self, place: jax.Array) -> Arrays:
        """``index``, ``shift`` and ``count`` of the atoms at some places (n,), and ``need`` (n_section,), the most that one has."""
        index, shift, need = search_block(self.sizes, self.bins, self.section, self.cell, place)
        widths = jnp.stack([jnp.full((), width, jnp.int32) for width in self.sizes.nbrs])
        found = {"index": index, "shift": shift, "count": jnp.minimum(need, widths[None])}
        return found | {"need": jnp.max(need, axis=0)}

    def report(self, need: jax.Array) -> Arrays:
        """The outputs :data:`FLAGS`, from the largest ``need`` of all blocks."""
        flags = flags_of(self.sizes, self.bins, need)
        return {"flags": flags.bits[None], "bin_atoms": flags.bin_atoms, "nbrs": flags.nbrs, "heights": flags.heights}


def lister(model: StandardModel, structure: Arrays, coord: jax.Array, section: jax.Array) -> Lister:
    """The search over a structure without neighbours, which is one frame.

    Args:
        model: says how far to look.
        structure: sizes and cell.
        coord, section: (n, 3) angstrom and (n,) of all points, as ``dpjax.export.points`` has them.
    """
    sizes = SearchSizes(
        rlist=model.rcut,
        pbc=structure["pbc"],
        grid=structure["grid"],
        width=structure["width"],
        offsets=structure["offsets"],
        n_bin=structure["bins"].shape[0],
        bin_atoms=tuple(room.shape[0] for room in structure["bin_atoms"]),
        nbrs=tuple(slots.shape[0] for slots in structure["slots"]),
    )
    cell = structure["cell"][0]
    return Lister(sizes, sort_into_bins(sizes, coord, section, cell), section, cell)
