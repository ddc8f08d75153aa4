"""The edges of ``dpa4``: from each atom to its neighbours, with weights that fall smoothly to zero at the cut-off.

Arrays are (n_atom, k, ...).  Places without a neighbour have weight zero, a direction of length 1 and radial functions of zero, so
they contribute nothing and nothing of them is infinite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.descriptors.facts import kept
from dpjax.descriptors.nearest import nearest_neighbors, paired
from dpjax.descriptors.neighborhood import Neighborhood, at_neighbors
from dpjax.nn.activations import Activation
from dpjax.nn.bridging import Bridge, clamped, gate
from dpjax.nn.equivariant.norms import rms
from dpjax.nn.equivariant.rotations import frame_of, matrices
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted

NEAREST = 1e-10  # angstrom^2; what is nearer is the atom itself
NORM_FLOOR = 1e-7  # in the norms of the radial net, whatever the option eps is
DEGREE_FLOOR = 0.25  # added to the sum of squared weights of an atom's edges


class Edges(NamedTuple):
    """Edges of atoms, in the precision of the descriptor."""

    index: jax.Array  # (n, k) the atom at the other end
    types: jax.Array  # (n, k) its type; -1 where there is none
    direction: jax.Array  # (n, k, 3) from the centre to the neighbour, over the length
    inverse: jax.Array  # (n, k) 1/length, 1/angstrom
    basis: jax.Array  # (n, k, n_radial) radial functions times their switch
    weight: jax.Array  # (n, k) of an edge
    rotations: tuple[jax.Array, ...]  # for each degree (n, k, rows, 2 l + 1) into the frame of the edge
    degree: jax.Array  # (n,) by which sums over edges are multiplied
    share: jax.Array | None  # (n, k) what bridging leaves of an edge, whose neighbour may be vanishing
    net: jax.Array | None = None  # (n, k, m) what the radial net makes of distances, times weights, where it is kept

    def radial(self, weights: Weights, act: Activation) -> jax.Array:
        """``net``, computed where it was not kept."""
        return radial_net(self.basis, weights, act) * self.weight[..., None] if self.net is None else self.net


def edges_of(
    view: Neighborhood,
    sizes: Sizes,
    n_type: int,
    excluded: frozenset[tuple[int, int]],
    frequencies: jax.Array,
    bridge: Bridge | None,
    dtype: jnp.dtype,
) -> Edges:
    """The edges of all atoms.

    Args:
        view: the atoms and the untruncated table of their neighbours.
        sizes: of the descriptor.
        n_type: number of types.
        excluded: ordered pairs of types (centre, neighbour) without an edge.
        frequencies: (1, n_radial) of the radial functions.
        bridge: distances below which neighbours stand still; None: nowhere.
        dtype: of the result.
    """
    cfg = sizes.config
    near = nearest_neighbors(view, kept(cfg)[0], cfg.rcut)
    disp = near.disp.astype(dtype)
    square = jnp.sum(disp * disp, axis=-1)
    mask = near.mask & (square > NEAREST) & ~paired(excluded, n_type, view, near.types)
    far = lifted(jnp.asarray([0.0, 0.0, cfg.rcut], dtype), 3)
    disp = jnp.where(mask[..., None], disp, far)
    share = None
    if bridge is not None:
        disp, seen = clamped(disp, bridge)
        share = at_neighbors(gate(seen, mask, bridge), near.index, view.copies)
    true = jnp.sum(disp * disp, axis=-1)
    length = jnp.sqrt(true + cfg.eps**2)
    part = length / cfg.rcut
    weight = jnp.where(mask, switch(part, cfg.env_exp[1]), 0.0)
    basis = radial_functions(length, frequencies, cfg.basis_type.lower(), cfg.rcut)
    basis = basis * jnp.where(mask, switch(part, cfg.env_exp[0]), 0.0)[..., None]
    lmax, mmax = sizes.first_degree, max(sizes.orders, default=0)
    return Edges(
        index=near.index,
        types=jnp.where(mask, near.types, -1),
        direction=disp / length[..., None],
        inverse=1.0 / length,
        basis=basis,
        weight=weight,
        rotations=tuple(matrices(frame_of(disp / jnp.sqrt(true)[..., None]), lmax, mmax)),
        degree=jax.lax.rsqrt(jnp.sum(weight * weight, axis=1) + DEGREE_FLOOR),
        share=share,
    )


def switch(x: jax.Array, exponent: int) -> jax.Array:
    """``(1 - x)^4`` times a polynomial of degree ``exponent - 1`` whose product with it starts with 1: 1 at 0; zero from 1 on, with
    three derivatives.  Written without cancellation."""
    rest = jnp.maximum(1.0 - x, 0.0)
    total = jnp.full_like(x, math.comb(exponent + 2, 3))
    for k in reversed(range(exponent - 1)):
        total = total * x + math.comb(k + 3, 3)
    return jnp.square(jnp.square(rest)) * total


def radial_functions(length: jax.Array, frequencies: jax.Array, kind: str, rcut: float) -> jax.Array:
    """(n, k, n_radial) ``sin(f r) / r``, or Gaussians around ``f`` that are as wide as they are apart at first."""
    r, f = length[..., None], lifted(frequencies[0], 3)
    if kind == "bessel":
        return jnp.sin(f * r) / r
    spread = rcut / max(f.shape[-1] - 1, 1)
    return jnp.exp(-jnp.square(r - f) / (2.0 * spread**2))


class Radial(NamedTuple):
    """What distances say to each degree and channel: a linear map of what a net makes of them, and a number for the types.

    The map is put together with the one that follows (:meth:`through`) where only that is asked for.
    """

    net: jax.Array  # (b, k, n) of distances, times weights of edges
    last: jax.Array  # (L + 1, n, hidden)
    types: jax.Array  # (b, k, hidden) of both ends of an edge

    def degrees(self, lmax: int) -> jax.Array:
        """(b, k, lmax + 1, hidden)."""
        last = self.last[: lmax + 1]
        rows = product(self.net, jnp.moveaxis(last, 0, 1).reshape(last.shape[1], -1))
        return rows.reshape(*rows.shape[:-1], lmax + 1, -1) + self.types[:, :, None]

    def scalars(self) -> jax.Array:
        """(b, k, hidden) of degree 0."""
        return product(self.net, self.last[0]) + self.types

    def through(self, matrix: jax.Array) -> jax.Array:
        """(b, k, m) what a matrix (L' + 1, hidden, m) makes of degrees up to L'."""
        last = jnp.einsum("lnc,lcm->nm", self.last[: matrix.shape[0]], matrix)
        return product(self.net, last) + product(self.types, jnp.sum(matrix, axis=0))


def radial_net(basis: jax.Array, weights: Weights, act: Activation) -> jax.Array:
    """(n, k, m) what the radial net makes of radial functions (n, k, n_radial), up to its last layer."""
    layers, x = weights["net"], basis
    for k in range(0, max(map(int, layers)), 3):
        x = product(x, layers[str(k)]["matrix"])
        x = act(rms(x, layers[str(k + 1)]["adam_scale"], NORM_FLOOR))
    return x


def last_layer(weights: Weights, lmax: int) -> jax.Array:
    """(L + 1, m, channels) the last layer of the radial net, of degrees up to ``lmax``."""
    layers = weights["net"]
    matrix = layers[max(layers, key=int)]["matrix"]
    return jnp.moveaxis(matrix.reshape(matrix.shape[0], lmax + 1, -1), 1, 0)
