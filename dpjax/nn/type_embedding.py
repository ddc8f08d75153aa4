"""Type vectors: a net that turns a one-hot vector or an electron configuration into the vector of a type.

That of a descriptor is one linear layer, that of a model any number of layers; all have the skip connections that their widths
allow (a first layer as wide as there are types, or twice as wide, has one, too).  Padding and empty places have a vector of zeros.
Zhang et al., arXiv:2208.08236.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.models.type_embedding import TypeEmbeddingConfig
from dpjax.nn.dense import Dense, DenseStack
from dpjax.nn.electrons import DIMENSION, configuration_vectors
from dpjax.nn.precision import dtype_of

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
        return table_of_types(self.layer, self.n_type, self.type_map if self.electronic else None, self.dtype)


class ModelTypeEmbedding(nn.Module):
    """The table of type vectors that a model has for its descriptor and its fitting.

    Attributes:
        config: the section ``type_embedding`` of the model.
        type_map: symbols of the types; elements with ``use_econf_tebd``.
    """

    config: TypeEmbeddingConfig
    type_map: tuple[str, ...]

    def setup(self):
        cfg = self.config
        self.net = DenseStack(
            cfg.neuron, cfg.activation_function, cfg.resnet_dt, None, self.dtype, use_bias=cfg.use_tebd_bias
        )

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.config.neuron[-1]

    @property
    def dim_in(self) -> int:
        """Length of what describes a type to the first layer."""
        return DIMENSION if self.config.use_econf_tebd else len(self.type_map)

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.net.init_parameters(self.dim_in)

    def __call__(self) -> jax.Array:
        """(n_type + 1, width) vectors of the types; the last row, zeros, is that of padding."""
        elements = self.type_map if self.config.use_econf_tebd else None
        return table_of_types(self.net, len(self.type_map), elements, self.dtype)


def table_of_types(
    net: Callable[[jax.Array], jax.Array], n_type: int, elements: tuple[str, ...] | None, dtype: jnp.dtype
) -> jax.Array:
    """(n_type + 1, width) what a net makes of each type, and a row of zeros for padding.

    Args:
        net: takes one row for each type.
        n_type: number of types.
        elements: types as symbols, whose electron configurations the net takes; None: it takes one-hot vectors.
        dtype: of the result.
    """
    known = np.eye(n_type) if elements is None else configuration_vectors(elements)
    table = net(jnp.asarray(known, dtype))
    return jnp.concatenate([table, jnp.zeros((1, table.shape[1]), dtype)])


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
