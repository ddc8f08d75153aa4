"""Type vectors: one layer that turns a one-hot vector or an electron configuration into the vector of a type.

The layer is linear, with the skip connection that its widths allow (``tebd_dim`` equal to the number of types, or twice it).
Padding and empty places have a vector of zeros.  Zhang et al., arXiv:2208.08236.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.dense import Dense
from dpjax.nn.electrons import DIMENSION, configuration_vectors

ONE_HOT = 16  # rows of a table up to which a product is faster than a gather


class TypeEmbedding(nn.Module):
    """The table of type vectors.

    Attributes:
        n_type: number of types.
        width: length of a vector.
        type_map: symbols of the types; elements where ``electronic`` is set.
        electronic: start from electron configurations instead of one-hot vectors.
        use_bias: give the layer a bias.
        dtype: of the table.
    """

    n_type: int
    width: int
    type_map: tuple[str, ...] = ()
    electronic: bool = False
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        self.layer = Dense(self.width, "linear", residual=True, use_bias=self.use_bias, dtype=self.dtype)

    @property
    def dim_in(self) -> int:
        """Length of what describes a type to the layer."""
        return DIMENSION if self.electronic else self.n_type

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.layer.parameters(self.dim_in)

    def __call__(self) -> jax.Array:
        """(n_type + 1, width) vectors of the types; the last row, zeros, is that of padding."""
        known = configuration_vectors(self.type_map) if self.electronic else np.eye(self.n_type)
        table = self.layer(jnp.asarray(known, self.dtype))
        return jnp.concatenate([table, jnp.zeros((1, self.width), self.dtype)])


def type_embedding(config: Any, n_type: int, type_map: tuple[str, ...], dtype: jnp.dtype) -> TypeEmbedding:
    """The net of a descriptor's options ``tebd_dim``, ``use_econf_tebd`` and ``use_tebd_bias``."""
    return TypeEmbedding(n_type, config.tebd_dim, type_map, config.use_econf_tebd, config.use_tebd_bias, dtype)


def rows_of(table: jax.Array, types: jax.Array) -> jax.Array:
    """Rows of a table whose last one is for padding, (n_type + 1, ...), for types of which -1 is padding: types.shape + (...).

    Rows of small tables come from a matrix product: the derivative of a gather is a scatter into few rows, which is slow.
    """
    index = jnp.where(types < 0, table.shape[0] - 1, types)
    if table.shape[0] > ONE_HOT:
        return table[index]
    return jax.nn.one_hot(index, table.shape[0], dtype=table.dtype) @ table
