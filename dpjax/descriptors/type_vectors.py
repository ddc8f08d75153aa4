"""What descriptors that tell types apart by vectors have in common."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.nearest import Surroundings, surroundings
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.nn.type_embedding import rows_of, type_embedding


class TypeVectors(Descriptor):
    """A vector for each type, for centres of any type.

    Attributes:
        type_map: names of the types; elements where type vectors come from electron configurations.
        vectors: the model's table of type vectors, a module that is called without arguments; None: the descriptor has its own.
    """

    type_map: tuple[str, ...] = ()
    vectors: nn.Module | None = None

    def add_networks(self) -> None:
        if self.vectors is None:
            self.type_embedding = type_embedding(self.config, self.n_type, self.type_map, self.dtype)

    def type_table(self) -> jax.Array:
        """(n_type + 1, tebd_dim) type vectors in the precision of the descriptor; the last row, zeros, is that of padding."""
        return self.type_embedding() if self.vectors is None else self.vectors().astype(self.dtype)

    @property
    def dim_appended(self) -> int:
        """Length of the centre's type vector where the output ends with it, else 0."""
        return self.config.tebd_dim if self.config.concat_output_tebd else 0

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        if self.vectors is None:
            self.type_embedding.init_parameters()
        self.init_networks()

    def init_networks(self) -> None:
        """Create what there is beside type vectors."""

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of centres of any type; values (n_atom, dim_out), frame (n_atom, dim_frame, 3) in its precision."""
        vectors = self.type_table()
        features = self.described(view, vectors)
        if not self.config.concat_output_tebd:
            return features
        own = rows_of(vectors, view.centre_types)
        return features._replace(values=jnp.concatenate([features.values, own], axis=1))

    def described(self, view: Neighborhood, vectors: jax.Array) -> Features:
        """The descriptor before type vectors are appended, from those that it is given, (n_type + 1, tebd_dim)."""
        raise NotImplementedError

    def surroundings(self, view: Neighborhood) -> Surroundings:
        """:func:`~dpjax.descriptors.nearest.surroundings` of a block of centres."""
        return surroundings(view, self.config, self.pair_exclude, self.davg.value, self.dstd.value)
