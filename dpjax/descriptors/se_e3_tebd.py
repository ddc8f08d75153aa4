"""Three-body descriptor with a vector per atom type (``se_e3_tebd``).

For neighbours j and k of a centre, ``c_jk`` is the product of the directional parts of their rows of the environment matrix, the
cosine of the angle between them times both weights.  With a network N,

    D = sum_jk c_jk N(c_jk, v_j, v_k) / sel^2,

over ordered pairs, j = k included, with type vectors v (``concat``); or N(c_jk) (1 + T(v_j, v_k)) with a second network T in its
place (``strip``).  Lengths in angstrom.

All empty places are alike, so they enter as one more slot that counts as often as there are of them.  What types contribute
is computed once for each pair of types, not of neighbours.  In ``strip`` mode both orders of a pair differ in T only, so N is
computed for one of them and meets the mean of both T.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeE3TebdConfig
from dpjax.descriptors.bands import band, band_number
from dpjax.descriptors.facts import kept
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.nn.dense import DenseStack
from dpjax.nn.pair_embedding import embedded_with_types
from dpjax.nn.table import COLLECTION, Tabulated
from dpjax.nn.type_embedding import rows_of

FACTORS = "type_pair_factors"  # what the network of type vectors makes of all pairs, where it is stored


class Slots(NamedTuple):
    """Places of a block of centres that enter the pair sum: those of the neighbours, and one for all empty ones."""

    rows: jax.Array  # (n_atom, 3, n_slot) directional parts of the normalised environment; zero where nothing enters
    number: jax.Array  # (n_atom, n_slot) how often a place counts
    switch: jax.Array  # (n_atom, n_slot) 1 near the centre, 0 at the cut-off and in empty places
    types: jax.Array  # (n_atom, n_slot); n_type: the vector of padding


def products(rows: jax.Array) -> jax.Array:
    """Products of the rows (n_atom, 3, n_slot) of every two slots, (n_atom, n_slot, n_slot)."""
    return jnp.einsum("naj,nak->njk", rows, rows)


class SeE3Tebd(TypeVectors):
    """Descriptor of dimension ``neuron[-1]``, and ``tebd_dim`` more with ``concat_output_tebd``, for centres of any type."""

    config: SeE3TebdConfig

    def add_networks(self) -> None:
        super().add_networks()
        cfg = self.config
        if self.tabulated:
            self.embedding = Tabulated(self.dtype)
            return
        stack = DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype, parent=None)
        self.embedding = stack
        if self.strip:
            self.type_pair_embedding = stack.clone(parent=None)

    @property
    def strip(self) -> bool:
        return self.config.tebd_input_mode == "strip"

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1] + self.dim_appended

    def init_networks(self) -> None:
        """Create what there is beside type vectors."""
        pair = 2 * self.config.tebd_dim
        self.embedding.init_parameters(1 if self.strip else 1 + pair)
        if self.strip:
            self.type_pair_embedding.init_parameters(pair)

    def described(self, view: Neighborhood, vectors: jax.Array) -> Features:
        """The descriptor before type vectors are appended, from those that it is given, (n_type + 1, tebd_dim)."""
        slots = self.slots(view)
        sums = self._strip_sums(slots, vectors) if self.strip else self._concat_sums(slots, vectors)
        return Features(sums / float(kept(self.config)[0]) ** 2)

    def slots(self, view: Neighborhood) -> Slots:
        """The places that enter the pair sum."""
        around = self.surroundings(view)

        def and_empty(values: jax.Array, last: jax.Array) -> jax.Array:
            return jnp.concatenate([values, last[..., None]], axis=-1)

        types = jnp.where(around.mask, around.types, -1)
        types = and_empty(types, jnp.asarray(view.empty_types, types.dtype))
        return Slots(
            rows=and_empty(around.rows[:, 1:], around.empty_row[:, 1:]),
            number=and_empty(jnp.ones_like(around.switch), around.n_empty),
            switch=and_empty(around.switch, jnp.zeros_like(around.n_empty)),
            types=jnp.where(types < 0, self.n_type, types),
        )

    def _concat_sums(self, slots: Slots, vectors: jax.Array) -> jax.Array:
        """(n_atom, neuron[-1]) sums over ordered pairs; the network takes the product of rows and both type vectors."""
        types = slots.types[:, :, None], slots.types[:, None]
        x = embedded_with_types(self.embedding, products(slots.rows), vectors, types)
        return jnp.einsum("njk,njkm->nm", products(slots.rows * slots.number[:, None]), x)

    def _strip_sums(self, slots: Slots, vectors: jax.Array) -> jax.Array:
        """(n_atom, neuron[-1]) sums over pairs; one network takes the product of rows, another both type vectors."""
        n_vector = vectors.shape[0]
        of_types = jnp.asarray(self.get_variable(COLLECTION, FACTORS)) if self.tabulated else self.pair_factors(vectors)
        n_slot = slots.types.shape[1]
        number = jnp.asarray(band_number(n_slot), self.dtype)
        weight = band(products(slots.rows * slots.number[:, None])) * number
        factor = rows_of(
            of_types,
            band(n_vector * slots.types[:, :, None] + slots.types[:, None]),
        )
        if self.config.smooth:
            factor = factor * band(slots.switch[:, :, None] * slots.switch[:, None])[..., None]
        embedded = self.embedding(band(products(slots.rows))[..., None])
        return jnp.einsum("njd,njdm->nm", weight, embedded * (1.0 + factor))

    def pair_factors(self, vectors: jax.Array) -> jax.Array:
        """T of all pairs of types, the mean of both orders, (n_vector^2, neuron[-1])."""
        n_vector, dim = vectors.shape
        pair_of = jnp.broadcast_to(vectors[:, None], (n_vector, n_vector, dim))
        of_types = self.type_pair_embedding(jnp.concatenate([pair_of, jnp.swapaxes(pair_of, 0, 1)], axis=-1))
        return ((of_types + jnp.swapaxes(of_types, 0, 1)) / 2.0).reshape(n_vector * n_vector, -1)
