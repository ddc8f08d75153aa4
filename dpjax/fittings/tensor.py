"""Fittings of tensors that turn with the frame: ``dipole`` and ``polar``.

A network gives rotation-invariant coefficients; the vectors ``R`` (dim_frame, 3) that the descriptor makes of each neighbourhood
turn them into a vector or a matrix (Sommers et al., Phys. Chem. Chem. Phys. 22, 10592 (2020); Zhang et al., Phys. Rev. B 102,
041121 (2020)).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.descriptors import Features, Neighborhood
from dpjax.fittings.network import FittingNet
from dpjax.fittings.types import of_type


class TensorFitting(FittingNet):
    """What both have: coefficients on the vectors of a descriptor."""

    def coefficients(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None, aparam: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Coefficients (n_atom, dim_net), and the vectors (n_atom, dim_frame, 3) that they belong to, in one precision."""
        values = self.network_values(view, features, fparam, aparam)
        values = values + of_type(self.bias_atom_e.value.astype(values.dtype), view)
        return values, features.frame.astype(values.dtype)


class DipoleFitting(TensorFitting):
    """Atomic dipoles (n_atom, 3), in the unit of the labels."""

    @property
    def dim_net(self) -> int:
        return self.dim_frame

    def __call__(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None = None, aparam: jax.Array | None = None
    ) -> jax.Array:
        """(n_atom, 3) ``sum_m c_m R_m``; arguments as for :class:`~dpjax.fittings.network.FittingNet`."""
        return jnp.einsum("nm,nma->na", *self.coefficients(view, features, fparam, aparam))

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """The values: a vector that is the same for all atoms of a type would not turn with the frame."""
        return values


class PolarFitting(TensorFitting):
    """Atomic polarizabilities (n_atom, 3, 3), symmetric, in the unit of the labels.

    Statistics beside those of every fitting: ``constant_matrix`` (n_type,), a further shift of the diagonal, which old models have.
    """

    def setup(self):
        super().setup()
        self.constant_matrix = self.variable("stats", "constant_matrix", jnp.zeros, (self.n_type,), jnp.float64)

    @property
    def dim_net(self) -> int:
        return self.dim_frame if self.config.fit_diag else self.dim_frame**2

    @property
    def scale(self) -> jax.Array:
        """(n_type,) factor on the polarizability of each type."""
        return jnp.broadcast_to(jnp.asarray(self.config.scale, float), (self.n_type,))

    def __call__(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None = None, aparam: jax.Array | None = None
    ) -> jax.Array:
        """(n_atom, 3, 3) ``sum_m c_m R_m R_m^T`` or, of a whole matrix ``C``, ``R^T (C + C^T)/2 R``, times ``scale``."""
        values, frame = self.coefficients(view, features, fparam, aparam)
        if self.config.fit_diag:
            weighted = values[:, :, None] * frame
        else:
            matrix = values.reshape(-1, self.dim_frame, self.dim_frame)
            weighted = (matrix + jnp.swapaxes(matrix, 1, 2)) / 2 @ frame
        polar = jnp.swapaxes(frame, 1, 2) @ weighted
        return polar * of_type(self.scale.astype(polar.dtype), view)[..., None, None]

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """With ``shift_diag`` the diagonal gets the mean diagonal of each type, times ``scale``."""
        if not self.config.shift_diag:
            return values
        mean = jnp.trace(out_bias.reshape(-1, 3, 3), axis1=1, axis2=2) / 3
        shift = (self.constant_matrix.value + mean) * self.scale
        return (
            values + of_type(shift.astype(values.dtype), view)[..., None, None] * jnp.eye(3, dtype=values.dtype)[None]
        )
