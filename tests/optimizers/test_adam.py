"""Adam with L2: DeePMD-kit's trajectories."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import optimizers
from dpjax.config import AdamConfig
from dpjax.errors import ConfigError
from tests.shared import golden

INDEX = json.loads(golden("optimizers", "adam.json").read_text())


@pytest.mark.parametrize("case", INDEX["cases"], ids=lambda case: case["case"])
def test_trajectories_of_the_reference(case):
    stored = np.load(golden("optimizers", "adam.npz"))
    rates = jnp.asarray(stored["lr"])
    tx = optimizers.from_config(case["optimizer"], lambda step: rates[step])
    params = {name: jnp.asarray(stored[f"param/{name}"]) for name in INDEX["names"]}
    state, update = tx.init(params), jax.jit(tx.update)
    for step in range(INDEX["num_steps"]):
        gradient = {name: jnp.asarray(stored[f"grad/{step}/{name}"]) for name in params}
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        for name, value in params.items():
            np.testing.assert_allclose(value, stored[f"{case['case']}/after/{step}/{name}"], rtol=1e-12, atol=1e-14)


def test_l2_joins_the_gradient_before_the_moments():
    params, gradient = {"w": jnp.array([2.0, -3.0])}, {"w": jnp.array([0.1, 0.2])}
    decayed = optimizers.from_config(AdamConfig(weight_decay=0.5), lambda step: 1e-2)
    plain = optimizers.from_config(AdamConfig(), lambda step: 1e-2)
    shifted = jax.tree.map(lambda g, p: g + 0.5 * p, gradient, params)
    got, _ = decayed.update(gradient, decayed.init(params), params)
    want, _ = plain.update(shifted, plain.init(params), params)
    np.testing.assert_allclose(got["w"], want["w"], rtol=1e-15)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ConfigError, match="unknown optimizer 'Adan'.*Adam"):
        optimizers.from_config({"type": "Adan"}, lambda step: 1e-3)
