"""Energy fitting (``ener``): from descriptors and parameters to atomic energies in eV."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.descriptors import Features, Neighborhood
from dpjax.fittings.network import FittingNet
from dpjax.fittings.types import of_type


class EnerFitting(FittingNet):
    """Atomic energies."""

    def __call__(
        self, view: Neighborhood, features: Features, fparam: jax.Array | None = None, aparam: jax.Array | None = None
    ) -> jax.Array:
        """(n_atom,) eV, in the precision of the network; arguments as for :class:`~dpjax.fittings.network.FittingNet`."""
        energy = self.network_values(view, features, fparam, aparam)[:, 0]
        fixed = self.fixed_energies()
        if any(fixed) if view.centre is None else fixed[view.centre]:  # the given energy is that of the atom alone
            nothing = Features(jnp.zeros_like(features.values))
            alone = self.network_values(view, nothing, fparam, aparam)[:, 0]
            energy = energy - (alone if all(fixed) else alone * of_type(jnp.array(fixed, self.dtype), view))
        return energy

    def fixed_energies(self) -> tuple[bool, ...]:
        """For each type whether ``atom_ener`` fixes the energy of an isolated atom; the network's own is then removed.

        Where one network serves all types it is removed for all of them as soon as one is fixed, as in the reference.
        """
        given = self.config.atom_ener or (None,) * self.n_type
        fixed = tuple(energy is not None for energy in given)
        return (any(fixed),) * self.n_type if self.mixed else fixed

    def shifted(self, values: jax.Array, view: Neighborhood, out_bias: jax.Array, out_std: jax.Array) -> jax.Array:
        """Values plus the energy of each type."""
        per_type = self.bias_atom_e.value[:, 0] + out_bias[:, 0]
        return values + of_type(per_type.astype(values.dtype), view)
