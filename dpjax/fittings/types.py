"""Networks and numbers per type, for atoms of one type and for atoms of any."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.descriptors import Neighborhood


def network_names(n_type: int, mixed: bool) -> tuple[str, ...]:
    """Names of a fitting's networks: one for each type, or one for all."""
    return ("all",) if mixed else tuple(str(t) for t in range(n_type))


def of_type(values: jax.Array, view: Neighborhood) -> jax.Array:
    """The entry of ``values`` (n_type, ...) that belongs to each centre: (n_atom, ...), or (1, ...) where all are alike."""
    if view.centre is not None:
        return values[view.centre : view.centre + 1]
    return jnp.asarray(values)[jnp.maximum(view.types, 0)]  # padding has type -1; any value does there
