"""What descriptors that tell types apart by vectors have in common."""

from __future__ import annotations

from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.nearest import Surroundings, surroundings
from dpjax.descriptors.neighborhood import Neighborhood
from dpjax.nn.type_embedding import type_embedding


class TypeVectors(Descriptor):
    """A vector for each type, for centres of any type.

    Attributes:
        type_map: names of the types; elements where type vectors come from electron configurations.
    """

    type_map: tuple[str, ...] = ()

    def add_networks(self) -> None:
        self.type_embedding = type_embedding(self.config, self.n_type, self.type_map, self.dtype)

    @property
    def dim_appended(self) -> int:
        """Length of the centre's type vector where the output ends with it, else 0."""
        return self.config.tebd_dim if self.config.concat_output_tebd else 0

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        self.type_embedding.init_parameters()

    def surroundings(self, view: Neighborhood) -> Surroundings:
        """:func:`~dpjax.descriptors.nearest.surroundings` of a block of centres."""
        return surroundings(view, self.config, self.pair_exclude, self.davg.value, self.dstd.value)
