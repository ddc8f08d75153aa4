"""Attention between the neighbours of an atom, gated by their directions (DPA-1, Zhang et al., arXiv:2208.08236).

With queries q, keys k and values v of the neighbours i, j of one atom, a layer adds to neighbour i

    sum_j p_ij g_ij v_j W + b,    p_ij = exp(a_ij) / sum_j exp(a_ij),    a_ij = scale q_i . k_j,

and normalises the result.  The gate g_ij is the cosine of the angle between both neighbours, or 1.  In the smooth form, with the
switch w that falls to 0 at the cut-off, ``a_ij = (scale q_i . k_j + 20) w_i w_j - 20`` and g_ij has a factor ``w_i w_j``.  With a
mask g_ii is 0.

Places of ``sel`` without a neighbour give no values.  In the smooth form they count in the denominator, each with exp(-20).
What such a place becomes itself depends on no neighbour (:meth:`NeighborAttention.lonely`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.nn.dense import Dense
from dpjax.nn.norms import LayerNorm

SHIFT = 20.0  # by which the smooth form lifts scores before they meet the switch
SAFE_SCALE = 20.0  # below it, exponentials of scores of unit vectors need no guard against overflow


class Slots(NamedTuple):
    """Places for neighbours: what a layer knows of them beside their vectors."""

    mask: jax.Array  # (n_atom, k) bool: which slots take part
    switch: jax.Array  # (n_atom, k) w, zero where mask is False
    direction: jax.Array  # (n_atom, 3, k) unit vectors, zero where mask is False
    sel: int  # places in all, at least k


class Scoring(NamedTuple):
    """How scores and gates are formed."""

    scale: float
    normalize: bool = True  # bring queries, keys and values to unit length
    smooth: bool = True
    angular: bool = True  # gate with the cosine of the angle
    masked: bool = False  # leave out what a neighbour would take from itself


def unit(x: jax.Array, axis: int = -1, least: float = 1e-12) -> jax.Array:
    """``x`` divided by its length along an axis, or by ``least`` where that is longer; derivatives are finite."""
    square = jnp.sum(x * x, axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, least * least))


def weights(q: jax.Array, k: jax.Array, near: Slots, how: Scoring) -> tuple[jax.Array, jax.Array]:
    """Numerators (n_atom, k, k) and denominators (n_atom, k, 1) of p.

    Args:
        q, k: (n_atom, k, hidden) queries and keys.
        near: the neighbours.
        how: scale and form.
    """
    q = q * how.scale
    if how.smooth:
        # one product gives (q.k + 20) w w; that all are 20 higher than in the formula, an empty place 0, changes no ratio
        lift = jnp.full((*q.shape[:-1], 1), math.sqrt(SHIFT), q.dtype)
        w = near.switch[..., None]
        q, k = (jnp.concatenate([x, lift], axis=-1) * w for x in (q, k))
    scores = jnp.einsum("nih,njh->nij", q, k)
    small = how.normalize and abs(how.scale) <= SAFE_SCALE
    return shares(scores, near.mask[:, None], near.sel if how.smooth else None, small=small)


def shares(
    scores: jax.Array, mask: jax.Array, n_place: int | None, *, small: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Numerators, of the shape of the scores, and denominators (..., 1) of the soft-max along the last axis.

    Args:
        scores: (..., k); of the smooth form 20 higher than in its formula and 0 where there is no neighbour.
        mask: bool, which of them belong to neighbours; a shape that broadcasts.
        n_place: places in all, of the smooth form; None: of the other form, where only neighbours take part.
        small: no score is so high that its exponential would overflow.
    """
    top = jnp.zeros((), scores.dtype)
    if not small:
        known = scores if n_place is not None else jnp.where(mask, scores, -jnp.inf)
        top = jax.lax.stop_gradient(jnp.max(known, axis=-1, keepdims=True, initial=-jnp.inf))
        top = jnp.maximum(top, 0.0) if n_place is not None else jnp.where(top > -jnp.inf, top, 0.0)
    if n_place is not None:
        numerator = jnp.exp(scores - top)  # of slots without a neighbour, too: their score is 0, as in all empty places
        others = (n_place - scores.shape[-1]) * jnp.exp(-top)
        return numerator, jnp.sum(numerator, axis=-1, keepdims=True) + others
    numerator = jnp.where(mask, jnp.exp(jnp.where(mask, scores - top, 0.0)), 0.0)
    total = jnp.sum(numerator, axis=-1, keepdims=True)
    return numerator, jnp.where(total > 0.0, total, 1.0)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, near: Slots, how: Scoring) -> jax.Array:
    """``sum_j p_ij g_ij v_j``, (n_atom, k, hidden); any finite value for slots without a neighbour.

    Args:
        q, k, v: (n_atom, k, hidden).
        near: the neighbours.
        how: scale and form.
    """
    if how.normalize:
        q, k, v = unit(q), unit(k), unit(v)
    numerator, total = weights(q, k, near, how)
    if how.masked:  # after the soft-max, whose denominator keeps it
        place = jnp.arange(q.shape[1])
        numerator = numerator * (place[:, None] != place[None])[None]
    if how.angular:
        arm = near.direction * near.switch[:, None] if how.smooth else near.direction
        mixed = jnp.einsum("nij,njh->nih", numerator * jnp.einsum("nai,naj->nij", arm, arm), v)
    elif how.smooth:
        w = near.switch[..., None]
        mixed = w * jnp.einsum("nij,njh->nih", numerator, w * v)
    else:
        mixed = jnp.einsum("nij,njh->nih", numerator, v)
    return mixed / total


