"""What descriptors with an environment matrix have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dpjax.nn.chebyshev import Grid
from dpjax.nn.precision import dtype_of


class Descriptor(nn.Module):
    """Networks, which subclasses add, and statistics for each type of the centre.

    Attributes:
        config: hyper-parameters; ``sel`` is resolved.
        n_type: number of types.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list.
        tabulated: the embedding networks are tables (:mod:`dpjax.nn.table`): the model is compressed.
    """

    n_column = 4  # of the environment matrix that have statistics

    config: Any
    n_type: int
    pair_exclude: frozenset[tuple[int, int]] = frozenset()
    tabulated: bool = False

    def setup(self):
        self.add_networks()
        self.add_statistics()

    def add_networks(self) -> None:
        """Create the networks; apart from ``setup``, which Flax lets no subclass extend."""

    def add_statistics(self) -> None:
        """Create mean and spread of the environment for each type of the centre."""
        self.davg = self.variable("stats", "davg", jnp.zeros, (self.n_type, self.n_column), self.dtype)
        self.dstd = self.variable("stats", "dstd", jnp.ones, (self.n_type, self.n_column), self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1]

    @property
    def dim_frame(self) -> int:
        return 0

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series in place of the networks save time for ``n_atom`` centres: none."""
        return ()
