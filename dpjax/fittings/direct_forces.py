"""Heads of ``dpa4`` that give forces directly, instead of as derivatives of the energy, and that find displaced atoms.

Vectors are read from degree 1 of the last state of the descriptor, so they turn with the structure.  Displaced atoms, whose true
forces the model is shown, have these added to their first state (Liao, Smidt and Das, arXiv:2403.09549).

The basis of degree l is that of :mod:`dpjax.nn.equivariant.rotations`.  DeePMD-kit takes another one here, in which y points the
other way; its forces do not turn with the structure.  With ``mirrored`` they are reproduced.  Values are in units of the spread of
the data, not in eV and angstrom.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config import ModelConfig
from dpjax.config.fittings import Dpa4EnerFittingConfig
from dpjax.descriptors import Features, Neighborhood
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.fittings.dpa4_ener import Dpa4EnerFitting
from dpjax.fittings.widths import with_widths
from dpjax.nn.equivariant.linear import by_degree
from dpjax.nn.equivariant.packed import degrees
from dpjax.nn.equivariant.rotations import frame_of, matrices
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted

SCALE = math.sqrt(4.0 * math.pi / 3.0)  # of a vector, over its components in spherical harmonics
MIRROR = (1.0, -1.0, 1.0)
SHORTEST = 1e-7  # a force below it has no direction, in the unit of the data


class DirectValues(NamedTuple):
    """What the heads say about atoms, in units of the spread of the data."""

    energy: jax.Array  # (n_atom,)
    force: jax.Array  # (n_atom, 3)
    displacement: jax.Array  # (n_atom, 3) of displaced atoms, over its standard deviation


class DirectForces(nn.Module):
    """Energy, force and displacement of atoms from the last state of ``dpa4``.

    Parameters have the names of the reference, and the precision of the fitting net.

    Attributes:
        config: of the fitting net of the energies, which has weights of its own.
        n_type: atom types.
        sizes: of the descriptor.
        mirrored: read and show vectors as DeePMD-kit does.
    """

    config: Dpa4EnerFittingConfig
    n_type: int
    sizes: Sizes
    mirrored: bool = False

    def setup(self):
        n = self.sizes.channels
        self.energy_head = Dpa4EnerFitting(self.config, self.n_type, n, mixed=True)
        dtype = self.energy_head.dtype
        first, last = self.sizes.first_degree, self.sizes.degrees[-1]
        self.force_embedding = self.param("force_embedding", _projection, (first + 1, 1, n), dtype, True)
        self.direct_force_head = self.param("direct_force_head", _projection, (last + 1, n, 1), dtype)
        self.denoising_head = self.param("denoising_head", _projection, (last + 1, n, 1), dtype)

    def init_parameters(self) -> None:
        """Touch the energy head; the others exist as soon as the module is set up."""
        self.energy_head.init_parameters()

    def embedded(self, force: jax.Array, mask: jax.Array) -> jax.Array:
        """(n_atom, (L + 1)^2, channels) what is added to the first states.

        Args:
            force: (n_atom, 3) true forces, in the unit of the data.
            mask: (n_atom,) 1 for displaced atoms, else 0: these get nothing.
        """
        own, dtype = self.force_embedding["proj"], self.energy_head.dtype
        force = self._seen(force).astype(dtype)
        size = jnp.sqrt(jnp.sum(force * force, axis=-1))
        unit = jnp.where(
            (size > SHORTEST)[:, None], force / jnp.maximum(size, SHORTEST)[:, None], lifted(_up(dtype), 2)
        )
        harmonics = spherical_harmonics(unit, self.sizes.first_degree)
        values = harmonics * (size / math.sqrt(3.0))[:, None]
        added = by_degree(values[..., None], own["weight"], own["bias"])
        return jnp.where((mask > 0.0)[:, None, None], added, 0.0)

    def __call__(
        self,
        view: Neighborhood,
        features: Features,
        state: jax.Array,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
    ) -> DirectValues:
        """Values of atoms.

        Args:
            view: the atoms; only their types count.
            features: their descriptors.
            state: (n_atom, (L + 1)^2, channels) their last states.
            fparam, aparam: as a fitting net takes them.
        """
        energy = self.energy_head(view, features, fparam, aparam)
        vectors = [
            self._vector(head["proj"]["weight"], state) for head in (self.direct_force_head, self.denoising_head)
        ]
        return DirectValues(energy, *vectors)

    def _vector(self, weight: jax.Array, state: jax.Array) -> jax.Array:
        """(n_atom, 3) from degree 1, whose components are those of (y, z, -x)."""
        y, z, minus_x = jnp.moveaxis(product(state[:, 1:4].astype(weight.dtype), weight[1])[..., 0], 1, 0)
        return self._seen(SCALE * jnp.stack([-minus_x, y, z], axis=-1))

    def _seen(self, vectors: jax.Array) -> jax.Array:
        """Vectors (n_atom, 3) as this model has them."""
        return vectors * lifted(jnp.asarray(MIRROR, vectors.dtype), 2) if self.mirrored else vectors


def spherical_harmonics(unit: jax.Array, lmax: int) -> jax.Array:
    """(n, (L + 1)^2) orthonormal spherical harmonics of unit vectors (n, 3), in the basis of states."""
    zonal = jnp.concatenate([rows[..., 0, :] for rows in matrices(frame_of(unit), lmax, 0)], axis=-1)
    ell = degrees(lmax)
    return zonal * lifted(jnp.sqrt(jnp.asarray((2 * ell + 1) / (4.0 * math.pi), unit.dtype)), 2)


def _up(dtype: jnp.dtype) -> jax.Array:
    return jnp.asarray([0.0, 0.0, 1.0], dtype)


def _projection(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, use_bias: bool = False) -> dict:
    """A matrix for each degree, with a bias of degree 0 that starts at zero."""
    std = 1.0 / math.sqrt(shape[1] + shape[2])
    own = {"weight": (std * jax.random.truncated_normal(key, -3.0, 3.0, shape)).astype(dtype)}
    return {"proj": own | ({"bias": jnp.zeros(shape[2], dtype)} if use_bias else {})}


def build_direct_forces(config: ModelConfig) -> DirectForces:
    """The heads of a model section."""
    sizes = Sizes(config.descriptor)
    fitting = with_widths(config.fitting_net, sizes.channels)
    return DirectForces(fitting, len(config.type_map), sizes, config.conventions == "reference")
