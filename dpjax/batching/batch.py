"""The batch: one flat set of atoms with their neighbours, whatever the number and sizes of its frames.

Atoms of all frames lie on one axis.  Where a model has networks per type they are sorted by type: section t of the atom axis
starts at ``layout.atom_start[t]`` and holds ``layout.atoms[t]`` places, real atoms first.  The neighbour axis is cut into sections
by neighbour type in the same way, and ``count[i, t]`` says how many slots of section t are neighbours of atom i.  Everything
behind a count is bucket padding: any finite value, no weight anywhere.  Models without per-type networks have one section.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import flax.struct
import jax
import numpy as np

Array = jax.Array | np.ndarray


@dataclass(frozen=True)
class Layout:
    """Static sizes of a batch; one compiled program serves all batches of one layout."""

    atoms: tuple[int, ...]  # places for atoms of each section
    nbrs: tuple[int, ...]  # slots for neighbours of each section
    frames: int
    # (cut-off in angstrom, places for the neighbours within it); of cut-offs that are not among them nothing is known
    inner: tuple[tuple[float, int], ...] = ()

    @property
    def n_atom(self) -> int:
        return sum(self.atoms)

    @property
    def n_nbr(self) -> int:
        return sum(self.nbrs)

    @property
    def atom_start(self) -> tuple[int, ...]:
        return (0, *accumulate(self.atoms))

    @property
    def nbr_start(self) -> tuple[int, ...]:
        return (0, *accumulate(self.nbrs))


@flax.struct.dataclass
class Disturbance:
    """What was done to the atoms of a batch before a training step; zero where they were left alone."""

    mask: Array  # (n_atom,) float64, 1 for displaced atoms
    noise: Array  # (n_atom, 3) angstrom, displacements; the coordinates of the batch have them already
    force: Array  # (n_atom, 3) eV/angstrom, true forces of displaced atoms before they were displaced


@flax.struct.dataclass
class Batch:
    """Arrays of one batch; ``n_atom``, ``n_nbr``, ``n_frame`` are the padded sizes of ``layout``."""

    coord: Array  # (n_atom, 3) angstrom
    cell: Array  # (n_frame, 3, 3) angstrom, rows; zero for open frames (all their shifts are zero)
    atype: Array  # (n_atom,) int32, -1 on padding
    frame: Array  # (n_atom,) int32
    index: Array  # (n_atom, n_nbr) int32, place of the neighbour on the atom axis
    shift: Array  # (n_atom, n_nbr, 3) integer cell vectors added to the neighbour
    count: Array  # (n_atom, n_section) int32 neighbours in each section, untruncated
    natoms: Array  # (n_frame,) int32 real atoms; 0 on padding frames
    first: Array  # (n_frame,) int32 type of the frame's first atom, as it was given; 0 on padding frames
    fparam: Array | None = None  # (n_frame, n)
    aparam: Array | None = None  # (n_atom, n)
    charge_spin: Array | None = None  # (n_frame, 2) where descriptors take them
    # of models with virtual atoms for spins, whose own ``coord`` has no meaning:
    spin: Array | None = None  # (n_atom, 3) of virtual atoms, zero elsewhere
    scale: Array | None = None  # (n_atom,) their distance from that atom per unit of spin, angstrom; zero elsewhere
    owner: Array | None = None  # (n_atom,) int32 place of the atom that a virtual one belongs to; else its own place
    disturbance: Disturbance | None = None  # for models that learn from displaced atoms, while they are trained
    lists: Any = None  # edges and angles one after another (``batching.lists.Lists``), for models that take them
    copies: Any = (
        None  # in a slab of a structure, what brings values of atoms on other devices: ``Neighborhood.copies``
    )
    layout: Layout = flax.struct.field(pytree_node=False, default=None)

    @property
    def is_atom(self) -> Array:
        """(n_atom,) bool, False on padding and for virtual atoms; with an axis of devices before it where there is one."""
        real = self.atype >= 0
        if self.owner is None:
            return real
        shape = np.shape(self.owner)
        return real & (self.owner == np.broadcast_to(np.arange(shape[-1]), shape))
