"""What all fittings have in common: a network per type, or one for all, from descriptors and parameters to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config.fittings import AtomicOutput
from dpjax.descriptors import Features, Neighborhood
from dpjax.fittings.layers import layer_owners
from dpjax.fittings.types import network_names, of_type
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of


class FittingNet(nn.Module):
    """Networks from the descriptors of atoms, for atoms of one type at a time where there is a network per type.

    A kind of fitting says in ``__call__`` what it makes of the numbers, and in :meth:`shifted` what the statistics of the data add.

    Attributes:
        config: hyper-parameters of the fitting.
        n_type: atom types.
        dim_descriptor: width of a descriptor.
        mixed: one network serves all types, which it tells apart by the type vectors in their descriptors.
        dim_frame: vectors of a descriptor's frame, 0 where it has none.
        vectors: the model's table of type vectors, of which the network is given the one of the atom; None: it has none.
        lent: layers of other fittings that networks use in the places of their own, by network and number.

    Statistics (collection ``stats``): ``bias_atom_e`` (n_type, dim_net), added to what the network gives; where such inputs exist
    ``fparam_avg``, ``fparam_inv_std``, ``aparam_avg``, ``aparam_inv_std``, and ``case_embd``, the vector that tells tasks apart.
    """

    config: Any
    n_type: int
    dim_descriptor: int
    mixed: bool = False
    dim_frame: int = 0
    vectors: nn.Module | None = None
    lent: Mapping[str, Mapping[str, nn.Module]] | None = None

    def setup(self):
        cfg = self.config
        names, lent = network_names(self.n_type, self.mixed), self.lent or {}
        self.net = {name: self.new_network(**({"lent": lent[name]} if name in lent else {})) for name in names}
        self.bias_atom_e = self.variable("stats", "bias_atom_e", jnp.zeros, (self.n_type, self.dim_net), jnp.float64)
        self.fparam_norm = self._normalisation("fparam", cfg.numb_fparam)
        self.aparam_norm = self._normalisation("aparam", cfg.numb_aparam)
        if cfg.dim_case_embd:
            self.case_embd = self.variable("stats", "case_embd", jnp.zeros, (cfg.dim_case_embd,), jnp.float64)

    def new_network(self, **lent: Mapping[str, nn.Module]) -> nn.Module:
        """A network with the methods of :class:`~dpjax.nn.dense.DenseStack`; ``lent``: layers by number that it is given."""
        cfg = self.config
        return DenseStack(
            cfg.neuron, cfg.activation_function, cfg.resnet_dt, self.dim_net, self.dtype, layer_owners(cfg), **lent
        )

    def _normalisation(self, name: str, size: int):
        if not size:
            return None
        mean = self.variable("stats", f"{name}_avg", jnp.zeros, (size,), jnp.float64)
        return mean, self.variable("stats", f"{name}_inv_std", jnp.ones, (size,), jnp.float64)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def output(self) -> AtomicOutput:
        """What is predicted."""
        return self.config.output

    @property
    def dim_net(self) -> int:
        """Numbers that a network gives for an atom."""
        return self.output.size

    @property
    def dim_extra(self) -> int:
        """Number of network inputs beside the descriptor."""
        cfg = self.config
        case = cfg.dim_case_embd if self.case_is_input else 0
        types = 0 if self.vectors is None else self.vectors.width
        return types + cfg.numb_fparam + (0 if self._aparam_is_mask else cfg.numb_aparam) + case

    @property
    def case_is_input(self) -> bool:
        """Whether the vector that tells tasks apart is an input of the networks."""
        return True

    @property
    def _aparam_is_mask(self) -> bool:
        return getattr(self.config, "use_aparam_as_mask", False)

    def init_parameters(self) -> None:
        """Touch every network once, so that ``init`` creates all parameters and statistics."""
        for network in self.net.values():
            network.init_parameters(self.dim_descriptor + self.dim_extra)

    @property
    def dim_last(self) -> int:
        """Number of inputs of the last layer of a network."""
        return self.config.neuron[-1] if self.config.neuron else self.dim_descriptor + self.dim_extra

    def extra_inputs(self, n_atom: int, fparam: jax.Array | None, aparam: jax.Array | None) -> jax.Array:
        """Network inputs beside descriptor and type vector, normalised: frame parameters, atomic parameters, case vector.

        Args:
            fparam: (n_atom, numb_fparam) the frame's parameters, one row per atom.
            aparam: (n_atom, numb_aparam).

        Returns:
            (n_atom, dim_extra), less the length of a type vector of the model.
        """
        parts = []
        if self.fparam_norm is not None:
            mean, inverse = self.fparam_norm
            parts.append((fparam - mean.value[None]) * inverse.value[None])
        if self.aparam_norm is not None and not self._aparam_is_mask:
            mean, inverse = self.aparam_norm
            parts.append((aparam - mean.value[None]) * inverse.value[None])
        if self.config.dim_case_embd and self.case_is_input:
            parts.append(jnp.broadcast_to(self.case_embd.value[None], (n_atom, self.config.dim_case_embd)))
        return (
            jnp.concatenate([p.astype(self.dtype) for p in parts], axis=1)
            if parts
            else jnp.zeros((n_atom, 0), self.dtype)
        )

    def network_of(self, view: Neighborhood) -> DenseStack:
        """The network that serves the atoms of a block."""
        return self.net["all" if self.mixed else str(view.centre)]

    def network_values(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None, aparam: jax.Array | None
    ) -> jax.Array:
        """(n_atom, dim_net) what the networks give, in their precision; ``bias_atom_e`` is not in it."""
        return self.network_of(view)(*self.network_arguments(view, features, fparam, aparam))

    def last_layer_inputs(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None, aparam: jax.Array | None
    ) -> jax.Array:
        """(n_atom, neuron[-1]) what the last layers of the networks are given, in their precision."""
        return self.network_of(view).hidden(*self.network_arguments(view, features, fparam, aparam))

    def network_arguments(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None, aparam: jax.Array | None
    ) -> tuple[jax.Array, ...]:
        """What a network is called with: (n_atom, dim_descriptor + dim_extra) inputs."""
        parts = [features.values.astype(self.dtype)]
        if self.vectors is not None:
            own = of_type(self.vectors().astype(self.dtype), view)
            parts.append(jnp.broadcast_to(own, (view.n_atom, own.shape[1])))
        return (jnp.concatenate([*parts, self.extra_inputs(view.n_atom, fparam, aparam)], axis=1),)

    def __call__(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None = None, aparam: jax.Array | None = None
    ) -> jax.Array:
        """Values of atoms before the statistics of the data.

        Args:
            view: the atoms; only their types count.
            features: their descriptors.
            fparam: (n_atom, numb_fparam) or None.
            aparam: (n_atom, numb_aparam) or None.

        Returns:
            (n_atom, *output.shape), in the precision of the network.
        """
        return self.network_values(view, features, fparam, aparam)

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """Values with the statistics of the data.

        Args:
            values: what :meth:`__call__` gave, in the dtype of the result.
            view: the atoms.
            out_bias, out_std: (n_type, output.size) of the model.

        Returns:
            (n_atom, *output.shape).
        """
        raise NotImplementedError
