"""Fitting of a ``property``: numbers of any meaning that do not change when the frame is rotated."""

from __future__ import annotations

import jax

from dpjax.descriptors import Neighborhood
from dpjax.fittings.network import FittingNet
from dpjax.fittings.types import of_type


class PropertyFitting(FittingNet):
    """Atomic properties (n_atom, task_dim), in the unit of the labels; a frame has their sum, or their mean if ``intensive``."""

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """Values in units of the spread of the data, around its mean: of each type if ``distinguish_types``, else of all."""
        values = values + of_type(self.bias_atom_e.value.astype(values.dtype), view)
        bias, spread = out_bias.astype(values.dtype), out_std.astype(values.dtype)
        if self.config.distinguish_types:
            return values * of_type(spread, view) + of_type(bias, view)
        return values * spread[:1] + bias[:1]
