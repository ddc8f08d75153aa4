"""Attention between neighbours against a soft-max over all places, empty ones written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.nn.attention import Scoring, Slots, attend, unit
from dpjax.nn.norms import LayerNorm, layer_norm

N_ATOM, WIDTH, SEL, HIDDEN = 3, 4, 7, 5
COUNT = np.array([0, 2, 4])


def inputs(seed: int = 0):
    """Queries, keys, values and places of three atoms with none, some and all neighbours."""
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(3, N_ATOM, WIDTH, HIDDEN))
    mask = np.arange(WIDTH)[None] < COUNT[:, None]
    switch = np.where(mask, rng.uniform(0.1, 1.0, mask.shape), 0.0)
    direction = np.where(mask[:, None], unit(jnp.asarray(rng.normal(size=(N_ATOM, 3, WIDTH))), axis=1), 0.0)
    return q, k, v, Slots(jnp.asarray(mask), jnp.asarray(switch), jnp.asarray(direction), SEL)


def all_places(q, k, v, slots, how):
    """(N_ATOM, WIDTH, HIDDEN) with ``SEL`` keys, those beyond the neighbours empty."""
    wide = SEL - WIDTH
    k, v = (np.concatenate([x, np.ones((N_ATOM, wide, HIDDEN))], axis=1) for x in (k, v))
    mask, switch = (np.concatenate([x, np.zeros((N_ATOM, wide), x.dtype)], axis=1) for x in map(np.asarray, slots[:2]))
    direction = np.concatenate([slots.direction, np.zeros((N_ATOM, 3, wide))], axis=2)
    if how.normalize:
        q, k, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k, v))
    score = how.scale * q @ k.transpose(0, 2, 1)
    both = switch[:, :WIDTH, None] * switch[:, None]
    score = (score + 20.0) * both - 20.0 if how.smooth else np.where(mask[:, None], score, -1e9)
    p = np.exp(score - score.max(axis=2, keepdims=True))
    p = p / p.sum(axis=2, keepdims=True) * mask[:, None]
    p = p * both if how.smooth else p
    p = p * (1 - np.eye(WIDTH, SEL)) if how.masked else p
    return (p * (direction[:, :, :WIDTH].transpose(0, 2, 1) @ direction) if how.angular else p) @ v


@pytest.mark.parametrize("scale", [0.3, 500.0])
@pytest.mark.parametrize("angular", [True, False])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("normalize", "masked"), [(True, False), (False, False), (True, True)])
def test_empty_places_count_as_if_they_were_there(normalize, masked, smooth, angular, scale):
    q, k, v, slots = inputs()
    how = Scoring(scale, normalize, smooth, angular, masked)
    got = jax.jit(lambda q, k, v: attend(q, k, v, slots, how))(q, k, v)
    real = np.arange(WIDTH)[None] < COUNT[:, None]
    np.testing.assert_allclose(got[real], all_places(q, k, v, slots, how)[real], rtol=1e-11, atol=1e-13)
    assert np.all(np.isfinite(got))


@pytest.mark.parametrize("how", [Scoring(0.3), Scoring(500.0, False), Scoring(0.3, smooth=False)], ids=str)
def test_second_derivatives_are_finite(how):
    q, k, v, slots = inputs()

    def total(switch):
        return jnp.sum(attend(q, k, v, slots._replace(switch=switch), how) ** 2)

    slope = jax.grad(lambda switch: jnp.sum(jax.grad(total)(switch) ** 2))(slots.switch)
    assert np.all(np.isfinite(slope))


def test_unit_vectors():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-14, 0.0]])
    np.testing.assert_allclose(unit(x), [[0.6, 0.8], [0.0, 0.0], [1e-2, 0.0]], rtol=1e-14)
    assert np.all(np.isfinite(jax.jacobian(unit)(x)))


def test_layer_norm():
    x = np.random.default_rng(0).normal(size=(2, 3, 5))
    got = layer_norm(jnp.asarray(x), jnp.full(5, 2.0), jnp.full(5, 0.5), 1e-2)
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-2) * 2.0 + 0.5
    np.testing.assert_allclose(got, want, rtol=1e-12)
    fresh = LayerNorm(5).init(jax.random.key(0), jnp.asarray(x))["params"]
    np.testing.assert_array_equal(fresh["matrix"], np.ones(5))
    np.testing.assert_array_equal(fresh["bias"], np.zeros(5))
