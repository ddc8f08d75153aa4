"""The energy loss: what padding may not do, what switches a term off, and DeePMD-kit's numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import losses
from dpjax.config import EnerLossConfig
from dpjax.errors import ConfigError, ModelError
from tests.losses.common import FILLS, cases, check_case, check_same, graded, padded

EFV = {"type": "ener", "start_pref_v": 0.01, "limit_pref_v": 2}


@pytest.mark.parametrize("case", cases("ener"), ids=lambda case: case["case"])
def test_values_metrics_and_gradients_of_the_reference(case):
    check_case("ener", case)


def two_frames(seed: int = 0) -> tuple[dict, dict, np.ndarray]:
    """Prediction and label of frames with 3 and 5 atoms, flat, and the number of atoms."""
    rng = np.random.default_rng(seed)
    shapes = {"energy": (2, 1), "force": (8, 3), "virial": (2, 9)}
    prediction, label = ({name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(2))
    return prediction, label, np.array([3, 5])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("intensive", [False, True])
def test_padding_is_invisible(fill, intensive):
    loss = losses.from_config(EFV | {"intensive_ener_virial": intensive})
    prediction, label, natoms = two_frames()
    want = graded(loss, prediction, label, natoms=natoms)
    more = {"energy": 2, "force": 4, "virial": 2}
    got = graded(
        loss,
        padded(prediction, more, fill),
        padded(label, more, -fill),
        natoms=np.array([3, 5, 0, 0]),
        atom_weight=jnp.arange(12) < 8,
        frame_weight=jnp.array([1.0, 1.0, 0.0, 0.0]),
    )
    check_same(got, want)


def test_nothing_but_padding_is_zero_and_not_nan():
    loss = losses.from_config(EFV)
    prediction, label, natoms = two_frames()
    nothing = {"atom_weight": jnp.zeros(8), "frame_weight": jnp.zeros(2)}
    fn = lambda p: loss(p, label, natoms=natoms, learning_rate=1e-3, find={}, **nothing)[0]  # noqa: E731
    value, gradient = jax.value_and_grad(fn)(prediction)
    assert value == 0.0
    assert all(np.all(slope == 0.0) for slope in gradient.values())


@pytest.mark.parametrize(("intensive", "power"), [(False, 1), (True, 2)])
def test_each_frame_is_divided_by_its_own_number_of_atoms(intensive, power):
    loss = losses.from_config(EFV | {"intensive_ener_virial": intensive})
    prediction, label, natoms = two_frames()
    value, metrics = loss(prediction, label, natoms=natoms, learning_rate=0.0, find={})
    error = {k: prediction[k] - label[k] for k in label}
    energy, virial = (np.mean(error[k] ** 2 / natoms[:, None] ** power) for k in ("energy", "virial"))
    np.testing.assert_allclose(value, 1.0 * energy + 1.0 * np.mean(error["force"] ** 2) + 2.0 * virial, rtol=1e-13)
    np.testing.assert_allclose(metrics["rmse_e"], np.sqrt(np.mean((error["energy"][:, 0] / natoms) ** 2)), rtol=1e-13)
    np.testing.assert_allclose(metrics["rmse"], np.sqrt(value), rtol=1e-13)


def test_flat_and_per_frame_forces_agree():
    loss = losses.from_config({"type": "ener"})
    prediction, label, _ = two_frames()
    flat = loss(prediction, label, natoms=4, learning_rate=1e-3, find={})[0]
    stacked = ({k: v.reshape(2, 4, 3) if k == "force" else v for k, v in x.items()} for x in (prediction, label))
    np.testing.assert_allclose(loss(*stacked, natoms=4, learning_rate=1e-3, find={})[0], flat, rtol=1e-14)


@pytest.mark.parametrize("missing", ["energy", "force", "virial"])
def test_a_missing_label_counts_for_nothing_whatever_stands_in_its_place(missing):
    loss = losses.from_config(EFV)
    prediction, label, natoms = two_frames()
    letter = missing[0]
    rest = losses.from_config(EFV | {f"start_pref_{letter}": 0, f"limit_pref_{letter}": 0})
    want = rest(prediction, label, natoms=natoms, learning_rate=1e-4, find={})[0]
    for stand_in in ({missing: np.full_like(label[missing], np.nan)}, None):
        given = {k: v for k, v in label.items() if k != missing} | (stand_in or {})
        fn = lambda p, given=given: loss(p, given, natoms=natoms, learning_rate=1e-4, find={missing: 0.0})  # noqa: E731
        (value, metrics), gradient = jax.value_and_grad(fn, has_aux=True)(prediction)
        np.testing.assert_allclose(value, want, rtol=1e-14)
        assert np.isnan(metrics[f"rmse_{letter}"]) and np.isfinite(metrics["rmse"])
        assert np.all(gradient[missing] == 0.0)


def test_single_precision_predictions_are_compared_in_double():
    loss = losses.from_config({"type": "ener"})
    label = {"energy": np.array([[-1e4]]), "force": np.zeros((3, 3))}
    prediction = {"energy": np.array([[-1e4 + 1e-6]]), "force": np.full((3, 3), 0.1, np.float32)}
    value, metrics = loss(prediction, label, natoms=3, learning_rate=1e-3, find={})
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(metrics["rmse_f"], np.float64(np.float32(0.1)), rtol=1e-14)


def test_what_a_loss_needs_and_prints():
    loss = losses.from_config({"type": "ener"})
    assert loss.labels == ("energy", "force") and loss.metrics == ("rmse", "rmse_e", "rmse_f")
    assert losses.required_labels(EFV) == {"energy", "force", "virial"}
    assert losses.required_labels({"start_pref_e": 1, "limit_pref_e": 0}) == {"force"}


def test_facts_about_the_model_are_not_needed():
    prediction, label, natoms = two_frames()
    plain, told = losses.from_config({"type": "ener"}), losses.from_config({"type": "ener"}, numb_dos=3)
    want = plain(prediction, label, natoms=natoms, learning_rate=1e-3, find={})[0]
    assert told(prediction, label, natoms=natoms, learning_rate=1e-3, find={}, intensive=True)[0] == want
    assert told.predictions == told.labels and told.optional_labels == {}


def test_one_program_for_all_rates_and_flags():
    loss = losses.from_config(EFV)
    prediction, label, natoms = two_frames()
    step = jax.jit(lambda rate, find: loss(prediction, label, natoms=natoms, learning_rate=rate, find=find)[0])
    for rate, flag in ((1e-3, 1.0), (1e-5, 0.0)):
        step(rate, {"energy": flag, "force": 1.0, "virial": flag})
    assert step._cache_size() == 1


def test_a_prediction_the_loss_needs_must_be_there():
    prediction, label, natoms = two_frames()
    del prediction["virial"]
    with pytest.raises(ModelError, match="virial term, but the model predicts only: energy, force"):
        losses.from_config(EFV)(prediction, label, natoms=natoms, learning_rate=1e-3, find={})


@pytest.mark.parametrize(
    "section",
    [
        {"loss_func": "mae"},
        {"use_huber": True},
        {"relative_f": 0.5},
        {"start_pref_ae": 1.0, "limit_pref_ae": 1.0},
        {"start_pref_pf": 1.0},
        {"start_pref_gf": 1.0, "numb_generalized_coord": 2},
        {"start_pref_h": 1.0},
        {"enable_atom_ener_coeff": True},
        {"f_use_norm": True},
        {"use_default_pf": True},
    ],
    ids=lambda section: next(iter(section)),
)
def test_what_is_not_built_is_refused(section):
    for given in (section, EnerLossConfig(**section)):
        with pytest.raises(ConfigError, match=f"loss/{next(iter(section))}.*not built yet"):
            losses.from_config(given)


def test_a_loss_without_terms_is_refused():
    off = {key: 0.0 for key in ("start_pref_e", "start_pref_f")}
    for given in (off, EnerLossConfig(**off)):
        with pytest.raises(ConfigError, match="no term is active"):
            losses.from_config(given)
