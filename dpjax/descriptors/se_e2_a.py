"""Two-body smooth descriptor with radial and angular detail (``se_e2_a``).

Each centre's environment matrix R (one row per neighbour) meets the embedding G of its radial column:
``X = R^T G / sum(sel)``, ``D = X^T X_<`` with ``X_<`` the first ``axis_neuron`` columns.  Zhang et al., NeurIPS 2018,
arXiv:1805.09003.  Lengths in angstrom.  Nothing here knows about frames, boxes, files or devices.

All empty places of a section (fewer neighbours than ``sel``) are alike, so they enter the sum as one of them times their number.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.config import SeE2AConfig
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section
from dpjax.descriptors.type_networks import TwoBodyNetworks


class SeE2A(TwoBodyNetworks):
    """Descriptor of dimension ``neuron[-1] * axis_neuron`` for centres of one type at a time."""

    config: SeE2AConfig

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1] * self.config.axis_neuron

    @property
    def dim_frame(self) -> int:
        return self.config.neuron[-1]

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: the embedding networks as series; None: the networks themselves.

        Returns:
            Values (n_atom, dim_out) and frame (n_atom, neuron[-1], 3) in the descriptor's precision.
        """
        cfg = self.config
        moments, kept = self.neighbor_sums(view, expansion)
        moments = (moments + self._empty_sums(view.centre, kept)) / sum(cfg.sel)
        values = jnp.einsum("ndm,nda->nma", moments, moments[..., : cfg.axis_neuron])
        return Features(values.reshape(values.shape[0], -1), jnp.swapaxes(moments[:, 1:], 1, 2))

    def _rows(self, centre: int, section: Section) -> tuple[jax.Array, jax.Array]:
        """Normalised rows of the environment matrix, (n_atom, 4, k), and their radial column before unused slots become zero."""
        davg, dstd = self.davg.value[centre], self.dstd.value[centre]
        rows = (self._environment(section) - davg[None, :, None]) / dstd[None, :, None]
        return rows[:, 0], jnp.where(section.mask[:, None, :], rows, 0.0)

    def _empty_sums(self, centre: int, kept: jax.Array) -> jax.Array:
        """What the empty places add, (n_atom, 4, neuron[-1]) for (n_atom, n_type) neighbours."""
        moments = jnp.zeros((kept.shape[0], 4, self.config.neuron[-1]), self.dtype)
        for t in range(self.n_type):
            number = self._empty(centre, t, kept).astype(self.dtype)
            moments = moments + number[:, None, None] * self._empty_place(centre, t)[None]
        return moments

    def _empty_place(self, centre: int, neighbor: int) -> jax.Array:
        """(4, neuron[-1]) contribution of one empty place: a zero row, which is ``-davg/dstd`` after normalisation."""
        row = -self.davg.value[centre] / self.dstd.value[centre]
        return row[:, None] * self._embedded(centre, neighbor, row[:1])
