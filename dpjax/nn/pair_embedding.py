"""Embedding networks of a distance and two types, which are told apart by type vectors.

``concat``: one network N(s, v_neighbour, v_centre).  ``strip``: N(s) (1 + T(v_neighbour, v_centre)) with a second network T; in
the smooth form T has a factor that falls to 0 at the cut-off.  One-sided networks do not take the centre's vector.
Zhang et al., arXiv:2208.08236.

There are few types, so what they contribute is computed once for each type or pair of types, not for each neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.nn.activations import activation
from dpjax.nn.dense import Dense, DenseStack, add_residual, has_timestep
from dpjax.nn.table import COLLECTION, Tabulated
from dpjax.nn.type_embedding import rows_of

FACTORS = "factors"  # what the second network of ``strip`` makes of types, where it is stored
FEW_TYPES = 4  # up to which sums over neighbours are taken by type


def embedded_with_types(
    stack: DenseStack,
    number: jax.Array,
    vectors: jax.Array,
    types: Sequence[jax.Array],
    shared: Sequence[jax.Array] = (),
) -> jax.Array:
    """What a network makes of numbers and the vectors of some types, one after the other, (..., neuron[-1]).

    Args:
        stack: the network.
        number: (...) the only input that is each one's own.
        vectors: (n_type + 1, dim), the last one of padding.
        types: of the vectors; shapes that broadcast to that of ``number``, -1 for padding.
        shared: types of the vectors that follow, which many numbers have in common: they meet the bias first, which is less work.
    """
    x = _first_layer(stack.layers["0"], number, vectors, types, shared)
    for i in range(1, len(stack.neuron)):
        x = stack.layers[str(i)](x)
    return x


def _first_layer(
    layer: Dense, number: jax.Array, vectors: jax.Array, types: Sequence[jax.Array], shared: Sequence[jax.Array]
) -> jax.Array:
    """First layer of :func:`embedded_with_types`: each vector's product with its part of the matrix is formed once."""
    dim, row = vectors.shape[1], (1,) * number.ndim + (-1,)
    n_in = 1 + dim * (len(types) + len(shared))
    matrix, bias, idt = layer.parameters(n_in)
    parts = [matrix[start : start + dim] for start in range(1, n_in, dim)]
    y = number[..., None] * matrix[0].reshape(row)
    for kinds, part in zip(types, parts[: len(types)], strict=True):
        y = y + rows_of(vectors @ part, kinds)
    constant = bias.reshape(row)
    for kinds, part in zip(shared, parts[len(types) :], strict=True):
        constant = constant + rows_of(vectors @ part, kinds)
    y = activation(layer.activation_function)(y + constant)
    y = y if idt is None else y * idt.reshape(row)
    if not layer.residual or not has_timestep(n_in, layer.width):  # then there is no skip connection
        return y
    wide = (*number.shape, dim)
    own = (jnp.broadcast_to(rows_of(vectors, kinds), wide) for kinds in (*types, *shared))
    return add_residual(jnp.concatenate([number[..., None], *own], axis=-1), y)