class AttentionLayer(nn.Module):
    """One layer on vectors of length ``width``, with queries, keys and values of length ``hidden``."""

    width: int
    hidden: int
    scoring: Scoring
    eps: float = 1e-5
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        self.in_proj = Dense(3 * self.hidden, "none", dtype=self.dtype)
        self.out_proj = Dense(self.width, "none", dtype=self.dtype)
        self.norm = LayerNorm(self.width, self.eps, self.dtype)

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.in_proj.parameters(self.width)
        self.out_proj.parameters(self.hidden)
        self.norm.parameters()

    def __call__(self, x: jax.Array, near: Slots) -> jax.Array:
        mixed = attend(*jnp.split(self.in_proj(x), 3, axis=-1), near, self.scoring)
        return self.norm(x + self.out_proj(mixed))

    def lonely(self, x: jax.Array) -> jax.Array:
        """The same for vectors (..., width) of places without a neighbour, to which nothing is added but the bias."""
        return self.norm(x + self.out_proj.parameters(self.hidden)[1].reshape((1,) * (x.ndim - 1) + (-1,)))


class NeighborAttention(nn.Module):
    """Layers of attention one after another, ``layers_0`` and so on.

    Attributes:
        n_layer: how many; none leaves the vectors as they are.
        width: length of the vectors.
        hidden: length of queries, keys and values.
        scoring: how scores and gates are formed.
        eps: added to variances.
    """

    n_layer: int
    width: int
    hidden: int
    scoring: Scoring
    eps: float = 1e-5
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        self.layers = [
            AttentionLayer(self.width, self.hidden, self.scoring, self.eps, self.dtype) for _ in range(self.n_layer)
        ]

    def init_parameters(self) -> None:
        """Create all parameters."""
        for layer in self.layers:
            layer.init_parameters()

    def __call__(self, x: jax.Array, near: Slots) -> jax.Array:
        """Vectors (n_atom, k, width) of the neighbours after all layers."""
        for layer in self.layers:
            x = layer(x, near)
        return x

    def lonely(self, x: jax.Array) -> jax.Array:
        """Vectors (..., width) of places without a neighbour after all layers."""
        for layer in self.layers:
            x = layer.lonely(x)
        return x
