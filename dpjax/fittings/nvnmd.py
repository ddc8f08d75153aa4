"""Energy fitting as the NVNMD hardware has it, continuous and quantised.

Mo et al., npj Comput. Mater. 8, 107 (2022).  Layers have the activation function :func:`~dpjax.nn.nvnmd.tanh4`, and all but the
first a skip connection.  A model with type vectors has them behind the descriptor; they are not quantised, only what they add is.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from dpjax.fittings.ener import EnerFitting
from dpjax.nn.dense import DenseStack, with_bias
from dpjax.nn.nvnmd import fitting_product, quantized, tanh4, tanh4_fixed
from dpjax.nn.products import product

Activation = Callable[[jax.Array], jax.Array] | None

FIXED = (23, 23, -1)  # binary places of a number, of what is pulled at it, and none where that is differentiated
OF_PRODUCT = (23, 21, -1)
PARAMETER = (23, -1, -1)  # what pulls at parameters goes to the optimizer, not to the hardware


class ContinuousStack(DenseStack):
    """Layers that are trained before they are quantised."""

    def hidden(self, x: jax.Array) -> jax.Array:
        """What the hidden layers make of ``x`` (n, n_in): (n, neuron[-1])."""
        x = x.astype(self.dtype)
        for i in self._own[: len(self.neuron)]:
            y = self.layer_values(i, x, hidden=True)
            x = x + y if i and x.shape[-1] == y.shape[-1] else y
        return x

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layer_values(self._own[-1], self.hidden(x), hidden=False)

    def layer_values(self, i: int, x: jax.Array, hidden: bool) -> jax.Array:
        """The i-th layer without its skip connection; the last one is linear."""
        matrix, bias, _ = self.layers[str(i)].parameters(x.shape[-1])
        y = with_bias(product(x, matrix), bias)
        return tanh4(y) if hidden else y


class QuantizedStack(ContinuousStack):
    """Layers in fixed point.

    Attributes:
        dim_type: length of the type vector at the end of the first layer's inputs.
    """

    dim_type: int = 0

    def layer_values(self, i: int, x: jax.Array, hidden: bool) -> jax.Array:
        """The i-th layer without its skip connection; the last one is linear."""
        matrix, bias, _ = self.layers[str(i)].parameters(x.shape[-1])
        own = x.shape[-1] - (0 if i else self.dim_type)
        weights, shift = (quantized(p, PARAMETER, True) for p in (matrix[:own], bias))
        y = fitting_product(quantized(x[:, :own], FIXED, True), weights, not hidden)
        y = quantized(y, OF_PRODUCT, True)
        if own != x.shape[-1]:
            y = y + quantized(product(x[:, own:], matrix[own:]), FIXED, True)
        y = quantized(with_bias(y, shift), FIXED, True)
        return quantized(tanh4_fixed(y) if hidden else y, FIXED, True)


class NvnmdFitting(EnerFitting):
    """Atomic energies.

    Attributes:
        quantized: in fixed point.
        dim_type: length of the type vector behind the descriptor, 0 where there is a network per type.
    """

    quantized: bool = False
    dim_type: int = 0

    def new_network(self) -> DenseStack:
        """A network of this kind; the option ``activation_function`` says nothing."""
        shape = (self.config.neuron, "tanh", False, self.dim_net, self.dtype)
        return QuantizedStack(*shape, dim_type=self.dim_type) if self.quantized else ContinuousStack(*shape)
