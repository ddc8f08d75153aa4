"""``se_e2_a`` with one embedding network, whose output trained type vectors weigh (``se_a_tpe``, also called ``se_a_ebd``).

As in ``se_e2_a``, ``X = R^T G / sum(sel)`` and ``D = X^T X_<``.  One network N takes the radial column s of any neighbour.
A linear layer A makes of its output, for each component m of G, C numbers, or a matrix of C x C, and the type vectors v (of
length C) of the neighbour and, unless ``type_one_side``, of the centre reduce them to one:

    G_m = mean_c v_neighbour[c] A(N(s))[m, c]            or    G_m = mean_cd v_centre[c] A(N(s))[m, c, d] v_neighbour[d].

The vector of type t out of T comes from a network without skip connections that takes the number t/T.  Only DeePMD-kit's TensorFlow
backend has this descriptor; its source is the only reference.

With ``numb_aparam`` and ``type_one_side`` the network of the vectors takes (t, a)/T, where a are the atomic parameters of the
neighbour, and zeros in empty places; then each neighbour has a vector of its own, which comes in beside the rows of R.

Otherwise, for each pair of types the linear layer and the vectors are one matrix, so G is a function of s alone, and series may
stand for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeATpeConfig
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.model_vectors import SharedNetworks
from dpjax.descriptors.neighborhood import Neighborhood
from dpjax.descriptors.type_networks import summed
from dpjax.nn.chebyshev import Grid
from dpjax.nn.dense import Dense, in_double


class SeATpe(SharedNetworks):
    """Descriptor of dimension ``neuron[-1] * axis_neuron`` for centres of one type at a time."""

    config: SeATpeConfig

    def add_networks(self) -> None:
        cfg = self.config
        self.network = self.new_network()
        self.amplify = Dense(cfg.neuron[-1] * self.n_factor, "none", dtype=self.dtype)
        hidden = Dense(cfg.type_nchanl, cfg.activation_function, dtype=self.dtype, parent=None)
        self.type_layers = [
            *(hidden.clone(parent=None) for _ in range(cfg.type_nlayer)),
            hidden.clone(activation_function="none", parent=None),
        ]

    @property
    def n_factor(self) -> int:
        """Numbers that the linear layer makes for each component of G."""
        return self.config.type_nchanl ** (1 if self.config.type_one_side else 2)

    def init_parameters(self) -> None:
        """Create all parameters."""
        cfg = self.config
        self.network.init_parameters(1)
        self.amplify.parameters(cfg.neuron[-1])
        for n_in, layer in zip(
            (1 + cfg.near_parameters, *(cfg.type_nchanl,) * cfg.type_nlayer), self.type_layers, strict=True
        ):
            layer.parameters(n_in)

    def vectors_of(self, types: jax.Array, parameters: jax.Array) -> jax.Array:
        """(..., type_nchanl) vectors of types (..., 1) with parameters (..., near_parameters)."""
        x = jnp.concatenate([types.astype(self.dtype), parameters.astype(self.dtype)], axis=-1) / self.n_type
        for layer in self.type_layers:
            x = layer(x)
        return x

    def type_vectors(self) -> jax.Array:
        """(n_type, type_nchanl) vectors of types whose parameters are zero."""
        return self.vectors_of(jnp.arange(self.n_type)[:, None], jnp.zeros((self.n_type, self.config.near_parameters)))

    def weighing(self, side: int, neighbor: int) -> tuple[jax.Array, jax.Array]:
        """Matrix (neuron[-1], neuron[-1]) and constant (neuron[-1],) that turn the output of the network into G."""
        width, length = self.config.neuron[-1], self.config.type_nchanl
        matrix, bias, _ = self.amplify.parameters(width)
        vectors = self.type_vectors()
        weight = vectors[neighbor] / length
        if not self.config.type_one_side:
            weight = jnp.outer(vectors[side] / length, weight).reshape(-1)
        return matrix.reshape(width, width, -1) @ weight, bias.reshape(width, -1) @ weight

    def of_pair(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        matrix, constant = self.weighing(side, neighbor)
        return lambda number: weighed(self.network(number), matrix, constant)

    def pair_sums(self, centre: int, neighbor: int, rows: jax.Array, radial: jax.Array) -> jax.Array:
        """The weights come in once for each atom, not for each neighbour."""
        matrix, constant = self.weighing(centre, neighbor)
        outer = jnp.sum(rows, axis=-1, keepdims=True) * constant[None, None]
        return summed(self.network, rows, radial) @ matrix + outer

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """Resolutions of series; none where the vector of a neighbour is its own."""
        return () if self.config.near_parameters else super().grids(n_atom, nbrs)

    def neighbor_sums(self, view: Neighborhood, expansion: Expansion | None) -> tuple[jax.Array, jax.Array]:
        """Sums of rows times embeddings (n_atom, 4, neuron[-1]), and (n_atom, n_type) numbers of neighbours of each type."""
        if not self.config.near_parameters:
            return super().neighbor_sums(view, expansion)
        cfg, centre = self.config, view.centre
        sums, kept = jnp.zeros((view.n_atom, 4, cfg.neuron[-1]), self.dtype), []
        for t, (section, parameters) in enumerate(view.sections_with_parameters(cfg.sel, cfg.rcut)):
            kept.append(section.kept)
            if not self._excluded(centre, t) and section.mask.shape[1]:
                vectors = self.vectors_of(jnp.full((*section.mask.shape, 1), t), parameters)
                sums = sums + self._sums_of_each(*self._rows(centre, section), vectors)
        return sums, jnp.stack(kept, axis=1)

    def _sums_of_each(self, radial: jax.Array, rows: jax.Array, vectors: jax.Array) -> jax.Array:
        """(n_atom, 4, neuron[-1]) sums where each neighbour has a vector of its own, (n_atom, k, type_nchanl)."""
        width, length = self.config.neuron[-1], self.config.type_nchanl
        matrix, bias, _ = self.amplify.parameters(width)
        matrix, bias = matrix.reshape(width, width, length) / length, bias.reshape(width, length) / length
        both = rows[:, :, None] * jnp.swapaxes(vectors, 1, 2)[:, None]  # (n_atom, 4, type_nchanl, k)
        shape = (rows.shape[0], rows.shape[1] * length, rows.shape[2])
        total = summed(self.network, both.reshape(shape), radial).reshape(-1, rows.shape[1], length, width)
        return jnp.einsum("ndcm,pmc->ndp", total, jnp.swapaxes(matrix, 0, 1)) + jnp.einsum(
            "ndc,pc->ndp", jnp.sum(both, axis=-1), bias
        )

    def network_in_double(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        """:meth:`of_pair` computed in float64."""
        double, weights = in_double(self.network), self.weighing(side, neighbor)
        return lambda number: weighed(double(number), *(w.astype(number.dtype) for w in weights))

    def empty_type(self, neighbor: int) -> int:
        return neighbor


def weighed(embedded: jax.Array, matrix: jax.Array, constant: jax.Array) -> jax.Array:
    """(..., n) times a matrix (n, n) plus a constant (n,)."""
    return embedded @ matrix + jnp.expand_dims(constant, range(embedded.ndim - 1))