class PairEmbedding(nn.Module):
    """The networks.

    Attributes:
        neuron, activation_function, resnet_dt: of both networks.
        dim_type: length of a type vector.
        strip: form of the networks.
        one_side: leave out the centre's type.
        tabulated: a table stands for the first network of ``strip``, and what the second makes of each pair of types is stored.
    """

    neuron: Sequence[int]
    dim_type: int
    activation_function: str = "tanh"
    resnet_dt: bool = False
    strip: bool = False
    one_side: bool = False
    tabulated: bool = False
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        if self.tabulated:
            self.network = Tabulated(self.dtype)
            return
        self.network = DenseStack(self.neuron, self.activation_function, self.resnet_dt, dtype=self.dtype, parent=None)
        if self.strip:
            self.type_network = self.network.clone(parent=None)

    @property
    def dim_types(self) -> int:
        """Length of the type vectors that a network takes."""
        return self.dim_type if self.one_side else 2 * self.dim_type

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.network.init_parameters(1 if self.strip else 1 + self.dim_types)
        if self.strip:
            self.type_network.init_parameters(self.dim_types)

    def __call__(
        self,
        radial: jax.Array,
        vectors: jax.Array,
        centres: jax.Array,
        neighbors: jax.Array,
        switch: jax.Array | None = None,
    ) -> jax.Array:
        """Embeddings of neighbours, (n_atom, k, neuron[-1]).

        Args:
            radial: (n_atom, k) s.
            vectors: (n_type + 1, dim_type), the last one of padding.
            centres: (n_atom,) types, -1 for padding.
            neighbors: (n_atom, k) types, -1 for padding.
            switch: (n_atom, k) of the smooth form of ``strip``; None: the other form.
        """
        if not self.strip:
            of_centre = () if self.one_side else (centres[:, None],)
            return embedded_with_types(self.network, radial, vectors, (neighbors,), of_centre)
        x = self.network(radial[..., None])
        factor = self._factors_at(vectors, centres[:, None], neighbors)
        return x + x * (factor if switch is None else factor * switch[..., None])

    def sums(
        self,
        rows: jax.Array,
        radial: jax.Array,
        vectors: jax.Array,
        centres: jax.Array,
        neighbors: jax.Array,
        switch: jax.Array | None = None,
    ) -> jax.Array:
        """Sums over neighbours of rows (n_atom, n_row, k) times embeddings, (n_atom, n_row, neuron[-1]).

        Other arguments as for a call.  With a table and few types the sums are taken for each type of the neighbours, as those of
        N alone are then what :func:`~dpjax.nn.table.table_sums` is fast at; T comes in once per atom.
        """
        n_type = vectors.shape[0] - 1
        if not self.tabulated or n_type > FEW_TYPES:
            return jnp.einsum("nck,nkm->ncm", rows, self(radial, vectors, centres, neighbors, switch))
        n_atom, n_row, width = rows.shape
        kinds = jnp.arange(n_type)
        share = (neighbors[:, None, :] == kinds[None, :, None]).astype(rows.dtype)
        share = share if switch is None else share * switch[:, None, :]
        by_type = (share[:, :, None] * rows[:, None]).reshape(n_atom, n_type * n_row, width)
        total = self.network.sums(jnp.concatenate([rows, by_type], axis=1), radial)
        by_type = total[:, n_row:].reshape(n_atom, n_type, n_row, -1)
        return total[:, :n_row] + jnp.einsum(
            "ntcm,ntm->ncm", by_type, self._factors_at(vectors, centres[:, None], kinds[None])
        )

    def _factors_at(self, vectors: jax.Array, centres: jax.Array, neighbors: jax.Array) -> jax.Array:
        """T for types of centres and neighbours, shapes that broadcast, as (..., neuron[-1])."""
        n_vector = vectors.shape[0]
        index = jnp.where(neighbors < 0, n_vector - 1, neighbors)
        first = jnp.where(centres < 0, n_vector - 1, centres)
        index = index + (0 * first if self.one_side else n_vector * first)
        table = jnp.asarray(self.get_variable(COLLECTION, FACTORS)) if self.tabulated else self.factors(vectors)
        return rows_of(table, index)

    def factors(self, vectors: jax.Array) -> jax.Array:
        """T of all types, (n_vector, neuron[-1]), or of all pairs of types, (n_vector^2, neuron[-1]), the centre's first."""
        if self.one_side:
            return self.type_network(vectors)
        n_vector = vectors.shape[0]
        wide = (n_vector, n_vector, self.dim_type)
        pair = jnp.broadcast_to(vectors[None], wide), jnp.broadcast_to(vectors[:, None], wide)
        return self.type_network(jnp.concatenate(pair, axis=-1)).reshape(n_vector * n_vector, -1)
