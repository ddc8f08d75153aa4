"""Fitting of the density of states (``dos``): a number per atom and point of an energy grid."""

from __future__ import annotations

import jax

from dpjax.descriptors import Neighborhood
from dpjax.fittings.network import FittingNet
from dpjax.fittings.types import of_type


class DosFitting(FittingNet):
    """Atomic densities of states (n_atom, numb_dos), in the unit of the labels; their sum is that of the frame."""

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """Values plus the density of states of each type."""
        return values + of_type((self.bias_atom_e.value + out_bias).astype(values.dtype), view)
