"""The continuous forms, which are trained before they are quantised."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.facts import kept
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.descriptors.se_atten import SeAtten
from dpjax.descriptors.se_e2_a import SeE2A


def divisor(sel: int) -> float:
    """What sums over neighbours are divided by: the power of two that is not below two thirds of ``sel``."""
    return 2.0 ** math.ceil(math.log2(sel / 1.5))


def banded(products: jax.Array, width: int) -> jax.Array:
    """(n, m * width) of products (n, m, m) of embeddings: those with itself and with the next ones, the first after the last."""
    row = np.arange(products.shape[-1])[:, None]
    column = (row + np.arange(width)[None]) % products.shape[-1]
    return products[:, np.broadcast_to(row, column.shape), column].reshape(products.shape[0], -1)


def features(moments: jax.Array, width: int) -> Features:
    """The descriptor from divided sums over neighbours (n, 4, m), its vectors with it."""
    products = jnp.einsum("ndm,nda->nma", moments, moments)
    return Features(banded(products, width), jnp.swapaxes(moments[:, 1:], 1, 2))


class ContinuousSeE2A(SeE2A):
    """``se_e2_a`` of version 0."""

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type; as that of :class:`~dpjax.descriptors.se_e2_a.SeE2A`."""
        cfg = self.config
        moments, found = self.neighbor_sums(view, expansion)
        moments = (moments + self._empty_sums(view.centre, found)) / divisor(sum(cfg.sel))
        return features(moments, cfg.axis_neuron)


class ContinuousSeAtten(SeAtten):
    """``se_atten`` of version 1."""

    def described(self, view: Neighborhood, vectors: jax.Array) -> Features:
        """The descriptor before type vectors are appended, from those that it is given, (n_type + 1, tebd_dim)."""
        around = self.surroundings(view)
        moments = self._sums(view, around, vectors) + self._empty_sums(view, around, vectors)
        return features(moments / divisor(kept(self.config)[0]), self.config.axis_neuron)
