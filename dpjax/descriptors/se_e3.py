"""Three-body smooth descriptor of the angles between pairs of neighbours (``se_e3``).

With A the angular columns of the normalised environment matrix, ``e_jk = A_j . A_k`` is large for two near neighbours j, k in the
same direction.  A network G for each unordered pair of neighbour types embeds it:
``D = sum_{t <= t'} sum_{j in t, k in t'} e_jk G_tt'(e_jk) / (sel_t sel_t')``.  Wang et al., Nucl. Fusion 62, 126013 (2022); Zeng et
al., J. Chem. Phys. 159, 054801 (2023), arXiv:2304.09409.  Lengths in angstrom.

Statistics have no angular mean, so the angular row of an empty place is zero, and so is that of an excluded neighbour: what is not
a neighbour adds nothing to the sums.  Within one type e is symmetric, so each pair j < k is embedded once and counted twice.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.descriptors import SeE3Config
from dpjax.descriptors.bands import band, band_number
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section
from dpjax.descriptors.type_networks import TypeNetworks


def pair_products(first: jax.Array, second: jax.Array) -> jax.Array:
    """Inner products of every row of one section with every row of another: (n, 3, k), (n, 3, l) -> (n, k l)."""
    return jnp.einsum("ndk,ndl->nkl", first, second).reshape(first.shape[0], -1)


def own_products(rows: jax.Array) -> tuple[jax.Array, jax.Array | np.ndarray]:
    """Inner products within one section, each unordered pair once: (n, 3, k) -> (n, m), and how often each counts.

    Pairs are not numbered where k is a symbol of ``jax.export``; there some come twice and count half.
    """
    if not isinstance(rows.shape[2], int):
        products = band(jnp.einsum("ndk,ndl->nkl", rows, rows))
        number = jnp.broadcast_to(band_number(rows.shape[2]), products.shape)
        return products.reshape(rows.shape[0], -1), number.reshape(rows.shape[0], -1)
    j, k = np.triu_indices(rows.shape[2])
    return jnp.sum(rows[:, :, j] * rows[:, :, k], axis=1), np.where(j == k, 1.0, 2.0)[None]


class SeE3(TypeNetworks):
    """Descriptor of dimension ``neuron[-1]`` for centres of one type at a time.

    The networks are of pairs of neighbour types.  Files hold one for each ordered pair; those with t > t' are stored but never
    asked.  Nor is ``davg``, as there is no angular mean.
    """

    config: SeE3Config

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: None, as there are no series for this descriptor.

        Returns:
            Values (n_atom, neuron[-1]) in the descriptor's precision; no frame.
        """
        cfg = self.config
        rows = {
            t: self._angular(view.centre, section)
            for t, section in enumerate(view.sections(cfg.sel, cfg.rcut))
            if section.mask.shape[1] and not self._excluded(view.centre, t)
        }
        total = jnp.zeros((view.n_atom, self.dim_out), self.dtype)
        for s in rows:
            for t in rows:
                if s <= t:
                    total = total + self._pair_sums(rows, s, t) / (cfg.sel[s] * cfg.sel[t])
        return Features(total)

    def _pair_sums(self, rows: dict[int, jax.Array], s: int, t: int) -> jax.Array:
        """(n_atom, neuron[-1]) sum over the pairs of one pair of neighbour types."""
        products, number = own_products(rows[s]) if s == t else (pair_products(rows[s], rows[t]), 1.0)
        embedded = self.embedding[self.network_key(s, t)](products[..., None])
        return jnp.einsum("np,npm->nm", products * number, embedded)

    def _angular(self, centre: int, section: Section) -> jax.Array:
        """(n_atom, 3, k) normalised angular columns of one section, zero in unused slots."""
        return self._environment(section)[:, 1:] / self.dstd.value[centre][None, 1:, None]
