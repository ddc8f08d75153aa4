"""Equivariant descriptor ``dpa4``, also called SeZM: messages between states that turn with the structure.

The state of an atom has scalars, vectors and components of higher degree.  A message is the state of a neighbour, turned into the
frame of the edge, where dense matrices may mix its degrees (Passaro and Zitnick, arXiv:2302.03655), weighed by attention.  The
scalars that are there in the end are the descriptor (arXiv:2606.02419).  Lengths in angstrom.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import Dpa4Config
from dpjax.config.models.dpa4 import LoraConfig
from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.dpa4.blocks import Graph, read_out
from dpjax.descriptors.dpa4.edges import edges_of
from dpjax.descriptors.dpa4.lora import adapters, drawn_with, merged
from dpjax.descriptors.dpa4.parameters import Weights, drawn, nested, parameters
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.descriptors.dpa4.start import first_state, type_vectors
from dpjax.descriptors.neighborhood import Features, Neighborhood, ordered_pairs
from dpjax.nn.activations import activation
from dpjax.nn.bridging import Bridge


class DPA4(Descriptor):
    """Descriptor of dimension ``channels`` for all atoms of a batch.

    Attributes:
        type_map: names of the types.
        bridge: distances below which neighbours stand still; None: nowhere.
        exact: attention as it is meant, and not as the reference computes it.
        lora: adapters that are trained in place of weights; None: without.
    """

    config: Dpa4Config
    type_map: tuple[str, ...] = ()
    bridge: Bridge | None = None
    exact: bool = True
    lora: LoraConfig | None = None

    def add_networks(self) -> None:
        found = parameters(self.config, self.n_type)
        parts, dtypes = nested(found), (self.dtype, self.least_dtype)
        if self.lora is None:
            self.weights = {name: self.param(name, drawn, part, dtypes) for name, part in parts.items()}
            return
        added = nested(adapters(found, self.lora.rank))
        weights = {
            name: self.param(name, drawn_with, part, added.get(name, {}), dtypes) for name, part in parts.items()
        }
        self.weights = merged(weights, self.lora.scaling)

    def add_statistics(self) -> None:
        """None: norms with trained scales take their place."""

    @property
    def least_dtype(self) -> jnp.dtype:
        """Of everything but linear maps within blocks: at least float32."""
        return jnp.promote_types(self.dtype, jnp.float32)

    @property
    def dim_out(self) -> int:
        return self.config.channels

    def init_parameters(self) -> None:
        """Parameters exist as soon as the module is set up."""

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of all atoms: values (n_atom, channels)."""
        return self.with_state(view)[0]

    def with_state(self, view: Neighborhood, added: jax.Array | None = None) -> tuple[Features, jax.Array]:
        """Descriptor of all atoms, and their last states (n_atom, (L + 1)^2, channels); ``added`` as for :meth:`states`."""
        last = self.states(view, added)[1]
        return Features(read_out(self.weights["output_ffn"], Sizes(self.config), last[:, 0])), last

    def states(self, view: Neighborhood, added: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """(n_atom, (L + 1)^2, channels) the states before the first block and after the last.

        Args:
            view: the atoms.
            added: what the first states are given beside what the structure says, shaped like them; None: nothing.
        """
        sizes, act = Sizes(self.config), activation(self.config.activation_function)
        excluded = self.pair_exclude | ordered_pairs(self.config.exclude_types)
        frequencies = self.weights["radial_basis"]["adam_freqs"]
        edges = edges_of(view, sizes, self.n_type, excluded, frequencies, self.bridge, self.least_dtype)
        work = view.work.decided(len(sizes.degrees), *edges.index.shape, sizes.kept * self.least_dtype.itemsize)
        if not work.recomputes:
            edges = edges._replace(net=edges.radial(self.weights["radial_embedding"], act))
        vectors = type_vectors(self.weights, view.centre_types, view.condition, act)
        first = first_state(self.weights, sizes, vectors, view.centre_types, edges, act, work)
        first = first if added is None else first + added.astype(first.dtype)
        return first, Graph(self.weights, sizes, vectors, edges, self.exact, work, view.copies).run(first)


__all__ = ["DPA4", "Weights"]
