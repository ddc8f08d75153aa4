"""The layers of ``dpa2`` one after another."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.dpa2.layer import RepformerLayer, State, moments
from dpjax.descriptors.dpa2.pairs import pairs_of
from dpjax.descriptors.dpa2.parts import RepformersConfig
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.nn.activations import activation
from dpjax.nn.dense import Dense
from dpjax.nn.repeated import repeated


class Repformers(Descriptor):
    """Refines vectors of atoms by messages between neighbours."""

    config: RepformersConfig

    def add_networks(self) -> None:
        number = self.config.layers.nlayers
        self.g2_embd = Dense(self.config.layers.g2_dim, "none", dtype=self.dtype)
        self.layers = [RepformerLayer(self.config, i == number - 1, self.dtype) for i in range(number)]

    @property
    def dim_out(self) -> int:
        return self.config.layers.g1_dim

    @property
    def dim_frame(self) -> int:
        return self.config.layers.g2_dim

    def init_networks(self) -> None:
        """Create all parameters."""
        self.g2_embd.parameters(1)
        for layer in self.layers:
            layer.init_parameters()

    def __call__(self, view: Neighborhood, g1: jax.Array) -> Features:
        """Vectors (n_atom, g1_dim) and frame (n_atom, g2_dim, 3) of all atoms.

        Args:
            view: the atoms and their neighbours.
            g1: (n_atom, g1_dim) what they start from.
        """
        act = activation(self.config.layers.activation_function)
        pairs = pairs_of(view, self.config, self.pair_exclude, self.davg.value, self.dstd.value)
        state = State(act(g1), act(self.g2_embd(pairs.radial[..., None])), pairs.direction)
        if self.layers[:-1]:  # the last one has fewer networks
            state = repeated(self.layers[:-1], state, pairs, work=view.work)
        for layer in self.layers[-1:]:
            state = layer(state, pairs, work=view.work)
        return Features(state.g1, jnp.swapaxes(moments(state.g2, state.h2, pairs), 1, 2))
