"""The first state of ``dpa4``: type vectors that know where neighbours are, and sums of directions weighted by distance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.charge_spin import RANGES
from dpjax.descriptors.dpa4.edges import Edges, last_layer
from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.nn.activations import Activation
from dpjax.nn.dense import with_bias
from dpjax.nn.equivariant.linear import by_degree
from dpjax.nn.equivariant.norms import rms
from dpjax.nn.products import outer_sum, product
from dpjax.nn.ranks import lifted
from dpjax.nn.repeated import blockwise
from dpjax.nn.type_embedding import rows_of


def type_vectors(weights: Weights, types: jax.Array, condition: jax.Array | None, act: Activation) -> jax.Array:
    """(n_atom, channels) vectors of the types of atoms, with what charge and spin of the frame add (``condition``: (n_atom, 2))."""
    vectors = rows_of(weights["type_embedding"]["adam_type_embedding"], types)
    if condition is None:
        return vectors
    own, whole = weights["charge_spin_embedding"], condition.astype(jnp.int32)
    rows = [
        own[f"{name}_embedding"]["adam_type_embedding"][whole[:, i] - least]
        for i, (name, least, _) in enumerate(RANGES)
    ]
    return vectors + act(_linear(jnp.concatenate(rows, axis=1), own["mix_layer"]))


def first_state(
    weights: Weights, sizes: Sizes, vectors: jax.Array, centres: jax.Array, edges: Edges, act: Activation, work: Any
) -> jax.Array:
    """(n_atom, (L + 1)^2, channels) the state before the first block.

    Args:
        weights: of the descriptor.
        sizes: of its arrays.
        vectors: (n_atom, channels) of the types of atoms.
        centres: (n_atom,) types.
        edges: of all atoms.
        act: the activation function.
        work: how it is divided.
    """
    n_atom, lmax = vectors.shape[0], sizes.first_degree
    if not sizes.config.use_env_seed:
        return jnp.pad(vectors[:, None], ((0, 0), (0, (lmax + 1) ** 2 - 1), (0, 0)))
    use = {name: weights[name] for name in ("env_seed_embedding", "radial_embedding")}
    share = jnp.ones_like(edges.weight) if edges.share is None else edges.share
    arrays = (centres, edges._replace(share=share))

    def block(use: Weights, own: tuple) -> tuple[jax.Array, jax.Array]:
        return _sums(use, sizes, act, *own)

    seeds, others = blockwise(block, use, arrays, n_atom, edges.index.shape[1], work)
    first = _told(weights, sizes, vectors, seeds * edges.degree[:, None, None])
    return jnp.concatenate([first[:, None], others * edges.degree[:, None, None]], axis=1)


def _linear(x: jax.Array, layer: Weights) -> jax.Array:
    y = product(x, layer["matrix"])
    return with_bias(y, layer["bias"]) if "bias" in layer else y


def _sums(use: Weights, sizes: Sizes, act: Activation, centres: jax.Array, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """Sums over the edges of a block of atoms, with the environment (b, 4, embedded) and with directions
    (b, (L + 1)^2 - 1, channels)."""
    values = _embedded(use["env_seed_embedding"], sizes, act, centres, edges.types, edges.basis)
    smooth = edges.weight * edges.inverse
    rows = jnp.concatenate([smooth[..., None], smooth[..., None] * edges.direction], axis=-1)
    seeds = outer_sum(rows * edges.share[..., None], values)
    lmax = sizes.first_degree
    if lmax == 0:
        return seeds, jnp.zeros((values.shape[0], 0, sizes.channels), values.dtype)
    net = edges.radial(use["radial_embedding"], act) * edges.share[..., None]
    zonal = jnp.concatenate([own[..., own.shape[-2] // 2, :] for own in edges.rotations], axis=-1)
    last = last_layer(use["radial_embedding"], lmax)
    return seeds, by_degree(outer_sum(zonal, net), last)[:, 1:]  # a map of sums, which are fewer than the edges


def _embedded(
    net: Weights, sizes: Sizes, act: Activation, centres: jax.Array, types: jax.Array, basis: jax.Array
) -> jax.Array:
    """(b, k, embedded) what a net makes of distances and of the types at both ends."""
    x = _linear(act(_linear(basis, net["rbf_proj_layer1"])), net["rbf_proj_layer2"])
    own, n = sizes.seed, sizes.seed.radial
    table, matrix = net["env_type_embed"]["adam_type_embedding"], net["g_layer1"]["matrix"]
    there = product(table, matrix[n : n + own.type_width])  # of types: so the layer runs for distances only
    here = product(table, matrix[n + own.type_width :])
    y = product(x, matrix[:n]) + rows_of(there, types) + rows_of(here, centres)[:, None]
    if "bias" in net["g_layer1"]:
        y = with_bias(y, net["g_layer1"]["bias"])
    return _linear(act(y), net["g_layer2"])


def _told(weights: Weights, sizes: Sizes, vectors: jax.Array, seeds: jax.Array) -> jax.Array:
    """(n_atom, channels) type vectors, scaled and shifted by what was summed over neighbours, (n_atom, 4, embedded)."""
    squares = jnp.einsum("nac,nad->ncd", seeds, seeds[..., : sizes.seed.axis])
    film = product(squares.reshape(squares.shape[0], -1), weights["env_seed_embedding"]["output_proj"]["matrix"])

    def part(name: str, values: jax.Array) -> jax.Array:
        bounded = jnp.tanh(rms(values, weights[f"film_{name}_norm"]["adam_scale"][0], sizes.config.eps))
        return lifted(jnp.exp(weights[f"film_{name}_strength_log"]), 2) * bounded

    scale, shift = jnp.split(film, 2, axis=1)
    return vectors * (1.0 + part("scale", scale)) + part("shift", shift)
