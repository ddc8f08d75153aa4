"""The squared-error terms of the losses.

Every function returns a :class:`Term`.  Shapes: energy (n_frame, 1) eV, force (..., n_atom, 3) eV/angstrom, virial (n_frame, 9) eV,
``natoms`` (n_frame,) real atoms of each frame, ``weight`` 1 for real and 0 for padding entries, shaped (n_frame,) or like the force
without its last axis.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.losses.means import error_of, weighted_mean


class Term(NamedTuple):
    """One term of a loss; all () and without prefactor."""

    value: jax.Array  # what is minimised
    square: jax.Array  # plain mean square, in the units of the label
    rmse: jax.Array  # what lcurve.out prints


def energy_term(
    prediction: jax.Array, label: jax.Array, natoms: jax.Array, weight: jax.Array, intensive: bool = False
) -> Term:
    """Mean over frames of dE^2 / N, or dE^2 / N^2 if ``intensive``; the rmse is per atom."""
    return _per_frame(prediction, label, natoms, weight, intensive)


def virial_term(
    prediction: jax.Array, label: jax.Array, natoms: jax.Array, weight: jax.Array, intensive: bool = False
) -> Term:
    """Mean over frames and components of dV^2 / N, or dV^2 / N^2 if ``intensive``; the rmse is per atom."""
    return _per_frame(prediction, label, natoms, weight, intensive)


def force_term(prediction: jax.Array, label: jax.Array, weight: jax.Array) -> Term:
    """Mean over all real atoms and xyz of dF^2: larger frames count for more."""
    weight = weight[..., None]
    square = weighted_mean(error_of(prediction, label, weight) ** 2, weight)
    return Term(square, square, jnp.sqrt(square))


def atomic_term(error: jax.Array, weight: jax.Array) -> Term:
    """Mean over all atoms that count and all components of error^2; error (n_atom, n), weight (n_atom,)."""
    square = weighted_mean(error**2, weight[:, None])
    return Term(square, square, jnp.sqrt(square))


def total_term(error: jax.Array, count: jax.Array, weight: jax.Array) -> Term:
    """Mean over frames, each as often as it has atoms that count, and components of error^2.

    The rmse is divided by the mean number of these atoms. Error (n_frame, n), count and weight (n_frame,).
    """
    square = weighted_mean(error**2, (weight * count)[:, None])
    mean_count = weighted_mean(count, weight)
    return Term(square, square, jnp.sqrt(square) / jnp.where(mean_count > 0.0, mean_count, 1.0))


def _per_frame(prediction: jax.Array, label: jax.Array, natoms: jax.Array, weight: jax.Array, intensive: bool) -> Term:
    """Squared errors of quantities that grow with the frame, each frame divided by its own number of atoms."""
    weight = weight[:, None]
    n_atom = jnp.where(weight > 0.0, natoms[:, None], 1).astype(float)
    square = error_of(prediction, label, weight) ** 2
    per_atom = weighted_mean(square / n_atom**2, weight)
    value = per_atom if intensive else weighted_mean(square / n_atom, weight)
    return Term(value, weighted_mean(square, weight), jnp.sqrt(per_atom))
