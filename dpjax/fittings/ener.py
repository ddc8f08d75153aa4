"""Energy fitting (``ener``): a network per type from descriptors and parameters to atomic energies in eV."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config import EnerFittingConfig
from dpjax.descriptors import Features, Neighborhood
from dpjax.errors import ConfigError
from dpjax.fittings.types import network_names, of_type
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of


def layer_owners(config: EnerFittingConfig) -> tuple[int, ...]:
    """For each layer, output layer included, the one whose parameters it uses: itself, or the first of its ``layer_name``.

    Raises:
        ConfigError: layers of one name have different shapes.
    """
    n_layer = len(config.neuron) + 1
    names = config.layer_name or (None,) * n_layer
    owners = tuple(i if name is None else names.index(name) for i, name in enumerate(names))
    widths = (*config.neuron, 1)
    for i, owner in enumerate(owners):
        alike = i == owner or (0 < owner and i < n_layer - 1 and widths[owner - 1 : owner + 1] == widths[i - 1 : i + 1])
        if not alike:
            raise ConfigError(
                f"model/fitting_net/layer_name: layers {owner} and {i} share the name {names[i]!r} but not their shape "
                f"(neuron {list(config.neuron)}). Only layers of equal input and output width can share parameters."
            )
    return owners


def trainable_layers(config: EnerFittingConfig) -> list[bool]:
    """``trainable`` as one flag for each layer, output layer included."""
    n_layer = len(config.neuron) + 1
    return [config.trainable] * n_layer if isinstance(config.trainable, bool) else list(config.trainable)


class EnerFitting(nn.Module):
    """Atomic energies, for atoms of one type at a time where there is a network per type.

    ``mixed``: one network serves all types, which it tells apart by the type vectors in their descriptors.

    Statistics (collection ``stats``): ``bias_atom_e`` (n_type, 1); where such inputs exist ``fparam_avg``,
    ``fparam_inv_std``, ``aparam_avg``, ``aparam_inv_std``, and ``case_embd``, the vector that tells tasks apart.
    """

    config: EnerFittingConfig
    n_type: int
    dim_descriptor: int
    mixed: bool = False

    def setup(self):
        cfg = self.config
        stack = partial(
            DenseStack, cfg.neuron, cfg.activation_function, cfg.resnet_dt, 1, self.dtype, layer_owners(cfg)
        )
        self.net = {name: stack() for name in network_names(self.n_type, self.mixed)}
        self.bias_atom_e = self.variable("stats", "bias_atom_e", jnp.zeros, (self.n_type, 1), jnp.float64)
        self.fparam_norm = self._normalisation("fparam", cfg.numb_fparam)
        self.aparam_norm = self._normalisation("aparam", cfg.numb_aparam)
        if cfg.dim_case_embd:
            self.case_embd = self.variable("stats", "case_embd", jnp.zeros, (cfg.dim_case_embd,), jnp.float64)

    def _normalisation(self, name: str, size: int):
        if not size:
            return None
        mean = self.variable("stats", f"{name}_avg", jnp.zeros, (size,), jnp.float64)
        return mean, self.variable("stats", f"{name}_inv_std", jnp.ones, (size,), jnp.float64)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_extra(self) -> int:
        """Number of network inputs beside the descriptor."""
        cfg = self.config
        return cfg.numb_fparam + (0 if cfg.use_aparam_as_mask else cfg.numb_aparam) + cfg.dim_case_embd

    def init_parameters(self) -> None:
        """Touch every network once, so that ``init`` creates all parameters and statistics."""
        for network in self.net.values():
            network.init_parameters(self.dim_descriptor + self.dim_extra)

    def extra_inputs(self, n_atom: int, fparam: jax.Array | None, aparam: jax.Array | None) -> jax.Array:
        """Network inputs beside the descriptor, normalised: frame parameters, atomic parameters, case vector.

        Args:
            fparam: (n_atom, numb_fparam) the frame's parameters, one row per atom.
            aparam: (n_atom, numb_aparam).

        Returns:
            (n_atom, dim_extra).
        """
        parts = []
        if self.fparam_norm is not None:
            mean, inverse = self.fparam_norm
            parts.append((fparam - mean.value[None]) * inverse.value[None])
        if self.aparam_norm is not None and not self.config.use_aparam_as_mask:
            mean, inverse = self.aparam_norm
            parts.append((aparam - mean.value[None]) * inverse.value[None])
        if self.config.dim_case_embd:
            parts.append(jnp.broadcast_to(self.case_embd.value[None], (n_atom, self.config.dim_case_embd)))
        return (
            jnp.concatenate([p.astype(self.dtype) for p in parts], axis=1)
            if parts
            else jnp.zeros((n_atom, 0), self.dtype)
        )

    def __call__(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None = None, aparam: jax.Array | None = None
    ) -> jax.Array:
        """Atomic energies.

        Args:
            view: the atoms; only their types count.
            features: their descriptors.
            fparam: (n_atom, numb_fparam) or None.
            aparam: (n_atom, numb_aparam) or None.

        Returns:
            (n_atom,) eV, in the precision of the network; ``bias_atom_e`` is added by the model.
        """
        network = self.net["all" if self.mixed else str(view.centre)]
        values = features.values.astype(self.dtype)
        extra = self.extra_inputs(view.n_atom, fparam, aparam)
        energy = network(jnp.concatenate([values, extra], axis=1))[:, 0]
        fixed = self.fixed_energies()
        if any(fixed) if view.centre is None else fixed[view.centre]:  # the given energy is that of the atom alone
            alone = network(jnp.concatenate([jnp.zeros_like(values), extra], axis=1))[:, 0]
            energy = energy - (alone if all(fixed) else alone * of_type(jnp.array(fixed, self.dtype), view))
        return energy

    def fixed_energies(self) -> tuple[bool, ...]:
        """For each type whether ``atom_ener`` fixes the energy of an isolated atom; the network's own is then removed.

        Where one network serves all types it is removed for all of them as soon as one is fixed, as in the reference.
        """
        given = self.config.atom_ener or (None,) * self.n_type
        fixed = tuple(energy is not None for energy in given)
        return (any(fixed),) * self.n_type if self.mixed else fixed
