"""Descriptors with sections by type whose networks serve all types: ``se_e2_a`` in a model with type vectors, ``se_a_ebd_v2``.

As in ``se_e2_a``, ``X = R^T G / sum(sel)`` and ``D = X^T X_<``.  The embedding G of a neighbour depends on its radial column s and
on the vectors e of its type and, unless ``type_one_side``, of that of the centre, which ``model/type_embedding`` makes.
``se_e2_a``: one network, ``G = N(s, e_neighbour, e_centre)``.  ``se_a_ebd_v2``: two, ``G = N(s) (1 + T(e_neighbour, e_centre))``.

Types are known before anything runs, as atoms and neighbours come in sections.  So for each pair of types G is a function of s
alone, like a network of that pair, and everything that holds for those holds here: series stand for them, and what a network makes
of type vectors is computed once for a pair, not for each neighbour.

Only DeePMD-kit's TensorFlow backend has these descriptors.  There a pair in ``exclude_types`` and its empty places add nothing.
Empty places of ``se_a_ebd_v2`` have the vector of padding there, so that with ``davg`` not zero the energy jumps where a neighbour
leaves the cut-off; in "corrected" models they have that of their section.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeAEbdV2Config
from dpjax.descriptors.neighborhood import ordered_pairs
from dpjax.descriptors.se_e2_a import SeE2A
from dpjax.descriptors.type_networks import summed
from dpjax.nn.dense import DenseStack, in_double
from dpjax.nn.pair_embedding import embedded_with_types

PADDING = -1  # the type of nothing, whose vector is zero


class SharedNetworks(SeE2A):
    """``se_e2_a`` with networks that serve all types.

    A subclass says what they make of one number for a pair of types: ``of_pair``, the same in float64 (``network_in_double``), and
    what kind of neighbour an empty place counts as.
    """

    def new_network(self) -> DenseStack:
        """A network of the options of the descriptor."""
        cfg = self.config
        return DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)

    def of_pair(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        """The embedding of neighbours of one type, :data:`PADDING` included, (..., 1) -> (..., neuron[-1])."""
        raise NotImplementedError

    def empty_type(self, neighbor: int) -> int:
        """The type that an empty place in the section of a type counts as."""
        raise NotImplementedError

    def pair_sums(self, centre: int, neighbor: int, rows: jax.Array, radial: jax.Array) -> jax.Array:
        """Sums over neighbours of one type of rows (n_atom, 4, k) times embeddings of (n_atom, k) numbers."""
        return summed(self.of_pair(centre, neighbor), rows, radial)

    def _embedded(self, centre: int, neighbor: int, radial: jax.Array) -> jax.Array:
        """(1, neuron[-1]) embedding of an empty place of one value (1,)."""
        return self.of_pair(centre, self.empty_type(neighbor))(radial[None])

    def _empty(self, centre: int, neighbor: int, kept: jax.Array) -> jax.Array:
        """(n_atom,) empty places of a neighbour type that count, of (n_atom, n_type) neighbours."""
        if (centre, neighbor) in ordered_pairs(self.config.exclude_types):
            return jnp.zeros_like(kept[:, neighbor])
        return super()._empty(centre, neighbor, kept)


class TakesModelVectors(SharedNetworks):
    """Networks that take the type vectors of the model.

    Attributes:
        vectors: the model's table of type vectors, a module that is called without arguments.
    """

    vectors: nn.Module | None = None

    @property
    def dim_types(self) -> int:
        """Length of the type vectors that an embedding depends on."""
        return self.vectors.width * (1 if self.config.type_one_side else 2)

    def table(self) -> jax.Array:
        """(n_type + 1, width) the type vectors in the precision of the descriptor; the last one is that of padding."""
        return self.vectors().astype(self.dtype)

    def pair(self, side: int, neighbor: int) -> tuple[int, ...]:
        """The types whose vectors an embedding depends on, in the order in which networks take them."""
        return (neighbor,) if self.config.type_one_side else (neighbor, side)


class SeE2AVectors(TakesModelVectors):
    """``se_e2_a`` with one network that takes type vectors beside the number."""

    def add_networks(self) -> None:
        self.network = self.new_network()

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.network.init_parameters(1 + self.dim_types)

    def of_pair(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        table, types = self.table(), self.pair(side, neighbor)
        return lambda number: concatenated(self.network, number, table, types)

    def network_in_double(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        """:meth:`of_pair` computed in float64."""
        table, types = self.table(), self.pair(side, neighbor)
        double = in_double(self.network, concatenated)
        return lambda number: double(number, table.astype(number.dtype), types)

    def empty_type(self, neighbor: int) -> int:
        return neighbor


class SeAEbdV2(TakesModelVectors):
    """``se_a_ebd_v2``, with one network for numbers and one for type vectors.

    Attributes:
        padding: empty places have the vector of padding, as in DeePMD-kit; else that of the type of their section.
    """

    config: SeAEbdV2Config
    padding: bool = False

    def add_networks(self) -> None:
        self.network = self.new_network()
        self.type_network = self.new_network()

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.network.init_parameters(1)
        self.type_network.init_parameters(self.dim_types)

    def factor(self, side: int, neighbor: int) -> jax.Array:
        """(neuron[-1],) what a pair of types multiplies the embedding of numbers with."""
        table = self.table()
        vectors = jnp.concatenate([table[t] for t in self.pair(side, neighbor)])
        return 1.0 + self.type_network(vectors[None])[0]

    def of_pair(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        factor = self.factor(side, neighbor)
        return lambda number: self.network(number) * jnp.expand_dims(factor, range(number.ndim - 1))

    def pair_sums(self, centre: int, neighbor: int, rows: jax.Array, radial: jax.Array) -> jax.Array:
        """The factor comes in once for each atom, not for each neighbour."""
        return summed(self.network, rows, radial) * self.factor(centre, neighbor)[None, None]

    def network_in_double(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        """:meth:`of_pair` computed in float64."""
        double, factor = in_double(self.network), self.factor(side, neighbor)
        return lambda number: double(number) * factor.astype(number.dtype)[None]

    def empty_type(self, neighbor: int) -> int:
        return PADDING if self.padding else neighbor


def concatenated(network: DenseStack, number: jax.Array, table: jax.Array, types: tuple[int, ...]) -> jax.Array:
    """What a network makes of numbers (..., 1) and the vectors of some types, rows of ``table``: (..., neuron[-1])."""
    kinds = [jnp.full((1,) * (number.ndim - 1), t) for t in types]
    return embedded_with_types(network, number[..., 0], table, (), kinds)
