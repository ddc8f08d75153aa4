"""The smooth environment matrix, rows ``(s, s x/r, s y/r, s z/r)`` with ``s = w(r)/r`` (arXiv:1805.09003)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Switch = Callable[[jax.Array, float, float], jax.Array]  # weight of a distance, and where it begins and ends to fall


def switch_weight(dist: jax.Array, r_on: float, r_off: float) -> jax.Array:
    """Quintic switch w: 1 below ``r_on``, 0 above ``r_off``, twice continuously differentiable; shape of ``dist``."""
    u = jnp.clip((dist - r_on) / (r_off - r_on), 0.0, 1.0)
    return u * u * u * (u * (15.0 - 6.0 * u) - 10.0) + 1.0


def exponential_switch(dist: jax.Array, r_on: float, r_off: float) -> jax.Array:
    """``exp(-exp(20 (r / r_on - 1)))``, which stays what it is at ``r_off`` beyond it; shape of ``dist``."""
    return jnp.exp(-jnp.exp(20.0 / r_on * (jnp.minimum(dist, r_off) - r_on)))


def distances(squares: jax.Array, mask: jax.Array) -> jax.Array:
    """Roots of squared lengths; 1 where ``mask`` is False.

    The slope at zero is zero: points that meet, as an atom and the virtual atom of a spin that is zero, have no direction.
    """
    apart = squares > 0.0
    roots = jnp.sqrt(jnp.where(mask & apart, squares, 1.0))  # before the root: keeps NaN out of the derivatives
    return jnp.where(mask & ~apart, 0.0, roots)


def env_components(
    disp: jax.Array,
    mask: jax.Array,
    *,
    r_on: float,
    r_off: float,
    protection: float = 0.0,
    weight: Switch = switch_weight,
) -> jax.Array:
    """The four columns of the environment matrix before normalisation, as (..., 4, n_nbr).

    Args:
        disp: (..., 3, n_nbr) neighbour minus centre, angstrom; any finite value where ``mask`` is False.
        mask: (..., n_nbr) bool, False in empty slots.
        r_on, r_off: interval over which the weight goes smoothly to zero, angstrom.
        protection: added to distances in the denominators, angstrom.
        weight: w, as a function of the distance and both ends of the interval.

    Returns:
        ``w/(r+p), w x/(r+p)^2, w y/(r+p)^2, w z/(r+p)^2``; exactly zero, with zero derivatives, where ``mask`` is False.
    """
    disp = jnp.where(mask[..., None, :], disp, 0.0)
    radial, inverse = _radial(disp, mask, r_on, r_off, protection, weight)
    return jnp.concatenate([radial[..., None, :], (radial * inverse)[..., None, :] * disp], axis=-2)


def env_radial(disp: jax.Array, mask: jax.Array, *, r_on: float, r_off: float, protection: float = 0.0) -> jax.Array:
    """The radial column alone, (..., n_nbr); arguments as for :func:`env_components`."""
    return _radial(jnp.where(mask[..., None, :], disp, 0.0), mask, r_on, r_off, protection, switch_weight)[0]


def _radial(
    disp: jax.Array, mask: jax.Array, r_on: float, r_off: float, protection: float, weight: Switch
) -> tuple[jax.Array, jax.Array]:
    """``w/(r+p)``, zero where ``mask`` is False, and ``1/(r+p)``; both (..., n_nbr)."""
    sq = jnp.sum(disp * disp, axis=-2)
    dist = distances(sq, mask)
    inverse = 1.0 / (dist + protection)
    return jnp.where(mask, weight(dist, r_on, r_off), 0.0) * inverse, inverse
