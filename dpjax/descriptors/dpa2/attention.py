"""Attention in the layers of ``dpa2``: of an atom to its neighbours, and of a pair to the other pairs of its atom.

Matrices of queries and keys act on the one side that has fewer vectors, and those of values on what attention has mixed, so that no
array has a row of all heads for each neighbour.

In the smooth form, with the weight w that falls to 0 at the cut-off, a score a becomes ``(a + 20) w - 20`` and its share of the
soft-max gets another factor w; for two pairs w is the product of both.  Scores stand here 20 higher than in this formula, which
changes no share, and empty places then have 0.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa2.pairs import Pairs
from dpjax.descriptors.dpa2.parts import RepformersConfig
from dpjax.nn.attention import SHIFT, shares
from dpjax.nn.dense import Dense
from dpjax.nn.norms import LayerNorm
from dpjax.nn.products import product


class AtomAttention(nn.Module):
    """What an atom takes from the vectors of its neighbours."""

    config: RepformersConfig
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        own = self.config.layers
        heads, hidden, width = own.attn1_nhead, own.attn1_hidden, own.g1_dim
        self.mapq = Dense(hidden * heads, "none", use_bias=False, dtype=self.dtype)
        self.mapkv = Dense((hidden + width) * heads, "none", use_bias=False, dtype=self.dtype)
        self.head_map = Dense(width, "none", dtype=self.dtype)

    def init_parameters(self) -> None:
        """Create all parameters."""
        width = self.config.layers.g1_dim
        self.mapq.parameters(width)
        self.mapkv.parameters(width)
        self.head_map.parameters(width * self.config.layers.attn1_nhead)

    def __call__(self, g1: jax.Array, near: jax.Array, pairs: Pairs) -> jax.Array:
        """(n_atom, g1_dim) from vectors of atoms (n_atom, g1_dim) and of their neighbours (n_atom, k, g1_dim)."""
        own, smooth = self.config.layers, self.config.smooth
        heads, hidden, width = own.attn1_nhead, own.attn1_hidden, own.g1_dim
        of_heads = self.mapkv.parameters(width)[0].reshape(width, hidden + width, heads)
        keys, values = of_heads[:, :hidden], of_heads[:, hidden:]
        query = self.mapq(g1).reshape(-1, hidden, heads) / hidden**0.5
        query = jnp.einsum("ndh,mdh->nhm", query, keys)
        scores = jnp.einsum("nhm,nkm->nhk", query, near)
        if smooth:
            scores = (scores + SHIFT) * pairs.weight[:, None]
        numerator, total = shares(scores, pairs.mask[:, None], own.nsel if smooth else None)
        mixed = jnp.einsum("nhk,nkm->nhm", numerator * pairs.weight[:, None], near) / total
        mixed = jnp.einsum("nhm,mih->nhi", mixed, values)
        return self.head_map(mixed.reshape(-1, heads * width))


class PairAttention(nn.Module):
    """What a pair takes from the vectors and the directions of the other pairs of its atom.

    Shares of the soft-max have the product of both directions as a factor.
    """

    config: RepformersConfig
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        own = self.config.layers
        heads, width = own.attn2_nhead, own.g2_dim
        self.mapqk = Dense(own.attn2_hidden * 2 * heads, "none", use_bias=False, dtype=self.dtype)
        if own.update_g2_has_attn:
            self.mapv = Dense(width * heads, "none", use_bias=False, dtype=self.dtype)
            self.head_map = Dense(width, "none", dtype=self.dtype)
            self.norm = LayerNorm(width, 1e-5 if own.ln_eps is None else own.ln_eps, self.dtype)
        if own.update_h2:
            self.direction_map = Dense(1, "none", use_bias=False, dtype=self.dtype)

    def init_parameters(self) -> None:
        """Create all parameters."""
        own = self.config.layers
        self.mapqk.parameters(own.g2_dim)
        if own.update_g2_has_attn:
            self.mapv.parameters(own.g2_dim)
            self.head_map.parameters(own.g2_dim * own.attn2_nhead)
            self.norm.parameters()
        if own.update_h2:
            self.direction_map.parameters(own.attn2_nhead)

    def __call__(self, g2: jax.Array, h2: jax.Array, pairs: Pairs) -> tuple[list[jax.Array], list[jax.Array]]:
        """What g2 (n_atom, k, g2_dim) and h2 (n_atom, k, 3) get: nothing, or one array each."""
        own = self.config.layers
        arm = h2 * pairs.weight[..., None] if self.config.smooth else h2
        angles = product(arm, jnp.swapaxes(arm, 1, 2))
        numerator, total = self._shares(g2, angles, pairs)
        numerator = numerator * (angles / 3.0**0.5)[:, :, None]

        def mixed(x: jax.Array) -> jax.Array:
            return product(numerator, x) / total

        vectors = [self.norm(self._values(mixed(g2)))] if own.update_g2_has_attn else []
        if not own.update_h2:
            return vectors, []
        heads = self.direction_map.parameters(own.attn2_nhead)[0][:, 0]
        return vectors, [jnp.einsum("nihx,h->nix", mixed(h2), heads)]

    def _shares(self, g2: jax.Array, angles: jax.Array, pairs: Pairs) -> tuple[jax.Array, jax.Array]:
        """Numerators (n_atom, k, heads, k) and denominators (n_atom, k, heads, 1) of the soft-max.

        Args:
            g2: (n_atom, k, g2_dim).
            angles: (n_atom, k, k) products of two directions, in the smooth form times both weights.
            pairs: the neighbours.
        """
        own, smooth = self.config.layers, self.config.smooth
        hidden, heads, width = own.attn2_hidden, own.attn2_nhead, own.g2_dim
        of_heads = self.mapqk.parameters(width)[0].reshape(width, hidden, 2 * heads)
        form = jnp.einsum("adh,bdh->ahb", of_heads[..., :heads], of_heads[..., heads:]) / hidden**0.5
        queries = product(g2, form.reshape(width, heads * width)).reshape(*g2.shape[:2], heads, width)
        scores = product(queries, jnp.swapaxes(g2, 1, 2))
        if own.attn2_has_gate:
            scores = scores * angles[:, :, None]
        if smooth:
            # 20 w w is made by a product of matrices: XLA does not vectorise a loop over scores that reads w by both indices
            halves = jnp.stack([pairs.weight] * 2, axis=-1) * (SHIFT / 2.0) ** 0.5
            lift = product(halves, jnp.swapaxes(halves, 1, 2))[:, :, None]
            scores = (scores if own.attn2_has_gate else scores * (lift / SHIFT)) + lift
        return shares(scores, pairs.mask[:, None, None], own.nsel if smooth else None)

    def _values(self, mixed: jax.Array) -> jax.Array:
        """(n_atom, k, g2_dim) of mixed vectors (n_atom, k, heads, g2_dim): value matrix and map of heads as one."""
        width, heads = self.config.layers.g2_dim, self.config.layers.attn2_nhead
        values = self.mapv.parameters(width)[0].reshape(width, width, heads)
        matrix, bias, _ = self.head_map.parameters(width * heads)
        both = jnp.einsum("aih,ihb->hab", values, matrix.reshape(width, heads, width))
        rows = mixed.reshape(*mixed.shape[:2], heads * width)
        return product(rows, both.reshape(heads * width, width)) + bias[None, None]
