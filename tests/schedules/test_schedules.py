"""Learning-rate schedules: DeePMD-kit's tables, continuity, and errors that name the key."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import schedules
from dpjax.config import ExpConfig
from dpjax.errors import ConfigError
from tests.shared import golden

TABLES = json.loads(golden("schedules", "tables.json").read_text())


def named(kind: str):
    return pytest.mark.parametrize("case", TABLES[kind], ids=lambda case: case["name"])


@named("valid")
def test_tables_of_the_reference(case):
    schedule = schedules.from_config(case["config"], case["num_steps"])
    steps, rates = np.array(case["table"]).T
    np.testing.assert_allclose([schedule(int(step)) for step in steps], rates, rtol=1e-13, atol=1e-19)
    traced = jax.jit(schedule)
    np.testing.assert_allclose([traced(int(step)) for step in steps], rates, rtol=1e-13, atol=1e-18)
    assert traced._cache_size() == 1 and traced(0).dtype == jnp.float64


@named("invalid")
def test_invalid_sections_are_refused(case):
    with pytest.raises(ConfigError, match="learning_rate"):
        schedules.from_config(case["config"], case["num_steps"])


@named("accepted_oddities")
def test_oddities_of_the_reference_are_accepted(case):
    schedule = schedules.from_config(case["config"], case["num_steps"])
    np.testing.assert_allclose(schedule(0), case["value_at_0"], rtol=1e-13)
    np.testing.assert_allclose(schedule(case["num_steps"]), case["value_at_end"], rtol=1e-13)


def test_without_x64_a_traced_step_gives_single_precision():
    schedule = schedules.from_config({"start_lr": 1e-3, "decay_steps": 7, "smooth": True}, 1000)
    with jax.enable_x64(False):
        rate = jax.jit(schedule)(jnp.int32(500))
        assert rate.dtype == jnp.float32
        np.testing.assert_allclose(rate, schedule(500), rtol=1e-6)


def test_a_rate_close_to_one_keeps_its_digits_without_x64():
    schedule = schedules.from_config({"start_lr": 1e-3, "decay_steps": 7}, 16_000_000)
    with jax.enable_x64(False):
        rate = jax.jit(schedule)(jnp.int32(15_000_000))
    np.testing.assert_allclose(rate, schedule(15_000_000), rtol=3e-6)


def test_a_dataclass_does_as_well_as_a_dict():
    section = {"start_lr": 1e-3, "stop_lr": 1e-6, "decay_steps": 10}
    one, two = schedules.from_config(ExpConfig(**section), 100), schedules.from_config(section, 100)
    assert [one(i) for i in range(100)] == [two(i) for i in range(100)]


def test_no_steps_at_all():
    assert schedules.from_config({"start_lr": 1e-3}, 0)(0) == 1e-3
    with pytest.raises(ConfigError, match="numb_steps"):
        schedules.from_config({"start_lr": 1e-3}, -1)


def test_unknown_worker_scaling_is_refused():
    with pytest.raises(ConfigError, match="scale_by_worker"):
        schedules.from_config({"start_lr": 1e-3, "scale_by_worker": "cubic"}, 10)
    one = schedules.from_config({"start_lr": 1e-3, "scale_by_worker": "sqrt"}, 10)
    assert one(0) == 1e-3
