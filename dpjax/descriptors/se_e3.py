"""Three-body smooth descriptor of the angles between pairs of neighbours (``se_e3``).

With A the angular columns of the normalised environment matrix, ``e_jk = A_j . A_k`` is large for two near neighbours j, k in the
same direction.  A network G for each unordered pair of neighbour types embeds it:
``D = sum_{t <= t'} sum_{j in t, k in t'} e_jk G_tt'(e_jk) / (sel_t sel_t')``.  Wang et al., Nucl. Fusion 62, 126013 (2022); Zeng et
al., J. Chem. Phys. 159, 054801 (2023), arXiv:2304.09409.  Lengths in angstrom.

Statistics have no angular mean, so the angular row of an empty place is zero, and so is that of an excluded neighbour: what is not
a neighbour adds nothing to the sums.  Within one type e is symmetric, so each pair j < k is embedded once and counted twice.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.descriptors import SeE3Config
from dpjax.descriptors.bands import band, band_number
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section, ordered_pairs
from dpjax.geometry.environment import env_components
from dpjax.nn.chebyshev import Grid
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of


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


class SeE3(nn.Module):
    """Descriptor of dimension ``neuron[-1]`` for centres of one type at a time.

    Attributes:
        config: hyper-parameters; ``sel`` is resolved.
        n_type: number of types.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list.
    """

    by_type = True  # networks per type: centres and neighbours come in sections

    config: SeE3Config
    n_type: int
    pair_exclude: frozenset[tuple[int, int]] = frozenset()

    def setup(self):
        cfg = self.config
        # files hold a network for each ordered pair of types; those with t > t' are stored but never asked
        self.embedding = {
            f"{s}_{t}": DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)
            for s in range(self.n_type)
            for t in range(self.n_type)
        }
        self.davg = self.variable("stats", "davg", jnp.zeros, (self.n_type, 4), self.dtype)  # no angular mean: unused
        self.dstd = self.variable("stats", "dstd", jnp.ones, (self.n_type, 4), self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1]

    @property
    def dim_frame(self) -> int:
        return 0

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        for network in self.embedding.values():
            network.init_parameters(1)

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
            if section.mask.shape[1] and not self._silent(view.centre, t)
        }
        total = jnp.zeros((view.n_atom, self.dim_out), self.dtype)
        for s in rows:
            for t in rows:
                if s <= t:
                    total = total + self._pair_sums(rows, s, t) / (cfg.sel[s] * cfg.sel[t])
        return Features(total)

    def grids(self, n_atom: int, nbrs: tuple[int, ...]) -> tuple[Grid, ...]:
        """No series for this descriptor."""
        return ()

    def _pair_sums(self, rows: dict[int, jax.Array], s: int, t: int) -> jax.Array:
        """(n_atom, neuron[-1]) sum over the pairs of one pair of neighbour types."""
        products, number = own_products(rows[s]) if s == t else (pair_products(rows[s], rows[t]), 1.0)
        embedded = self.embedding[f"{s}_{t}"](products[..., None])
        return jnp.einsum("np,npm->nm", products * number, embedded)

    def _angular(self, centre: int, section: Section) -> jax.Array:
        """(n_atom, 3, k) normalised angular columns of one section, zero in unused slots."""
        cfg = self.config
        raw = env_components(
            jnp.swapaxes(section.disp.astype(self.dtype), 1, 2),
            section.mask,
            r_on=cfg.rcut_smth,
            r_off=cfg.rcut,
            protection=cfg.env_protection,
        )
        return raw[:, 1:] / self.dstd.value[centre][None, 1:, None]

    def _silent(self, centre: int, neighbor: int) -> bool:
        """Whether neighbours of this type add nothing."""
        return (centre, neighbor) in self.pair_exclude | ordered_pairs(self.config.exclude_types)
