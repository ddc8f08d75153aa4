"""The property loss: DeePMD-kit's numbers, measures of the error, the number of atoms, padding, facts about the model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import losses
from dpjax.config.losses import PropertyLossConfig
from dpjax.errors import ConfigError, ModelError
from tests.losses.common import FILLS, cases, check_case, check_same, graded, grader, padded

MEASURES = ["smooth_mae", "mae", "mse", "rmse", "mape"]
FACTS = {"var_name": "gap", "task_dim": 2, "intensive": False, "out_bias": [0.5, -1.0], "out_std": [0.5, 2.0]}
NATOMS = np.array([3, 5, 4])


def section(loss_func: str = "mae", **more) -> dict:
    return {"type": "property", "loss_func": loss_func, "metric": MEASURES} | more


def three_frames() -> tuple[dict, dict]:
    rng = np.random.default_rng(1)
    return {"gap": 3 * rng.normal(size=(3, 2))}, {"gap": 3 * rng.normal(size=(3, 2))}


@pytest.mark.parametrize("case", cases("property"), ids=lambda case: case["case"])
def test_values_metrics_and_gradients_of_the_reference(case):
    check_case("property", case)


@pytest.mark.parametrize("loss_func", MEASURES)
def test_padding_is_invisible(loss_func):
    loss = losses.from_config(section(loss_func), **FACTS)
    prediction, label = three_frames()
    want = graded(loss, prediction, label, natoms=NATOMS)
    run = grader(loss, natoms=np.append(NATOMS, [0, 0]), frame_weight=jnp.array([1.0, 1, 1, 0, 0]))
    for fill in FILLS:
        check_same(run(padded(prediction, {"gap": 2}, fill), padded(label, {"gap": 2}, -fill)), want)


@pytest.mark.parametrize("loss_func", MEASURES)
def test_what_is_not_intensive_is_taken_per_atom_that_counts(loss_func):
    prediction, label = three_frames()
    per_atom = [{"gap": x["gap"] / np.array([[2], [5], [1]])} for x in (prediction, label)]
    intensive = losses.from_config(section(loss_func), **FACTS | {"intensive": True})
    want = graded(intensive, *per_atom, natoms=7)
    fixed = {"counted": np.array([2, 5, 1]), "mask": np.ones(12)}
    got = graded(losses.from_config(section(loss_func), **FACTS), prediction, label, fixed, natoms=NATOMS)
    check_same(got[:2] + ({},), want[:2] + ({},))


@pytest.mark.parametrize("loss_func", MEASURES)
def test_frames_in_which_no_atom_counts_do_not_count(loss_func):
    loss = losses.from_config(section(loss_func), **FACTS)
    prediction, label = three_frames()
    want = graded(loss, {"gap": prediction["gap"][:2]}, {"gap": label["gap"][:2]}, natoms=NATOMS[:2])
    check_same(graded(loss, prediction, label, {"counted": np.array([3, 5, 0])}, natoms=NATOMS), want)


def test_sums_grow_with_the_batch_and_means_do_not():
    prediction, label = three_frames()
    double = [{"gap": np.concatenate([x["gap"]] * 2)} for x in (prediction, label)]
    for loss_func, factor in zip(MEASURES, (2, 2, 2, 1, 1), strict=True):
        loss = losses.from_config(section(loss_func), **FACTS)
        run = grader(loss, natoms=4)
        one, two = run(prediction, label), run(*double)
        np.testing.assert_allclose(two[0], factor * one[0], rtol=1e-14)
        for name in MEASURES:
            np.testing.assert_allclose(two[1][name], one[1][name], rtol=1e-14)


def test_the_spread_is_that_of_the_first_type_and_the_bias_has_no_influence():
    prediction, label = three_frames()
    want = losses.from_config(section(), **FACTS)(prediction, label, natoms=4, learning_rate=1.0, find={})[0]
    error = np.abs(prediction["gap"] - label["gap"]) / 4 / np.array(FACTS["out_std"])
    np.testing.assert_allclose(want, np.sum(error), rtol=1e-14)
    rest = {k: v for k, v in FACTS.items() if k not in ("out_bias", "out_std", "task_dim")}
    loss = losses.from_config(section(), **rest, out_std=[9.0, 9.0])
    table = jnp.array([FACTS["out_std"], [7.0, 7.0]])
    step = jax.jit(lambda std: loss(prediction, label, natoms=4, learning_rate=1.0, find={}, out_std=std)[0])
    np.testing.assert_allclose(step(table), want, rtol=1e-14)
    np.testing.assert_allclose(step(table[0]), want, rtol=1e-14)


def test_smooth_errors_turn_linear_at_beta():
    error = np.array([0.0, 0.1, 0.399, 0.4, 0.5, -3.0])[:, None]
    loss = losses.from_config(section("smooth_mae", beta=0.4), **FACTS | {"intensive": True, "out_std": [1.0]})
    label = {"gap": np.ones((6, 1))}
    _, metrics, gradient = graded(loss, {"gap": 1.0 + error}, label, natoms=4)
    size = np.abs(error)
    want = np.where(size < 0.4, 0.5 * error**2 / 0.4, size - 0.2)
    np.testing.assert_allclose(metrics["smooth_mae"], np.mean(want), rtol=1e-14)
    np.testing.assert_allclose(gradient["gap"], np.clip(error / 0.4, -1, 1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss_func", MEASURES)
def test_a_perfect_prediction_has_a_gradient(loss_func):
    _, label = three_frames()
    value, _, gradient = graded(losses.from_config(section(loss_func), **FACTS), dict(label), label, natoms=4)
    assert value == 0.0 and np.all(np.isfinite(gradient["gap"]))


@pytest.mark.parametrize("loss_func", MEASURES)
def test_missing_labels_count_for_nothing_and_nans_are_not_hidden(loss_func):
    loss = losses.from_config(section(loss_func), **FACTS)
    prediction, label = three_frames()
    run = grader(loss, natoms=4, find={"gap": 0.0})
    for given in ({"gap": np.full_like(label["gap"], np.nan)}, {}):
        value, metrics, gradient = run(prediction, given)
        assert value == 0.0 and np.all(gradient["gap"] == 0.0)
        assert set(metrics) == set(MEASURES) and all(np.isnan(x) for x in metrics.values())
    prediction["gap"][1, 0] = np.nan
    assert np.isnan(graded(loss, prediction, label, natoms=4)[0])


def test_single_precision_predictions_are_compared_in_double():
    prediction, label = {"gap": np.full((3, 2), 0.1, np.float32)}, {"gap": np.zeros((3, 2))}
    loss = losses.from_config(section(), **FACTS | {"intensive": True})
    value, metrics = loss(prediction, label, natoms=4, learning_rate=1.0, find={})
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(metrics["mae"], np.float64(np.float32(0.1)), rtol=1e-14)


def test_what_a_loss_needs_and_prints():
    loss = losses.from_config({"type": "property", "metric": ["rmse", "mae", "mae"]}, **FACTS)
    assert loss.labels == loss.predictions == ("gap",) and loss.optional_labels == {}
    assert loss.metrics == ("mae", "rmse")
    assert losses.required_labels({"type": "property"}, var_name="homo") == {"homo"}


def test_one_program_for_all_rates_and_flags():
    loss = losses.from_config(section("rmse"), **FACTS)
    prediction, label = three_frames()
    step = jax.jit(lambda rate, flag: loss(prediction, label, natoms=4, learning_rate=rate, find={"gap": flag})[0])
    assert step(1e-3, 1.0) > 0.0 == step(1e-5, 0.0)
    assert step._cache_size() == 1


@pytest.mark.parametrize("lost", ["var_name", "intensive", "out_std"])
def test_a_fact_is_needed_once(lost):
    prediction, label = three_frames()
    want = losses.from_config(section(), **FACTS)(prediction, label, natoms=4, learning_rate=1.0, find={})[0]
    loss = losses.from_config(section(), **{k: v for k, v in FACTS.items() if k != lost}, unknown=3)
    found = {lost: FACTS[lost]}
    assert loss(prediction, label, natoms=4, learning_rate=1.0, find={}, **found, other=4)[0] == want
    with pytest.raises(ModelError, match=f"property loss needs {lost} of its model"):
        loss(prediction, label, natoms=4, learning_rate=1.0, find={})


def test_a_spread_of_another_shape_is_refused():
    prediction, label = three_frames()
    for wrong in ([1.0], 1.0, [[1.0, 2.0, 3.0]]):
        with pytest.raises(ModelError, match="out_std has the shape .*2 components"):
            losses.from_config(section(), **FACTS | {"out_std": wrong})(
                prediction, label, natoms=4, learning_rate=1.0, find={}
            )


def test_the_property_must_be_predicted():
    _, label = three_frames()
    with pytest.raises(ModelError, match="asks for a gap term, but the model predicts only: homo"):
        losses.from_config(section(), **FACTS)({"homo": label["gap"]}, label, natoms=4, learning_rate=1.0, find={})


def test_unknown_measures_are_refused():
    for wrong in ({"loss_func": "huber"}, {"metric": ("mae", "huber")}):
        for given in ({"type": "property"} | wrong, PropertyLossConfig(**wrong)):
            with pytest.raises(ConfigError, match="'huber'"):
                losses.from_config(given)
