"""Solid harmonics against what defines them: the addition theorem, Laplace's equation, the order of their zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre

from dpjax.geometry.harmonics import solid_harmonics

DEGREES = [1, 2, 3, 4, 6]


def vectors(seed: int, n: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, n))


@pytest.mark.parametrize("degree", DEGREES)
def test_two_vectors_meet_in_the_legendre_polynomial_of_their_angle(degree):
    a, b = vectors(0), vectors(1)
    of_a, of_b = (np.asarray(solid_harmonics(jnp.asarray(v), [degree])) for v in (a, b))
    assert of_a.shape == (2 * degree + 1, 7)
    lengths = np.outer(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))
    want = lengths**degree * Legendre.basis(degree)(a.T @ b / lengths)
    np.testing.assert_allclose(of_a.T @ of_b, want, rtol=1e-12, atol=1e-12 * lengths.max() ** degree)


def test_degree_one_is_the_vector():
    found = np.asarray(solid_harmonics(jnp.asarray(vectors(2)), [1]))
    np.testing.assert_allclose(found[[1, 2, 0]], vectors(2))


def test_degrees_follow_each_other_over_leading_axes():
    batch = jnp.asarray(np.stack([vectors(3), vectors(4)]))
    several = solid_harmonics(batch, range(2, 5))
    apart = jnp.concatenate([solid_harmonics(batch, [degree]) for degree in (2, 3, 4)], axis=1)
    assert several.shape == (2, 5 + 7 + 9, 7)
    np.testing.assert_array_equal(several, apart)


@pytest.mark.parametrize("degree", DEGREES)
def test_every_component_solves_laplace_s_equation(degree):
    curvature = jax.hessian(lambda v: solid_harmonics(v[:, None], [degree])[:, 0])(jnp.asarray(vectors(5)[:, 0]))
    assert degree == 1 or np.abs(curvature).max() > 0.1
    np.testing.assert_allclose(np.trace(curvature, axis1=1, axis2=2), 0.0, atol=1e-10)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_derivatives_are_finite_at_the_origin(degree):
    def component(v):
        return solid_harmonics(v[:, None], [degree])[:, 0]

    slope, curvature = (of(component)(jnp.zeros(3)) for of in (jax.jacobian, jax.hessian))
    assert not np.any(slope)
    assert np.all(np.isfinite(curvature)) and bool(np.any(curvature)) == (degree == 2)
