"""The switch and the environment matrix: values, limits, smoothness, and silence of empty slots."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.geometry.environment import env_components, switch_weight

ON, OFF = 1.0, 3.0


def test_switch_is_one_inside_zero_outside_and_half_way_half():
    r = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 9.0])
    np.testing.assert_allclose(switch_weight(r, ON, OFF), [1.0, 1.0, 1.0, 0.5, 0.0, 0.0], atol=1e-15)
    inner = np.linspace(ON, OFF, 30)
    assert (np.diff(switch_weight(inner, ON, OFF)) < 0).all()


@pytest.mark.parametrize("edge", [ON, OFF])
@pytest.mark.parametrize("order", [1, 2])
def test_switch_is_twice_continuously_differentiable(edge, order):
    fn = lambda r: switch_weight(r, ON, OFF)  # noqa: E731
    for _ in range(order):
        fn = jax.grad(fn)
    for side in (-1e-7, 0.0, 1e-7):
        assert abs(fn(edge + side)) < 1e-5


def components(disp, mask=None, protection=0.0):
    """The matrix for displacements (n, 3)."""
    mask = jnp.ones(len(disp), bool) if mask is None else mask
    return env_components(jnp.asarray(disp).T, mask, r_on=ON, r_off=OFF, protection=protection)


@pytest.mark.parametrize("protection", [0.0, 0.4])
def test_components_are_weight_over_distance_times_direction(protection):
    disp = np.array([[0.5, 0.0, 0.0], [1.0, -1.5, 0.7], [0.0, 2.0, -2.0], [3.0, 3.0, 0.0]])
    r = np.linalg.norm(disp, axis=1)
    s = np.asarray(switch_weight(r, ON, OFF)) / (r + protection)
    want = np.concatenate([s[None], s / (r + protection) * disp.T])
    np.testing.assert_allclose(components(disp, protection=protection), want, rtol=1e-14, atol=1e-16)
    assert s[2] > 0 and s[3] == 0


RUBBISH = np.array([[0.0, 0.0, 0.0], [1e9, -1e9, 1e9], [1e200, 0.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize("kind", ["value", "slope", "curvature"])
def test_empty_slots_are_silent_whatever_they_hold(kind):
    mask = jnp.zeros(len(RUBBISH), bool)
    probe = np.random.default_rng(0).normal(size=(4, len(RUBBISH)))

    def value(disp):
        return jnp.sum(components(disp, mask) * probe)

    slope = jax.grad(value)
    results = {
        "value": lambda: components(RUBBISH, mask),
        "slope": lambda: slope(jnp.asarray(RUBBISH)),
        "curvature": lambda: jax.grad(lambda d: jnp.sum(slope(d) * probe.T[:, :3]))(jnp.asarray(RUBBISH)),
    }
    np.testing.assert_array_equal(results[kind](), 0.0)


def test_a_slot_beyond_the_cutoff_equals_an_empty_one():
    far = np.array([[3.0, 0.0, 0.0], [0.0, 3.0 + 1e-9, 0.0]])
    np.testing.assert_array_equal(components(far), components(far, jnp.zeros(2, bool)))
    jacobian = jax.jacobian(components)(jnp.asarray(far))
    np.testing.assert_allclose(jacobian, 0.0, atol=1e-15)
