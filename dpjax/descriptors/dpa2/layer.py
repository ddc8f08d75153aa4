"""One layer of ``dpa2``: atoms, pairs and directions are updated from what they were before the layer.

Sums over neighbours are taken of the vectors themselves, and matrices act on the sums, which is the same with far less work.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa2.attention import AtomAttention, PairAttention
from dpjax.descriptors.dpa2.pairs import Pairs
from dpjax.descriptors.dpa2.parts import RepformersConfig
from dpjax.nn.activations import activation
from dpjax.nn.blocks import Work
from dpjax.nn.dense import Dense
from dpjax.nn.moments import invariants
from dpjax.nn.repeated import in_blocks
from dpjax.nn.updates import joined, residual_weights


class State(NamedTuple):
    """What layers hand on; pairs of empty places have any finite values."""

    g1: jax.Array  # (n_atom, g1_dim) of atoms
    g2: jax.Array  # (n_atom, k, g2_dim) of pairs
    h2: jax.Array  # (n_atom, k, 3) directions of pairs


def moments(vectors: jax.Array, h2: jax.Array, pairs: Pairs) -> jax.Array:
    """(n_atom, 3, m) sums over neighbours of their directions times vectors (n_atom, k, m), divided by their number or its root."""
    return jnp.einsum("nkx,nkm->nxm", h2 * pairs.weight[..., None], vectors) * pairs.per_moment


class RepformerLayer(nn.Module):
    """The networks of a layer.

    Attributes:
        config: hyper-parameters.
        last: leave pairs and directions as they are.
    """

    config: RepformersConfig
    last: bool = False
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        own = self.config.layers

        def linear(width: int, bias: bool = True) -> Dense:
            return Dense(width, "none", use_bias=bias, dtype=self.dtype)

        self.linear1 = linear(own.g1_dim)
        if own.g1_out_mlp:
            self.g1_self_mlp = linear(own.g1_dim)
        if own.update_g1_has_conv:
            self.proj_g1g2 = linear(own.g1_dim if own.g1_out_conv else own.g2_dim, bias=False)
        if own.update_g1_has_attn:
            self.loc_attn = AtomAttention(self.config, self.dtype)
        if not self.last:
            self.linear2 = linear(own.g2_dim)
        if self.has_products:
            self.proj_g1g1g2 = linear(own.g2_dim, bias=False)
        if self.has_pair_attention:
            self.attn2 = PairAttention(self.config, self.dtype)
        numbers = {
            "g1": (
                1 + own.g1_out_mlp + (own.update_g1_has_conv and own.g1_out_conv) + own.update_g1_has_attn,
                own.g1_dim,
            ),
            "g2": (0 if self.last else 1 + own.update_g2_has_g1g1 + own.update_g2_has_attn, own.g2_dim),
            "h2": (0 if self.last else int(own.update_h2), 1),
        }
        self.weights = {
            name: residual_weights(self, own, f"{name}_residual", *shape, self.dtype) for name, shape in numbers.items()
        }

    @property
    def has_products(self) -> bool:
        """Whether pairs get the product of the vectors of both atoms."""
        return self.config.layers.update_g2_has_g1g1 and not self.last

    @property
    def has_pair_attention(self) -> bool:
        """Whether pairs, or directions, attend to each other."""
        own = self.config.layers
        return (own.update_g2_has_attn or own.update_h2) and not self.last

    @property
    def dim_joint(self) -> int:
        """Length of what ``linear1`` takes."""
        own = self.config.layers
        parts = (
            (not own.g1_out_mlp, own.g1_dim),
            (own.update_g1_has_conv and not own.g1_out_conv, own.g2_dim),
            (own.update_g1_has_grrg, own.g2_dim * own.axis_neuron),
            (own.update_g1_has_drrd, own.g1_dim * own.axis_neuron),
        )
        return sum(width for there, width in parts if there)

    def init_parameters(self) -> None:
        """Create all parameters."""
        own = self.config.layers
        self.linear1.parameters(self.dim_joint)
        if own.g1_out_mlp:
            self.g1_self_mlp.parameters(own.g1_dim)
        if own.update_g1_has_conv:
            self.proj_g1g2.parameters(own.g2_dim if own.g1_out_conv else own.g1_dim)
        if own.update_g1_has_attn:
            self.loc_attn.init_parameters()
        if not self.last:
            self.linear2.parameters(own.g2_dim)
        if self.has_products:
            self.proj_g1g1g2.parameters(own.g1_dim)
        if self.has_pair_attention:
            self.attn2.init_parameters()

    def __call__(self, state: State, pairs: Pairs, *, work: Work) -> State:
        """The layer on all atoms."""
        near = pairs.near(state.g1)  # the only thing that comes from other atoms
        arrays, number = (state, near, pairs._replace(copies=None)), state.g2.shape[1]
        squares = number**2 if self.has_pair_attention else number
        return in_blocks(self, RepformerLayer.updated, arrays, state.g1.shape[0], squares, work, within=True)

    def updated(self, state: State, near: jax.Array, pairs: Pairs) -> State:
        """What becomes of a block of atoms; ``near`` (n_atom, k, g1_dim) are the vectors of their neighbours."""
        g1 = self._joined("g1", state.g1, self._atom_terms(state, near, pairs))
        if self.last:
            return state._replace(g1=g1)
        g2, h2 = self._pair_terms(state, near, pairs)
        return State(g1, self._joined("g2", state.g2, g2), self._joined("h2", state.h2, h2))

    def _joined(self, name: str, old: jax.Array, new: list[jax.Array]) -> jax.Array:
        return joined(self.config.layers.update_style, old, new, self.weights[name])

    def _act(self, x: jax.Array) -> jax.Array:
        return activation(self.config.layers.activation_function)(x)

    def _atom_terms(self, state: State, near: jax.Array, pairs: Pairs) -> list[jax.Array]:
        """(n_atom, g1_dim) each: from itself, from neighbours weighted by g2, from all that is joint, by attention."""
        own = self.config.layers
        terms, joint = [], []
        (terms if own.g1_out_mlp else joint).append(
            self._act(self.g1_self_mlp(state.g1)) if own.g1_out_mlp else state.g1
        )
        if own.update_g1_has_conv:
            (terms if own.g1_out_conv else joint).append(self._convolved(state, near, pairs))
        if own.update_g1_has_grrg:
            joint.append(invariants(moments(state.g2, state.h2, pairs), own.axis_neuron))
        if own.update_g1_has_drrd:
            joint.append(invariants(moments(near, state.h2, pairs), own.axis_neuron))
        terms.append(self._act(self.linear1(jnp.concatenate(joint, axis=-1))))
        if own.update_g1_has_attn:
            terms.append(self.loc_attn(state.g1, near, pairs))
        return terms

    def _convolved(self, state: State, near: jax.Array, pairs: Pairs) -> jax.Array:
        """(n_atom, g1_dim or g2_dim) mean over neighbours of their vectors times g2, one mapped to the length of the other."""
        own = self.config.layers
        products = jnp.einsum("nkp,nkm->npm", state.g2 * pairs.weight[..., None], near)
        if own.g1_out_conv:
            mapped = jnp.einsum("npm,pm->nm", products, self.proj_g1g2.parameters(own.g2_dim)[0])
        else:
            mapped = jnp.einsum("npm,mp->np", products, self.proj_g1g2.parameters(own.g1_dim)[0])
        return mapped * pairs.per_number

    def _pair_terms(self, state: State, near: jax.Array, pairs: Pairs) -> tuple[list[jax.Array], list[jax.Array]]:
        """What g2 and h2 get: from itself, from the vectors of both atoms, by attention."""
        vectors, directions = [self._act(self.linear2(state.g2))], []
        if self.has_products:
            matrix = self.proj_g1g1g2.parameters(self.config.layers.g1_dim)[0]
            of_centre = state.g1[..., None] * matrix[None]
            vectors.append(jnp.einsum("nkm,nmp->nkp", near, of_centre) * pairs.weight[..., None])
        if self.has_pair_attention:
            attended, directions = self.attn2(state.g2, state.h2, pairs)
            vectors += attended
        return vectors, directions
