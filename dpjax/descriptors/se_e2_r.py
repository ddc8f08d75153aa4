"""Two-body smooth descriptor of distances alone (``se_e2_r``).

The radial column s of the environment matrix, normalised, enters an embedding network G per neighbour type.  The descriptor is the
mean of G over all ``sum(sel)`` places, divided by 5 as in the reference: ``D = sum_k G(s_k) / (5 sum(sel))``.  Zhang et al.,
NeurIPS 2018, arXiv:1805.09003.  Lengths in angstrom.  Directions do not enter, so there is no frame.

All empty places of a section (fewer neighbours than ``sel``) are alike, so they enter as one of them times their number.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeE2RConfig
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section, ordered_pairs
from dpjax.descriptors.type_networks import TwoBodyNetworks
from dpjax.geometry.environment import env_radial

RESCALE = 0.2  # a constant of the reference


class SeE2R(TwoBodyNetworks):
    """Descriptor of dimension ``neuron[-1]`` for centres of one type at a time."""

    n_column = 1

    config: SeE2RConfig

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: the embedding networks as series; None: the networks themselves.

        Returns:
            Values (n_atom, neuron[-1]) in the descriptor's precision; no frame.
        """
        total, kept = self.neighbor_sums(view, expansion)
        return Features(RESCALE / sum(self.config.sel) * (total[:, 0] + self._constant_sums(view.centre, kept)))

    def _rows(self, centre: int, section: Section) -> tuple[jax.Array, jax.Array]:
        """Normalised radial column, (n_atom, k), that of an empty place in unused slots; and the mask: all count alike."""
        raw = self._environment(section, env_radial)
        radial = (raw - self.davg.value[centre, 0]) / self.dstd.value[centre, 0]
        return radial, section.mask[:, None].astype(self.dtype)

    def _constant_sums(self, centre: int, kept: jax.Array) -> jax.Array:
        """What empty places and excluded neighbours add, (n_atom, neuron[-1]) for (n_atom, n_type) neighbours.

        With one network for each neighbour type an excluded neighbour is embedded as s = 0, and its empty places count like any.
        With networks per pair there is none for an excluded pair, which adds nothing at all: so it is in TensorFlow, the only
        backend of DeePMD-kit that has them.
        """
        total = jnp.zeros((kept.shape[0], self.dim_out), self.dtype)
        place = -self.davg.value[centre] / self.dstd.value[centre]
        for t, keep in enumerate(self.config.sel):
            excluded = (centre, t) in ordered_pairs(self.config.exclude_types)
            if excluded and not self.config.type_one_side:
                continue
            empty = self._empty(centre, t, kept)
            total = total + self._times(empty, centre, t, place)
            if excluded:
                total = total + self._times(keep - empty, centre, t, jnp.zeros_like(place))
        return total

    def _times(self, number: jax.Array, centre: int, neighbor: int, radial: jax.Array) -> jax.Array:
        """(n_atom, neuron[-1]) embedding of one radial value (1,), times (n_atom,) how often it is there."""
        return number.astype(self.dtype)[:, None] * self._embedded(centre, neighbor, radial)
