"""The losses of energies: what padding may not do, what switches a term off, and DeePMD-kit's numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import losses
from dpjax.config import EnerLossConfig
from dpjax.errors import ConfigError, ModelError
from tests.losses.common import cases, check_case

EFV = {"type": "ener", "start_pref_v": 0.01, "limit_pref_v": 2}


# a spread of terms and forms; the other stored cases are slow only because they are many
SPREAD = """
    ener_ef_default ener_efv_mse_intensive ener_efv_huber_list ener_efv_huber_norm ener_huber_mae ener_relative_f_mae
    ener_atom_ener_coeff ener_ae_huber ener_pf_relative ener_pf_only_mae ener_pf_use_default ener_gf_missing ener_hessian
    ener_all_missing ener_start_zero_disables ener_everything_mse spin_mse_intensive spin_ae_mae spin_no_magnetic_atom
""".split()


def stored() -> list:
    """The stored cases, each with the name of its file."""
    every = [(name, case) for name in ("ener", "ener_spin") for case in cases(name)]
    assert {case["case"] for _, case in every} >= set(SPREAD)
    return [pytest.param(*x, id=x[1]["case"], marks=() if x[1]["case"] in SPREAD else pytest.mark.slow) for x in every]


@pytest.mark.parametrize(("name", "case"), stored())
def test_values_metrics_and_gradients_of_the_reference(name, case):
    check_case(name, case)


def two_frames(seed: int = 0) -> tuple[dict, dict, np.ndarray]:
    """Prediction and label of frames with 3 and 5 atoms, flat, and the number of atoms."""
    rng = np.random.default_rng(seed)
    shapes = {"energy": (2, 1), "force": (8, 3), "virial": (2, 9)}
    prediction, label = ({name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(2))
    return prediction, label, np.array([3, 5])


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
    ("section", "text"),
    [
        (
            {"use_huber": True, "start_pref_pf": 1.0, "limit_pref_pf": 1.0},
            "use_huber: found true, but start_pref_pf has no",
        ),
        ({"use_huber": True, "start_pref_h": 1, "limit_pref_h": 1}, "use_huber: found true, but start_pref_h has no"),
        (
            {"use_huber": True, "relative_f": 0.5},
            "use_huber: found true, but relative_f has no Huber form. Set use_huber",
        ),
        ({"f_use_norm": True}, "f_use_norm: found true; it needs use_huber true or loss_func mae."),
        ({"start_pref_gf": 1.0, "limit_pref_gf": 1.0}, "numb_generalized_coord: found 0, but .* Give their number"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, dict) else "",
)
def test_options_that_contradict_each_other_are_refused(section, text):
    for given in (section, EnerLossConfig(**section)):
        with pytest.raises(ConfigError, match=f"loss/{text}"):
            losses.from_config(given)


def test_a_loss_without_terms_is_refused():
    off = {key: 0.0 for key in ("start_pref_e", "start_pref_f")}
    for given in (off, EnerLossConfig(**off)):
        with pytest.raises(ConfigError, match="no term is active"):
            losses.from_config(given)
