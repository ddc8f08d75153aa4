"""Bridging: at short distances a network sees its neighbours stand still, and an analytical repulsion takes over.

Between an inner and an outer distance what the network sees goes smoothly from standing still to the truth, and atoms with so near
a neighbour fade from what others see.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.elements import ELEMENTS

COULOMB = 14.3996  # eV angstrom, of two elementary charges
BOHR = 0.5291772109  # angstrom
SCREENING = (0.18175, 0.50986, 0.28022, 0.028171), (3.1998, 0.94229, 0.4029, 0.20162)


class Bridge(NamedTuple):
    """Distances between which the network goes from standing still to the truth, angstrom."""

    inner: float
    outer: float

    def progress(self, distance: jax.Array) -> jax.Array:
        """0 at the inner distance and below it, 1 at the outer one and above it."""
        return jnp.clip((distance - self.inner) / (self.outer - self.inner), 0.0, 1.0)


def clamped(disp: jax.Array, bridge: Bridge) -> tuple[jax.Array, jax.Array]:
    """Displacements (..., 3) as the network sees them, and their lengths: no shorter than the inner distance, unchanged from the
    outer one on."""
    distance = jnp.sqrt(jnp.sum(disp * disp, axis=-1))
    t = bridge.progress(distance)
    step = t**4 * (20.0 + t * (-45.0 + t * (36.0 - 10.0 * t)))
    seen = jnp.where(distance >= bridge.outer, distance, bridge.inner + (bridge.outer - bridge.inner) * step)
    return disp * (seen / distance)[..., None], seen


def gate(seen: jax.Array, mask: jax.Array, bridge: Bridge) -> jax.Array:
    """(n,) how much others see of an atom: the product over its neighbours, 0 where one stands still.

    A pair is in the lists of both its atoms, so an atom's own neighbours say it.  The distances are those that the network sees.

    Args:
        seen: (n, k) distances.
        mask: (n, k) where there is a neighbour.
        bridge: the distances in between.
    """
    return _product(jnp.where(mask, _risen(bridge.progress(seen)), 1.0))


def faded(distance: jax.Array, start: float, end: float) -> jax.Array:
    """1 up to a distance, 0 from another on, with three derivatives."""
    return 1.0 - _risen(jnp.clip((distance - start) / (end - start), 0.0, 1.0))


def _risen(t: jax.Array) -> jax.Array:
    """From 0 at 0 to 1 at 1, with three derivatives that are zero at both ends."""
    return t**4 * (35.0 + t * (-84.0 + t * (70.0 - 20.0 * t)))


def _product(x: jax.Array) -> jax.Array:
    """Products along the last axis, by halves: with plain multiplications derivatives are finite at zero factors."""
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        x = x[..., 0::2] * x[..., 1::2]
    return x[..., 0]


def screened_repulsion(distance: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """Energies (eV) of two nuclei ``distance`` (angstrom) apart, screened by their electrons: the universal potential of Ziegler,
    Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985).  ``first`` and ``second`` are numbers of protons."""
    length = 0.88534 * BOHR / (first**0.23 + second**0.23)
    x = distance / length
    screening = sum(a * jnp.exp(-b * x) for a, b in zip(*SCREENING, strict=True))
    return COULOMB * first * second / distance * screening


def protons(type_map: tuple[str, ...]) -> np.ndarray:
    """(n_type,) numbers of protons of the elements."""
    return np.array([ELEMENTS.index(name) + 1 for name in type_map], float)
