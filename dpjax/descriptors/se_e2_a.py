"""Two-body smooth descriptor with radial and angular detail (``se_e2_a``).

Each centre's environment matrix R (one row per neighbour) meets the embedding G of its radial column:
``X = R^T G / sum(sel)``, ``D = X^T X_<`` with ``X_<`` the first ``axis_neuron`` columns.  Zhang et al., NeurIPS 2018,
arXiv:1805.09003.  Lengths in angstrom.  Nothing here knows about frames, boxes, files or devices.

All empty places of a section (fewer neighbours than ``sel``) are alike, so they enter the sum as one of them times their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config import SeE2AConfig
from dpjax.descriptors.neighborhood import Section, ordered_pairs, sections
from dpjax.geometry.environment import env_components
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of

Pair = tuple[int, int]


def normalized_rows(
    section: Section, davg: jax.Array, dstd: jax.Array, config: SeE2AConfig
) -> tuple[jax.Array, jax.Array]:
    """Normalised environment rows of one section, components before slots so that the long axis lies innermost.

    Args:
        section: neighbours of one type, n_atom centres with k slots.
        davg, dstd: (4,) statistics of the centre's type.

    Returns:
        radial: (n_atom, k, 1) input of the embedding network.
        rows: (n_atom, 4, k), zero in unused slots.
    """
    raw = env_components(
        jnp.swapaxes(section.disp, 1, 2),
        section.mask,
        r_on=config.rcut_smth,
        r_off=config.rcut,
        protection=config.env_protection,
    )
    rows = (raw - davg[None, :, None]) / dstd[None, :, None]
    return rows[:, 0, :, None], jnp.where(section.mask[:, None, :], rows, 0.0)


class SeE2A(nn.Module):
    """Descriptor of dimension ``neuron[-1] * axis_neuron`` for centres of one type at a time.

    Attributes:
        config: hyper-parameters; ``sel`` is resolved.
        n_type: number of types.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list.
    """

    config: SeE2AConfig
    n_type: int
    pair_exclude: frozenset[Pair] = frozenset()

    def setup(self):
        cfg = self.config
        self.embedding = {
            self.network_key(c, t): DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)
            for c in range(1 if cfg.type_one_side else self.n_type)
            for t in range(self.n_type)
        }
        self.davg = self.variable("stats", "davg", jnp.zeros, (self.n_type, 4), self.dtype)
        self.dstd = self.variable("stats", "dstd", jnp.ones, (self.n_type, 4), self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1] * self.config.axis_neuron

    def network_key(self, centre: int, neighbor: int) -> str:
        """Name of the embedding network of a type pair."""
        return f"{neighbor}" if self.config.type_one_side else f"{centre}_{neighbor}"

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        for network in self.embedding.values():
            network(jnp.zeros((1, 1, 1), self.dtype))

    def __call__(self, centre: int, disp: jax.Array, count: jax.Array, nbrs: Sequence[int]) -> jax.Array:
        """Descriptor of centres that all have type ``centre``.

        Args:
            centre: type of the centres (static).
            disp: (n_atom, sum(nbrs), 3) neighbour minus centre, angstrom.
            count: (n_atom, n_type) neighbours in each section.
            nbrs: widths of the sections by neighbour type.

        Returns:
            (n_atom, dim_out) in the descriptor's precision.
        """
        cfg = self.config
        davg, dstd = self.davg.value[centre], self.dstd.value[centre]
        silent = self.pair_exclude | ordered_pairs(cfg.exclude_types)
        moments = jnp.zeros((disp.shape[0], 4, cfg.neuron[-1]), self.dtype)
        for t, section in enumerate(sections(disp, count, nbrs, cfg.sel, cfg.rcut)):
            if (centre, t) in self.pair_exclude:  # not a neighbour at all: its place is empty
                empty = jnp.full_like(section.kept, cfg.sel[t])
            else:
                empty = cfg.sel[t] - section.kept
            moments = moments + empty.astype(self.dtype)[:, None, None] * self.empty_place(centre, t)[None]
            if (centre, t) in silent or not section.mask.shape[1]:
                continue
            section = section._replace(disp=section.disp.astype(self.dtype))
            radial, rows = normalized_rows(section, davg, dstd, cfg)
            embedded = self.embedding[self.network_key(centre, t)](radial)
            moments = moments + jnp.einsum("ndk,nkm->ndm", rows, embedded)
        moments = moments / sum(cfg.sel)
        descriptor = jnp.einsum("ndm,nda->nma", moments, moments[..., : cfg.axis_neuron])
        return descriptor.reshape(descriptor.shape[0], -1)

    def empty_place(self, centre: int, neighbor: int) -> jax.Array:
        """(4, neuron[-1]) contribution of one empty place: a zero row, which is ``-davg/dstd`` after normalisation."""
        row = -self.davg.value[centre] / self.dstd.value[centre]
        embedded = self.embedding[self.network_key(centre, neighbor)](row[None, None, :1])
        return row[:, None] * embedded[0]
