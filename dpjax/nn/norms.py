"""Normalisation layers."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


def layer_norm(x: jax.Array, matrix: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    """``x`` (..., n) with mean 0 and variance 1 along its last axis, times ``matrix`` (n,), plus ``bias`` (n,).

    ``eps`` is added to the variance.  Ba et al., arXiv:1607.06450.
    """
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    shape = (1,) * (x.ndim - 1) + (-1,)
    return centred * jax.lax.rsqrt(variance + eps) * matrix.reshape(shape) + bias.reshape(shape)


class LayerNorm(nn.Module):
    """Parameters ``matrix`` (ones at first) and ``bias`` (zeros) of a :func:`layer_norm` of vectors of length ``width``."""

    width: int
    eps: float = 1e-5
    dtype: jnp.dtype = jnp.float64

    @nn.compact
    def parameters(self) -> tuple[jax.Array, jax.Array]:
        """``matrix`` and ``bias``, created where they do not exist yet."""
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        matrix = self.param("matrix", ones, (self.width,), self.dtype)
        return matrix, self.param("bias", zeros, (self.width,), self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        return layer_norm(x, *self.parameters(), self.eps)
