"""A vector for the charge and the spin of a frame, which its atoms are told beside their types.

Both numbers have a table of vectors; two of them side by side go through a layer.  The tables are made as those of types are.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config.charge_spin import RANGES
from dpjax.nn.dense import Dense
from dpjax.nn.type_embedding import TypeEmbedding, rows_of


class ChargeSpinEmbedding(nn.Module):
    """Vectors of charges and spins.

    Attributes:
        width: length of a vector.
        activation_function: of the layer that mixes both.
        dtype: of the parameters.
    """

    width: int
    activation_function: str
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        lengths = [most - least + 1 for _, least, most in RANGES]
        self.chg_embedding, self.spin_embedding = (TypeEmbedding(n, self.width, dtype=self.dtype) for n in lengths)
        self.mix_cs_mlp = Dense(self.width, self.activation_function, dtype=self.dtype)

    def init_parameters(self) -> None:
        """Create all parameters."""
        self.chg_embedding.init_parameters()
        self.spin_embedding.init_parameters()
        self.mix_cs_mlp.parameters(2 * self.width)

    def __call__(self, given: jax.Array) -> jax.Array:
        """(n, width) vectors of charges and spins (n, 2) within :data:`RANGES`; digits after the point are cut off."""
        whole = given.astype(jnp.int32)
        tables = self.chg_embedding(), self.spin_embedding()
        pairs = zip(tables, RANGES, strict=True)
        rows = [rows_of(table, whole[:, i] - least) for i, (table, (_, least, _)) in enumerate(pairs)]
        return self.mix_cs_mlp(jnp.concatenate(rows, axis=1))
