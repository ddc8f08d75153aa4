"""Energy fitting made for ``dpa4`` (``dpa4_ener``): layers of which one half gates the other, one net for all types.

With ``case_film_embd`` a vector for the data set scales and shifts the descriptor and every hidden layer (Perez et al.,
arXiv:1709.07871), in place of being an input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.descriptors import Features, Neighborhood
from dpjax.fittings.ener import EnerFitting
from dpjax.fittings.widths import auto_width
from dpjax.nn.activations import activation
from dpjax.nn.dense import normal_init, with_bias
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted

STRENGTH = math.log(0.01)  # of what the case says, at first


class GatedStack(nn.Module):
    """Gated layers and a linear output layer without bias.

    Attributes:
        neuron: widths of the hidden layers; none: a linear map.
        activation_function: of the gates.
        n_out: width of the result.
        dim_film: how many of the first inputs a case scales and shifts, too.
        dim_case: length of a case; 0: there are no cases.
        dtype: of the parameters.
    """

    neuron: Sequence[int]
    activation_function: str
    n_out: int
    dim_film: int
    dim_case: int
    dtype: jnp.dtype

    @nn.compact
    def parameters(self, n_in: int) -> dict:
        """All parameters for inputs of this width, created where they do not exist yet; named as in the reference."""
        widths, hidden = [n_in, *self.neuron], {}
        for k, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            hidden[str(k)] = {"linear": {"matrix": ((a, 2 * b), a + 2 * b), "bias": ((2 * b,), 1.0)}}
        found = {"hidden_layers": hidden} if hidden else {}
        found["output_layer"] = {"matrix": ((widths[-1], self.n_out), widths[-1] + self.n_out)}
        out = {name: self.param(name, self._drawn, part) for name, part in found.items()}
        if self.dim_case:
            out["case_film"] = self.param("case_film", self._drawn_film)
        return out

    def _drawn(self, key: jax.Array, part: dict) -> dict:
        """Normal numbers, of shapes and inverse variances."""
        leaves, structure = jax.tree.flatten(part, is_leaf=lambda leaf: isinstance(leaf, tuple))
        keys = jax.random.split(key, len(leaves))
        values = [
            normal_init(1.0 / math.sqrt(n))(k, shape, self.dtype) for k, (shape, n) in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, values)

    def _drawn_film(self, key: jax.Array) -> dict:
        """The net that makes scales and shifts of a case, which change nothing at first."""
        hidden, code, targets = auto_width(self.dim_case, 4.0), 4 * self.dim_film, [self.dim_film, *self.neuron]
        first, second = jax.random.split(key)
        layers = {
            "case_layer1": {"matrix": ((self.dim_case, hidden), self.dim_case + hidden)},
            "case_layer2": {"matrix": ((hidden, code), hidden + code)},
        }
        film = {name: self._drawn(k, part) for k, (name, part) in zip((first, second), layers.items(), strict=True)}
        film["projectors"] = {str(i): jnp.zeros((code, 2 * n), self.dtype) for i, n in enumerate(targets)}
        for what in ("scale", "shift"):
            film[f"adam_case_film_{what}_strength_log"] = jnp.full(len(targets), STRENGTH, self.dtype)
        return film

    def init_parameters(self, n_in: int) -> None:
        """Create all parameters for inputs of this width."""
        self.parameters(n_in)

    def hidden(self, x: jax.Array, case: jax.Array | None = None) -> jax.Array:
        """What the hidden layers make of ``x`` (n, n_in): (n, neuron[-1]); ``case`` (dim_case,) where there are cases."""
        own, act, x = self.parameters(x.shape[-1]), activation(self.activation_function), x.astype(self.dtype)
        film = own.get("case_film")
        code = None if film is None else self._code(film, case)
        if film is not None:
            first = _scaled(film, code, 0, x[:, : self.dim_film])
            x = jnp.concatenate([first, x[:, self.dim_film :]], axis=1)
        for k in range(len(self.neuron)):
            layer = own["hidden_layers"][str(k)]["linear"]
            value, gate = jnp.split(with_bias(product(x, layer["matrix"]), layer["bias"]), 2, axis=-1)
            x = value * act(gate)
            if film is not None:
                x = _scaled(film, code, k + 1, x)
        return x

    def _code(self, film: dict, case: jax.Array) -> jax.Array:
        act = activation(self.activation_function)
        hidden = act(product(case.astype(self.dtype)[None], film["case_layer1"]["matrix"]))
        return product(hidden, film["case_layer2"]["matrix"])

    def __call__(self, x: jax.Array, case: jax.Array | None = None) -> jax.Array:
        return product(self.hidden(x, case), self.parameters(x.shape[-1])["output_layer"]["matrix"])


def _scaled(film: dict, code: jax.Array, target: int, x: jax.Array) -> jax.Array:
    """Values (n, m) scaled and shifted by what a projector makes of the code (1, 4 dim_film) of a case."""
    scale, shift = jnp.split(product(code, film["projectors"][str(target)]), 2, axis=-1)
    strength = {what: jnp.exp(film[f"adam_case_film_{what}_strength_log"][target]) for what in ("scale", "shift")}
    return x * (1.0 + lifted(strength["scale"], 2) * jnp.tanh(scale)) + lifted(strength["shift"], 2) * jnp.tanh(shift)


class Dpa4EnerFitting(EnerFitting):
    """Atomic energies (n_atom,) in eV by gated layers."""

    @property
    def case_is_input(self) -> bool:
        return not self.config.case_film_embd

    def new_network(self) -> nn.Module:
        cfg = self.config
        dim_case = 0 if self.case_is_input else cfg.dim_case_embd
        return GatedStack(cfg.neuron, cfg.activation_function, self.dim_net, self.dim_descriptor, dim_case, self.dtype)

    def network_arguments(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None, aparam: jax.Array | None
    ) -> tuple[jax.Array, ...]:
        inputs = super().network_arguments(view, features, fparam, aparam)
        film = self.config.dim_case_embd and not self.case_is_input
        return (*inputs, self.case_embd.value) if film else inputs
