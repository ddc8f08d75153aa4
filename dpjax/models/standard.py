"""The ``standard`` model: a descriptor and a fitting that turn an atom's neighbours into its energy.

The model is evaluated for atoms of one type at a time (:meth:`StandardModel.atom_energy`), because descriptor and fitting have
networks per type; ``models.derivatives`` runs it over the type sections of a batch, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch, Layout
from dpjax.config import ModelConfig
from dpjax.descriptors import build_descriptor
from dpjax.descriptors.expansion import Expansion
from dpjax.fittings import build_fitting
from dpjax.geometry.displacements import displacements
from dpjax.models.geometry import Geometry
from dpjax.nn.chebyshev import Grid
from dpjax.nn.precision import require_x64


class StandardModel(nn.Module):
    """Atomic energies from neighbours.

    Collections: ``params`` (trained) and ``stats`` (davg, dstd, biases, input normalisation; fixed while training).

    Raises:
        ModelError: on any use, if a network is float64 and JAX's 64-bit types are off.
    """

    config: ModelConfig

    def setup(self):
        self.descriptor = build_descriptor(self.config)
        self.fitting_net = build_fitting(self.config, self.descriptor.dim_out)
        require_x64(self.descriptor.dtype, self.fitting_net.dtype)  # JAX alone would only warn and compute in float32
        self.out_bias = self.variable("stats", "out_bias", jnp.zeros, (self.n_type, 1), jnp.float64)
        self.out_std = self.variable("stats", "out_std", jnp.ones, (self.n_type, 1), jnp.float64)

    @property
    def n_type(self) -> int:
        return len(self.config.type_map)

    @property
    def rcut(self) -> float:
        """Cut-off of the neighbour table the model needs, angstrom."""
        return self.config.descriptor.rcut

    @property
    def sel(self) -> tuple[int, ...]:
        """Neighbours of each section that count."""
        return self.config.descriptor.sel

    @property
    def n_section(self) -> int:
        """Sections of the atom and neighbour axes: one for each type, because networks are per type."""
        return self.n_type

    def atom_energy(
        self,
        centre: int,
        nbrs: Sequence[int],
        disp: jax.Array,
        count: jax.Array,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        expansion: Expansion | None = None,
    ) -> jax.Array:
        """Energies of atoms of type ``centre``, biases included.

        Args:
            centre: type of the atoms (static).
            nbrs: widths of the neighbour sections (static).
            disp: (n_atom, sum(nbrs), 3) angstrom.
            count: (n_atom, n_section).
            fparam, aparam: (n_atom, n) or None.
            expansion: of the embedding networks, from :meth:`expand`; None: the networks themselves.

        Returns:
            (n_atom,) eV, in the dtype of ``disp``.
        """
        if centre in self.config.atom_exclude_types:
            return jnp.zeros(disp.shape[0], disp.dtype)
        features = self.descriptor(centre, disp, count, nbrs, expansion)
        energy = self.fitting_net(centre, features, fparam, aparam).astype(disp.dtype)
        bias = self.fitting_net.bias_atom_e.value[centre, 0] + self.out_bias.value[centre, 0]
        return energy + bias.astype(disp.dtype)

    def grids(self, layout: Layout) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series for the embedding networks are faster for batches of this layout."""
        return self.descriptor.grids(layout.n_atom, layout.nbrs)

    def expand(self, nearest: jax.Array, grid: Grid) -> Expansion:
        """The embedding networks as series, for atoms no nearer to each other than ``nearest`` (), angstrom."""
        return self.descriptor.expand(nearest, grid)

    def init_parameters(self) -> None:
        """Touch every parameter and statistic once; the method to call ``init`` with."""
        self.descriptor.init_parameters()
        self.fitting_net.init_parameters()

    def __call__(self, geometry: Geometry, batch: Batch) -> dict[str, jax.Array]:
        """Atomic energies (n_atom,) of a whole batch under ``atom_energy``; zero on padding and excluded types."""
        layout = batch.layout
        parts = []
        for t, (start, size) in enumerate(zip(layout.atom_start, layout.atoms, strict=False)):
            if size:
                take = slice(start, start + size)
                parts.append(
                    self.atom_energy(t, layout.nbrs, geometry.disp[take], batch.count[take], *extra_rows(batch, take))
                )
        return {"atom_energy": jnp.where(batch.atype >= 0, jnp.concatenate(parts), 0.0)}


def extra_rows(batch: Batch, take: slice) -> tuple[jax.Array | None, jax.Array | None]:
    """Frame and atomic parameters of a slice of the atom axis, one row per atom."""
    fparam = None if batch.fparam is None else jnp.asarray(batch.fparam)[batch.frame[take]]
    aparam = None if batch.aparam is None else batch.aparam[take]
    return fparam, aparam


def batch_geometry(batch: Batch) -> Geometry:
    """The :class:`Geometry` of a batch: displacements of every neighbour slot."""
    return Geometry(disp=displacements(batch.coord, batch.cell, batch.frame, batch.index, batch.shift))
