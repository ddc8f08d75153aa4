"""Two-body descriptor of whole frames with virtual atoms (``se_a_mask``).

As ``se_e2_a``, but every atom sees all others of its frame, which has no cell, and there is neither cut-off nor switch nor
normalisation: rows are ``(1/r, x/r^2, y/r^2, z/r^2)``.  A mask says which atoms are real; virtual ones are seen by nobody and see
nobody, so their descriptor is zero.  That lets frames of one system have different numbers of atoms.  Zhang et al., NeurIPS 2018,
arXiv:1805.09003.  Lengths in angstrom.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeAMaskConfig
from dpjax.descriptors.neighborhood import Features, Neighborhood, may_truncate
from dpjax.descriptors.type_networks import TwoBodyNetworks, summed
from dpjax.geometry.environment import env_components


def no_switch(dist: jax.Array, r_on: float, r_off: float) -> jax.Array:
    """The weight of a distance: 1 for all."""
    return jnp.ones_like(dist)


class SeAMask(TwoBodyNetworks):
    """Descriptor of dimension ``neuron[-1] * axis_neuron`` for centres of one type at a time.

    The normaliser is ``sum(sel)``, the number of atoms of the largest frame; zero rows add nothing.
    """

    config: SeAMaskConfig

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1] * self.config.axis_neuron

    @property
    def dim_frame(self) -> int:
        return self.config.neuron[-1]

    def add_statistics(self) -> None:
        """There are none: rows are not normalised."""

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple:
        """No series: they would have to reach from the smallest distance to any."""
        return ()

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type, with masks.
            expansion: None, as there are no series.

        Returns:
            Values (n_atom, dim_out) and frame (n_atom, neuron[-1], 3) in the descriptor's precision.
        """
        cfg, centre = self.config, view.centre
        moments, start = jnp.zeros((view.n_atom, 4, cfg.neuron[-1]), self.dtype), 0
        for t, (disp, listed) in enumerate(view.by_section):
            width = view.nbrs[t]
            real = jax.lax.slice_in_dim(view.mask_nbrs, start, start + width, axis=1) & view.mask[:, None]
            start += width
            if self._excluded(centre, t) or not disp.shape[1]:
                continue
            disp, real = _nearest(disp, listed & real, cfg.sel[t])
            rows = self._rows_of(disp, real)
            moments = moments + summed(self.embedding[self.network_key(centre, t)], rows, rows[:, 0])
        moments = moments / sum(cfg.sel)
        values = jnp.einsum("ndm,nda->nma", moments, moments[..., : cfg.axis_neuron])
        return Features(values.reshape(values.shape[0], -1), jnp.swapaxes(moments[:, 1:], 1, 2))

    def _rows_of(self, disp: jax.Array, real: jax.Array) -> jax.Array:
        """(n_atom, 4, k) rows of the environment matrix, zero in unused slots."""
        disp = jnp.swapaxes(disp.astype(self.dtype), 1, 2)
        return env_components(disp, real, r_on=0.0, r_off=self.config.rcut, weight=no_switch)


def _nearest(disp: jax.Array, real: jax.Array, keep: int) -> tuple[jax.Array, jax.Array]:
    """The nearest ``keep`` of (n, k, 3) displacements; nothing is sorted where no more fit into the array."""
    if not may_truncate((disp.shape[1],), (keep,)):
        return disp, real
    # so many empty slots more that there are always enough
    disp = jnp.concatenate([disp, jnp.zeros((disp.shape[0], keep, 3), disp.dtype)], axis=1)
    real = jnp.concatenate([real, jnp.zeros((disp.shape[0], keep), bool)], axis=1)
    square = jnp.where(real, jax.lax.stop_gradient(jnp.sum(disp * disp, axis=-1)), jnp.inf)
    order = jnp.argsort(square, axis=1)[:, :keep]
    return jnp.take_along_axis(disp, order[..., None], axis=1), jnp.take_along_axis(real, order, axis=1)
