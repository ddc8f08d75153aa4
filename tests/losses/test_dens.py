"""The loss of disturbed structures: DeePMD-kit's numbers, padding, both layouts, and which model may have it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dpjax import losses
from dpjax.config import load, load_any
from dpjax.errors import ConfigError, ModelError
from tests.config.inputs import water
from tests.losses.common import FILLS, arrays, cases, check_same, graded, padded

FACTS = {"energy_std": 2.5, "force_rmsd": 1.8}
FRAMES = ("energy",)
ATOMS = ("force", "denoising_force_norm", "noise", "noise_mask")


def disturbance(case: dict) -> dict[str, np.ndarray]:
    """What was done to the coordinates of a stored case: noise (2, 5, 3) and noise_mask (2, 5)."""
    if not case["dens"]["noisy_path_taken"]:
        return {}
    drawn = arrays("dens", case["case"], "rand")
    ratio = case["loss"].get("dens_corrupt_ratio", 0.5)
    mask = drawn["uniform_mask"] < (2.0 if ratio is None else ratio)
    return {"noise_mask": mask, "noise": drawn["normal_noise"] * case["loss"].get("dens_std", 0.025) * mask[..., None]}


@pytest.mark.parametrize("case", cases("dens"), ids=lambda case: case["case"])
def test_values_metrics_and_gradients_of_the_reference(case):
    """Of what the networks give, in units of the spread of the data; energies and forces follow from it."""
    prediction, label, slope, given = (arrays("dens", case["case"], k) for k in ("pred", "label", "dloss", "input"))
    unit, fixed = case["dens"], disturbance(case)
    bias = np.array(unit["energy_bias_per_type"])[given["atype"]].sum(1, keepdims=True)
    facts = {"energy_std": unit["energy_std"], "force_rmsd": unit["force_rmsd"]}
    loss = losses.from_config(case["loss"], case["start_lr"], **facts)

    def value(p, rate):
        energy = p["energy_norm"] * unit["energy_std"] + bias
        force = p["clean_force_norm"] * unit["force_rmsd"]
        found = {"energy": energy, "force": force, "denoising_force_norm": p["denoising_force_norm"]}
        return loss(found | fixed, label, natoms=case["natoms"], learning_rate=rate, find=case["find"])

    step = jax.jit(jax.value_and_grad(value, has_aux=True))
    networks = {name: prediction[name] for name in ("energy_norm", "clean_force_norm", "denoising_force_norm")}
    for number, want in enumerate(case["results"]):
        (got, metrics), gradient = step(networks, want["learning_rate"])
        np.testing.assert_allclose(got, want["loss"], rtol=1e-9)
        assert {name for name in metrics if name not in want["metrics"]} <= {"mae_f"}  # without atoms that it is about
        for name in metrics:
            np.testing.assert_allclose(metrics[name], want["metrics"].get(name, np.nan), rtol=1e-9)
        for name in networks if number == 0 else ():
            expected = slope.get(name, np.zeros_like(networks[name]))
            np.testing.assert_allclose(
                gradient[name], expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(expected).max())
            )


def batch() -> tuple[dict, dict]:
    """Prediction and label of two frames of 4 atoms, of which about half were displaced."""
    rng = np.random.default_rng(0)
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], bool)
    prediction = {"energy": rng.normal(size=(2, 1)), "noise_mask": mask.astype(float)}
    prediction |= {name: rng.normal(size=(2, 4, 3)) for name in ATOMS[:3]}
    return prediction, {"energy": rng.normal(size=(2, 1)), "force": rng.normal(size=(2, 4, 3))}


def flat(values: dict) -> dict:
    return {k: v if k in FRAMES else v.reshape(8, *v.shape[2:]) for k, v in values.items()}


@pytest.mark.parametrize("loss_func", ["mae", "mse"])
def test_both_layouts_and_padding_of_any_content_give_the_same(loss_func):
    loss = losses.from_config({"type": "dens", "loss_func": loss_func}, **FACTS)
    prediction, label = batch()
    square = graded(loss, prediction, label, natoms=np.array([4, 4]))
    prediction, label = flat(prediction), flat(label)
    want = graded(loss, prediction, label, natoms=np.array([4, 4]), frame=np.repeat([0, 1], 4))
    check_same((want[0], want[1], {}), (square[0], square[1], {}))
    np.testing.assert_array_equal(want[2]["force"], square[2]["force"].reshape(8, 3))
    assert np.all(np.any(want[2]["force"] != 0, 1) == (prediction["noise_mask"] == 0))
    assert np.all(np.any(want[2]["denoising_force_norm"] != 0, 1) == (prediction["noise_mask"] == 1))
    more = dict.fromkeys(FRAMES, 1) | dict.fromkeys(ATOMS, 3)
    real = {"atom_weight": np.repeat([1.0, 0.0], [8, 3]), "frame_weight": np.repeat([1.0, 0.0], [2, 1])}
    for fill in FILLS:
        given = (padded(x, more, fill) for x in (prediction, label))
        got = graded(loss, *given, natoms=np.array([4, 4, 0]), frame=np.repeat([0, 1, 2], [4, 4, 3]), **real)
        check_same(got, want)


def test_what_it_needs_and_prints():
    loss = losses.from_config({"type": "dens"})
    assert loss.labels == ("energy", "force") and loss.metrics == ("mae_e", "mae_f", "rmse")
    assert loss.predictions == ("energy", "force", "denoising_force_norm")
    without = losses.from_config({"type": "dens", "loss_func": "mse", "start_pref_f": 0})
    assert without.labels == ("energy",) and without.metrics == ("rmse", "rmse_e")  # no displacements either
    prediction, label = batch()
    rest = {"natoms": 4, "learning_rate": 1e-3, "find": {}}
    with pytest.raises(ModelError, match="dens loss needs energy_std of its model"):
        loss(prediction, label, **rest)
    with pytest.raises(ModelError, match="dens_denoising_pos_coefficient asks for a noise term"):
        loss({k: v for k, v in prediction.items() if k != "noise"}, label, **rest, **FACTS)


def test_labels_that_are_missing_count_for_nothing():
    loss = losses.from_config({"type": "dens"}, **FACTS)
    prediction, label = batch()
    value, metrics, gradient = graded(loss, prediction, label, natoms=4, find={"force": 0.0})
    energy = 0.02 * np.mean(np.abs(prediction["energy"] - label["energy"])) / 4 / FACTS["energy_std"]
    np.testing.assert_allclose(value, energy, rtol=1e-13)
    assert np.isnan(metrics["mae_f"]) and not np.any(gradient["force"]) and not np.any(gradient["denoising_force_norm"])


def test_only_a_model_that_gives_forces_directly_may_have_it():
    with pytest.raises(ConfigError, match=r"loss/type: found 'dens', .* only a model of type dpa4 gives these"):
        load(water({"loss": {"type": "dens"}}))
    both = {"model/type": "dpa4", "model/descriptor": {}, "model/fitting_net": {}, "loss": {"type": "dens"}}
    assert load(water(both)).model.direct_forces
    assert not load(water(both | {"loss": {"type": "ener"}})).model.direct_forces


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"model/descriptor": {"lmax": 0}}, "model/descriptor/lmax: found 0, but forces"),
        ({"model/bridging_method": "ZBL"}, "model/bridging_method: found 'ZBL', but the loss dens"),
        ({"model/lora": {"rank": 2}}, "model/lora: found a section, but the heads that the loss dens trains"),
        ({"loss/start_pref_f": 0}, "loss/start_pref_f: found 0, but the loss dens is about forces"),
        ({"loss/limit_pref_f": 0}, "loss/limit_pref_f: found 0, but the loss dens is about forces"),
        ({"optimizer": {"type": "LKF"}}, "loss/type: found 'dens', but optimizer LKF"),
        ({"validating": {"full_validation": True}}, "validating/full_validation: found true, but the loss is 'dens'"),
    ],
)
def test_what_it_does_not_go_with(edits, message):
    both = {"model/type": "dpa4", "model/descriptor": {}, "model/fitting_net": {}, "loss": {"type": "dens"}}
    with pytest.raises(ConfigError, match=message):
        load(water(both | edits))


def test_it_trains_one_model():
    data = water()
    branch = {"type_map": ["O", "H"], "type": "dpa4", "descriptor": {}, "fitting_net": {}}
    sides = data["training"].pop("training_data"), data["training"].pop("validation_data")
    own = dict(zip(("training_data", "validation_data"), sides, strict=True))
    data["model"] = {"model_dict": {name: branch for name in ("one", "two")}}
    data["loss_dict"] = {"one": {"type": "dens"}, "two": {"type": "ener"}}
    data["training"] |= {"data_dict": {name: own for name in ("one", "two")}, "model_prob": {"one": 1, "two": 1}}
    del data["loss"]
    with pytest.raises(ConfigError, match="loss_dict/one/type: found 'dens', which trains one model"):
        load_any(data)
