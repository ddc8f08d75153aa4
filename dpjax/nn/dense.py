"""Residual dense layers and stacks of them: the embedding and fitting networks of every Deep Potential model.

A layer computes ``y = act(x W + b)``, times the time step ``idt`` where it has one.  With ``residual`` the input is added when
the width stays the same and added twice side by side when the width doubles (Zhang et al., NeurIPS 2018, arXiv:1805.09003).
Mathematics first, in pure functions; the Flax shells only own the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.activations import Activation, activation
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted


def add_residual(x: jax.Array, y: jax.Array) -> jax.Array:
    """``y`` plus the skip connection that its width allows: none, ``x`` or ``[x, x]``; shapes (..., n_in), (..., n_out)."""
    if y.shape[-1] == x.shape[-1]:
        return y + x
    if y.shape[-1] == 2 * x.shape[-1]:
        return y + jnp.concatenate([x, x], axis=-1)
    return y


def with_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """``y`` (..., n) and ``bias`` (n,)."""
    return y + lifted(bias, y.ndim)


def has_timestep(n_in: int, n_out: int) -> bool:
    """Whether a layer of these widths can carry a time step: only where a skip connection exists."""
    return n_out in (n_in, 2 * n_in)


def dense(
    x: jax.Array,
    matrix: jax.Array,
    bias: jax.Array | None = None,
    idt: jax.Array | None = None,
    *,
    act: Activation,
    residual: bool,
) -> jax.Array:
    """One layer: ``act(x matrix + bias) * idt`` with its skip connection.

    Args:
        x: (..., n_in).
        matrix: (n_in, n_out).
        bias, idt: (n_out,) or None.
        act: elementwise function.
        residual: add the skip connection where the widths allow one.

    Returns:
        (..., n_out).
    """
    y = product(x, matrix) if matrix.shape[0] > 1 else x * lifted(matrix[0], x.ndim)
    if bias is not None:
        y = with_bias(y, bias)
    y = act(y)
    if idt is not None:
        y = y * lifted(idt, y.ndim)
    return add_residual(x, y) if residual else y


def normal_init(stddev: float, mean: float = 0.0):
    """Initialiser drawing from N(mean, stddev^2); by NumPy unless it is traced, as JAX would compile a program for each shape."""

    def init(key, shape, dtype):
        if isinstance(key, jax.core.Tracer):
            return mean + stddev * jax.random.normal(key, shape, dtype)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return (mean + stddev * rng.standard_normal(shape)).astype(dtype)

    return init


class Dense(nn.Module):
    """Parameters of one :func:`dense` layer: ``matrix``, ``bias`` and, where asked and possible, ``idt``.

    Initial values follow the reference: matrix N(0, 1/(n_in + n_out)), bias N(0, 1), idt N(0.1, 0.001^2).
    """

    width: int
    activation_function: str = "tanh"
    residual: bool = False
    timestep: bool = False
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float64

    @nn.compact
    def parameters(self, n_in: int) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """``matrix``, ``bias`` and ``idt``, created where they do not exist yet; None for what the layer does not have."""
        n_out = self.width
        matrix = self.param("matrix", normal_init(1.0 / math.sqrt(n_in + n_out)), (n_in, n_out), self.dtype)
        bias = self.param("bias", normal_init(1.0), (n_out,), self.dtype) if self.use_bias else None
        with_idt = self.timestep and has_timestep(n_in, n_out)
        idt = self.param("idt", normal_init(0.001, 0.1), (n_out,), self.dtype) if with_idt else None
        return matrix, bias, idt

    def __call__(self, x: jax.Array) -> jax.Array:
        """The layer, computed in the precision of the parameters it was given; skip connection and result in that of ``x``."""
        act, parameters = activation(self.activation_function), self.parameters(x.shape[-1])
        if parameters[0].dtype == x.dtype:
            return dense(x, *parameters, act=act, residual=self.residual)
        y = dense(x.astype(parameters[0].dtype), *parameters, act=act, residual=False).astype(x.dtype)
        return add_residual(x, y) if self.residual else y


class DenseStack(nn.Module):
    """Residual layers of the given widths and, if ``n_out`` is set, a plain linear output layer (a fitting network).

    ``owners`` names for each layer (output layer included) the layer whose parameters it uses; None: each its own.
    ``use_bias``: whether the residual layers have a bias.  ``lent``: layers of other stacks, by number, in the places of own ones.
    """

    neuron: Sequence[int]
    activation_function: str = "tanh"
    resnet_dt: bool = False
    n_out: int | None = None
    dtype: jnp.dtype = jnp.float64
    owners: Sequence[int] | None = None
    use_bias: bool = True
    lent: Mapping[str, Dense] | None = None

    def setup(self):
        widths = [*self.neuron] if self.n_out is None else [*self.neuron, self.n_out]
        hidden = Dense(0, self.activation_function, True, self.resnet_dt, self.use_bias, self.dtype)
        own = range(len(widths)) if self.owners is None else self.owners
        self.layers = {
            str(i): hidden.clone(width=width, parent=None)
            if i < len(self.neuron)
            else Dense(width, "none", dtype=self.dtype, parent=None)
            for i, width in enumerate(widths)
            if own[i] == i and str(i) not in (self.lent or {})
        }

    def init_parameters(self, n_in: int) -> None:
        """Create all parameters for inputs of this width, without computing anything."""
        widths = [n_in, *self.neuron]
        for i, layer in self.layers.items():
            layer.parameters(widths[int(i)])

    @property
    def _own(self) -> Sequence[int]:
        return self.owners or range(len(self.neuron) + (self.n_out is not None))

    def layer(self, i: int) -> Dense:
        """The layer of a number, its own or one that it was lent."""
        return self.layers[str(i)] if str(i) in self.layers else self.lent[str(i)]

    def hidden(self, x: jax.Array) -> jax.Array:
        """What the residual layers make of ``x`` (..., n_in): (..., neuron[-1]), the inputs of the output layer."""
        x = x.astype(self.dtype)
        for i in self._own[: len(self.neuron)]:
            x = self.layer(i)(x)
        return x

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.hidden(x)
        return x if self.n_out is None else self.layer(self._own[-1])(x)


def in_double(stack: DenseStack, method: Callable[..., jax.Array] | None = None) -> Callable[..., jax.Array]:
    """The function of a bound stack computed in float64 (where JAX's 64-bit types are on), whatever its own precision.

    ``method``, which takes the stack and other arguments, is what is called instead of the stack itself.
    """
    double = jax.dtypes.canonicalize_dtype(jnp.float64)
    variables = jax.tree.map(lambda x: x.astype(double), stack.variables)
    apply = stack.clone(dtype=double, parent=None).apply
    return partial(apply, variables) if method is None else partial(apply, variables, method=method)
