"""Rows of the environment matrix beyond degree 1: functions of a neighbour's direction that ``lmax`` adds to its components.

Of degree l they are ``w(r) / (r + p) / dstd * Y_l(x / (r + p))`` with the solid harmonics Y_l, the switch w, the protection p and
the spread of the radial column.  No mean is taken off, as it would not turn with the frame; so they are zero at the cut-off and in
empty places, whatever ``davg`` is.  The product of two moments thus holds ``P_l`` of the angle between any two neighbours, with
the square of a trained number as the weight of degree l.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.descriptors.nearest import Surroundings
from dpjax.geometry.harmonics import solid_harmonics


def with_degrees(around: Surroundings, highest: int, protection: float) -> Surroundings:
    """The environment with rows of degrees 2 to ``highest``.

    Args:
        around: the environment up to degree 1.
        highest: degree; 1 changes nothing.
        protection: added to distances in the denominators, angstrom.

    Returns:
        ``rows`` (n_atom, (highest + 1)^2, k) and ``empty_row`` (n_atom, (highest + 1)^2): the four that there were come first.
    """
    if highest == 1:
        return around
    inverse = 1.0 / (around.dist + protection)
    direction = jnp.where(around.mask[:, None], around.disp, 0.0) * inverse[:, None]
    length = around.switch * inverse / around.spread[:, 0]
    higher = length[:, None] * solid_harmonics(direction, range(2, highest + 1))
    none = jnp.zeros((around.empty_row.shape[0], higher.shape[1]), around.empty_row.dtype)
    return around._replace(
        rows=jnp.concatenate([around.rows, higher], axis=1),
        empty_row=jnp.concatenate([around.empty_row, none], axis=1),
    )


def row_weights(gain: jax.Array) -> jax.Array:
    """((highest + 1)^2,) weight of each row in the product of two moments: 1 up to degree 1, then the squares of ``gain``.

    Args:
        gain: (highest - 1,) trained numbers of degrees 2 to ``highest``.
    """
    by_degree = [jnp.broadcast_to(gain[l - 2] ** 2, (2 * l + 1,)) for l in range(2, gain.shape[0] + 2)]  # noqa: E741
    return jnp.concatenate([jnp.ones(4, gain.dtype), *by_degree])
