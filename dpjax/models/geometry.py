"""What an energy is differentiated with respect to."""

from __future__ import annotations

import flax.struct
import jax


@flax.struct.dataclass
class Geometry:
    """The small tree of geometric inputs; its cotangent is folded into force, virial and magnetic force in one place.

    ``disp`` is always there.  ``position``, ``cell`` and ``spin`` are for models whose energy depends on more than displacements.
    """

    disp: jax.Array  # (n_atom, n_nbr, 3) neighbour minus centre, angstrom
    position: jax.Array | None = None  # (n_atom, 3) angstrom
    cell: jax.Array | None = None  # (n_frame, 3, 3) angstrom
    spin: jax.Array | None = None  # (n_atom, 3)
