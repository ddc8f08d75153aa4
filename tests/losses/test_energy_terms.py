"""All terms of the losses of energies, in all forms: frames of different sizes, padding, both layouts, missing labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from dpjax import losses
from dpjax.errors import ModelError
from tests.losses.common import FILLS, check_same, graded, grader, padded

NATOMS = np.array([3, 5])
FRAME = np.repeat([0, 1], NATOMS)
LARGEST = 5


def prefactors(letters: str) -> dict[str, float]:
    """All terms switched on, with weights that differ."""
    return {f"{end}_pref_{x}": 1.0 + i for i, x in enumerate(letters.split()) for end in ("start", "limit")}


ALL = {"type": "ener", **prefactors("e f v ae pf gf h"), "numb_generalized_coord": 2}
SPIN = {"type": "ener_spin", **prefactors("e fr fm v ae")}
SECTIONS = {
    "squared": ALL | {"relative_f": 0.5},
    "squared, of weighted atomic energies": ALL | {"enable_atom_ener_coeff": True, "intensive_ener_virial": True},
    "absolute lengths": ALL | {"loss_func": "mae", "f_use_norm": True, "relative_f": 0.5},
    "huber": {
        "type": "ener",
        **prefactors("e f v ae"),
        "use_huber": True,
        "huber_delta": [0.2, 1.5, 0.3],
        "f_use_norm": True,
    },
    "spins, squared": SPIN,
    "spins, absolute": SPIN | {"loss_func": "mae"},
}


def two_frames(seed: int = 0) -> tuple[dict, dict, dict]:
    """Prediction and label of frames with 3 and 5 atoms on one axis; the third dict is predicted, too, but stays fixed."""
    rng = np.random.default_rng(seed)
    both = {"energy": (2, 1), "virial": (2, 9), "force": (8, 3), "force_mag": (8, 3), "hessian": (8, 9 * LARGEST)}
    prediction = {name: rng.normal(size=shape) for name, shape in (both | {"atom_energy": (8,)}).items()}
    alone = {"atom_ener": (8, 1), "atom_ener_coeff": (8, 1), "drdq": (8, 6)}
    label = {name: rng.normal(size=shape) for name, shape in (both | alone).items()}
    label["atom_pref"] = rng.uniform(0.5, 2.0, size=(8, 1))
    return prediction, label, {"mask_mag": np.array([1, 0, 1, 0, 1, 1, 0, 1.0])[:, None]}


def blank(values: dict, fill: float) -> dict:
    """Hessians with ``fill`` in the columns that the smaller frame does not have."""
    if "hessian" not in values:
        return values
    pairs = values["hessian"].copy().reshape(8, 3, LARGEST, 3)
    pairs[FRAME == 0, :, NATOMS[0] :] = fill
    return values | {"hessian": pairs.reshape(8, -1)}


def rectangular(values: dict, fill: float) -> dict:
    """The same in arrays with an axis of frames, each filled up to the largest."""
    real = np.arange(LARGEST)[None, :] < NATOMS[:, None]
    made = {}
    for name, flat in values.items():
        if len(flat) == 2:
            made[name] = flat
            continue
        made[name] = np.full((2, LARGEST, *(flat.shape[1:] or (1,))), fill)
        made[name][real] = flat.reshape(8, *made[name].shape[2:])
    if "hessian" in made:
        made["hessian"] = made["hessian"].reshape(2, -1)
    return made


def used(loss, prediction: dict) -> dict:
    """What is differentiated: the loss must not touch the rest."""
    return {name: prediction[name] for name in loss.predictions if name != "mask_mag"}


@dataclass(frozen=True)
class Kind:
    """A loss, its compiled value and gradient of the two frames, and these of the batch as it is drawn."""

    loss: losses.Loss
    run: Callable[..., tuple]
    prediction: dict
    label: dict
    fixed: dict
    want: tuple


@pytest.fixture(params=SECTIONS, scope="module")
def kind(request) -> Kind:
    loss = losses.from_config(SECTIONS[request.param])
    prediction, label, fixed = two_frames()
    run = grader(loss, natoms=NATOMS, frame=FRAME)
    prediction = used(loss, prediction)
    return Kind(loss, run, prediction, label, fixed, run(prediction, label, fixed))


def test_padding_is_invisible(kind):
    run = grader(
        kind.loss,
        natoms=np.array([3, 5, 0, 0]),
        frame=np.append(FRAME, [0, 2, 3, 7]),
        atom_weight=np.arange(12) < 8,
        frame_weight=np.array([1.0, 1.0, 0.0, 0.0]),
    )
    for fill in FILLS:
        rows = [blank(kind.prediction, fill), blank(kind.label, fill), kind.fixed]
        rows = [padded(x, {k: 2 if len(v) == 2 else 4 for k, v in x.items()}, -fill) for x in rows]
        check_same(run(*rows), kind.want)


def test_both_layouts_agree(kind):
    value, metrics, slope = kind.want
    real = np.arange(LARGEST)[None, :] < NATOMS[:, None]
    filled = [rectangular(blank(x, np.nan), np.nan) for x in (kind.prediction, kind.label, kind.fixed)]
    got = graded(kind.loss, *filled, natoms=NATOMS, atom_weight=real)
    np.testing.assert_allclose(got[0], value, rtol=1e-13)
    assert np.isfinite(value) and set(got[1]) == set(metrics)
    for key, want in metrics.items():
        np.testing.assert_allclose(got[1][key], want, rtol=1e-13, err_msg=key)
    for key, want in rectangular(slope, 0.0).items():
        assert np.any(want), key
        np.testing.assert_allclose(got[2][key], want, rtol=1e-13, atol=1e-13, err_msg=key)


def test_perfect_predictions_have_no_slope(kind):
    prediction = two_frames()[0]
    label = kind.label | {key: prediction[key] for key in prediction if key in kind.label}
    label |= {"atom_ener": prediction["atom_energy"][:, None], "atom_ener_coeff": np.ones((8, 1))}
    sums = [prediction["atom_energy"][FRAME == f].sum() for f in (0, 1)]
    prediction["energy"] = label["energy"] = np.array(sums)[:, None]
    value, _, slope = kind.run(used(kind.loss, prediction), label, kind.fixed)
    assert abs(value) < 1e-12
    for key, given in slope.items():
        np.testing.assert_allclose(given, 0.0, atol=1e-12, err_msg=key)


LETTERS = {"ener": "e f v ae pf gf h", "ener_spin": "e fr fm v ae"}


def alone(kind: str, letter: str, changes: dict | None = None, **options) -> tuple[float, float]:
    """Value and printed metric of one term without the others, of the batch of two frames with ``changes`` in its label."""
    off = dict.fromkeys(prefactors(LETTERS[kind]), 0.0)
    if letter == "gf":
        options["numb_generalized_coord"] = 2
    section = {"type": kind, **off, f"start_pref_{letter}": 1.0, f"limit_pref_{letter}": 1.0, **options}
    loss = losses.from_config(section)
    prediction, label, fixed = two_frames()
    label = {name: value for name, value in (label | (changes or {})).items() if value is not None}
    kwargs = {"natoms": NATOMS, "frame": FRAME, "learning_rate": 1e-3, "find": {}}
    value, metrics = loss(prediction | fixed, label, **kwargs)
    (printed,) = (key for key in loss.metrics if key != "rmse")
    np.testing.assert_allclose(metrics["rmse"], np.sqrt(value), rtol=1e-14)
    return float(value), float(metrics[printed])


def errors() -> dict[str, np.ndarray]:
    """Errors of everything that is compared as it is."""
    prediction, label, _ = two_frames()
    found = {name: prediction[name] - label[name] for name in ("energy", "virial", "force", "force_mag", "hessian")}
    return found | {"atom_ener": prediction["atom_energy"][:, None] - label["atom_ener"]}


def huber(error: np.ndarray, delta: float) -> float:
    size = np.abs(error)
    return np.mean(np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)))


def rms(error: np.ndarray) -> float:
    return np.sqrt(np.mean(error**2))


@pytest.mark.parametrize(("letter", "name"), [("e", "energy"), ("v", "virial")])
def test_each_frame_is_divided_by_its_own_number_of_atoms(letter, name):
    each = errors()[name] / NATOMS[:, None]
    np.testing.assert_allclose(alone("ener", letter, loss_func="mae"), [np.mean(np.abs(each))] * 2, rtol=1e-13)
    np.testing.assert_allclose(
        alone("ener", letter, use_huber=True, huber_delta=0.2), [huber(each, 0.2), rms(each)], rtol=1e-13
    )


def test_force_errors_in_all_forms():
    error, label = errors()["force"], two_frames()[1]["force"]
    lengths = np.linalg.norm(error, axis=1)
    relative = error / (np.linalg.norm(label, axis=1)[:, None] + 0.5)
    want = {
        (): (np.mean(error**2), rms(error)),
        (("relative_f", 0.5),): (np.mean(relative**2), rms(relative)),
        (("loss_func", "mae"),): [np.mean(np.abs(error))] * 2,
        (("loss_func", "mae"), ("relative_f", 0.5)): [np.mean(np.abs(error))] * 2,
        (("loss_func", "mae"), ("f_use_norm", True)): [np.mean(lengths)] * 2,
        (("use_huber", True), ("huber_delta", 0.9)): (huber(error, 0.9), rms(error)),
        (("use_huber", True), ("huber_delta", (9.0, 1.5, 9.0)), ("f_use_norm", True)): (
            huber(lengths, 1.5),
            rms(error),
        ),
    }
    for options, expected in want.items():
        np.testing.assert_allclose(alone("ener", "f", **dict(options)), expected, rtol=1e-13)


def test_weighted_forces():
    error, weight = errors()["force"], two_frames()[1]["atom_pref"]
    square, size = np.mean(weight * error**2), np.mean(weight * np.abs(error))
    np.testing.assert_allclose(alone("ener", "pf"), (square, np.sqrt(square)), rtol=1e-13)
    np.testing.assert_allclose(alone("ener", "pf", loss_func="mae"), (size, size), rtol=1e-13)
    columns = {"atom_pref": np.repeat(weight, 3, axis=1)}
    np.testing.assert_allclose(alone("ener", "pf", columns), (square, np.sqrt(square)), rtol=1e-13)
    without = alone("ener", "pf", {"atom_pref": None})
    assert without[0] == 0.0 and np.isnan(without[1])
    filled = alone("ener", "pf", {"atom_pref": None}, use_default_pf=True)
    np.testing.assert_allclose(filled, (np.mean(error**2), rms(error)), rtol=1e-13)


def test_generalized_forces_and_hessians_of_frames_of_different_sizes():
    error, drdq = errors()["force"], two_frames()[1]["drdq"].reshape(8, 3, 2)
    along = [np.einsum("naj,na->j", drdq[FRAME == f], error[FRAME == f]) for f in (0, 1)]
    for form in ("mse", "mae"):  # both have one form
        square = np.mean(np.square(along))
        np.testing.assert_allclose(alone("ener", "gf", loss_func=form), (square, np.sqrt(square)), rtol=1e-13)
    pairs = errors()["hessian"].reshape(8, 3, LARGEST, 3)
    own = np.concatenate([pairs[FRAME == f, :, : NATOMS[f]].ravel() for f in (0, 1)])
    assert own.size == np.sum((3 * NATOMS) ** 2)
    np.testing.assert_allclose(alone("ener", "h"), (np.mean(own**2), rms(own)), rtol=1e-13)


def test_atomic_energies_and_their_weighted_sum():
    prediction, label, _ = two_frames()
    error = errors()["atom_ener"]
    np.testing.assert_allclose(alone("ener", "ae", loss_func="mae"), [np.mean(np.abs(error))] * 2, rtol=1e-13)
    want = huber(error, 0.2), rms(error)  # with the threshold of energies
    np.testing.assert_allclose(alone("ener", "ae", use_huber=True, huber_delta=(0.2, 9.0, 9.0)), want, rtol=1e-13)
    for coefficients in (label["atom_ener_coeff"], None):
        each = prediction["atom_energy"] * (1.0 if coefficients is None else coefficients[:, 0])
        total = np.array([each[FRAME == 0].sum(), each[FRAME == 1].sum()]) - label["energy"][:, 0]
        got = alone("ener", "e", {"atom_ener_coeff": coefficients}, enable_atom_ener_coeff=True)
        np.testing.assert_allclose(got, (np.mean(total**2 / NATOMS), rms(total / NATOMS)), rtol=1e-13)


def test_absolute_errors_of_spin_models_are_summed_over_frames():
    error, flagged = errors(), two_frames()[2]["mask_mag"][:, 0] > 0
    energy = np.abs(error["energy"])
    np.testing.assert_allclose(alone("ener_spin", "e", loss_func="mae"), (energy.sum(), energy.mean()), rtol=1e-13)
    for letter, name, chosen in (("fr", "force", flagged | True), ("fm", "force_mag", flagged)):
        size = np.abs(error[name])
        total = sum(size[chosen & (FRAME == f)].sum(axis=1).mean() for f in (0, 1))
        got = alone("ener_spin", letter, loss_func="mae")
        np.testing.assert_allclose(got, (total, size[chosen].mean()), rtol=1e-13)
    square = error["force_mag"][flagged] ** 2
    np.testing.assert_allclose(alone("ener_spin", "fm"), (square.mean(), np.sqrt(square.mean())), rtol=1e-13)


@pytest.mark.parametrize("name", ["squared", "spins, absolute"])
def test_a_missing_label_silences_its_terms(name):
    loss = losses.from_config(SECTIONS[name])
    prediction, label, fixed = two_frames()
    prediction = used(loss, prediction)
    find = dict.fromkeys(loss.labels, 1.0)
    run = grader(
        lambda p, given, **kwargs: loss(
            p, given["label"], find=given["find"], natoms=NATOMS, frame=FRAME, learning_rate=1e-3
        )
    )
    whole = run(prediction, {"label": label, "find": find}, fixed)
    needs = {term.printed[0]: term.labels for term in loss.terms}
    for lost in loss.labels:
        given = {"label": label | {lost: np.full_like(label[lost], np.nan)}, "find": find | {lost: 0.0}}
        value, metrics, slope = run(prediction, given, fixed)
        assert 0.0 < value < whole[0] and all(np.all(np.isfinite(x)) for x in slope.values())
        for key, labels in needs.items():
            np.testing.assert_allclose(metrics[key], np.nan if lost in labels else whole[1][key], rtol=1e-14)
    none = {"label": {k: np.full_like(v, np.nan) for k, v in label.items()}, "find": dict.fromkeys(find, 0.0)}
    value, _, slope = run(prediction, none, fixed)
    assert value == 0.0 and not any(np.any(x) for x in slope.values())


def test_without_magnetic_atoms_their_term_is_silent():
    loss = losses.from_config(SPIN)
    prediction, label, _ = two_frames()
    none = {"mask_mag": np.zeros((8, 1), bool)}
    value, metrics, slope = graded(loss, used(loss, prediction), label, none, natoms=NATOMS, frame=FRAME)
    assert np.isfinite(value) and np.isnan(metrics["rmse_fm"]) and np.isfinite(metrics["rmse_fr"])
    assert not np.any(slope["force_mag"]) and np.all(np.isfinite(slope["force"]))


def test_what_the_losses_need_and_print():
    loss = losses.from_config(ALL)
    assert loss.labels == ("energy", "force", "virial", "atom_ener", "atom_pref", "drdq", "hessian")
    assert loss.predictions == ("energy", "force", "virial", "atom_energy", "hessian")
    assert loss.metrics == tuple(sorted(["rmse", *(f"rmse_{x}" for x in LETTERS["ener"].split())]))
    assert loss.numb_generalized_coord == 2 and loss.optional_labels == {}
    absolute = losses.from_config(ALL | {"loss_func": "mae"}).metrics
    assert absolute == ("mae_ae", "mae_e", "mae_f", "mae_pf", "mae_v", "rmse", "rmse_gf", "rmse_h")


def test_labels_that_not_all_data_need_to_have():
    loss = losses.from_config(ALL | {"use_default_pf": True, "enable_atom_ener_coeff": True})
    assert loss.optional_labels == {"atom_ener_coeff": 1.0, "atom_pref": 1.0} and "atom_pref" not in loss.labels
    assert loss.predictions == ("atom_energy", "force", "virial", "hessian")
    pf = {"start_pref_e": 0, "start_pref_f": 0, "start_pref_pf": 1, "limit_pref_pf": 1}
    assert losses.required_labels(pf) == {"force", "atom_pref"}
    assert losses.required_labels(pf | {"use_default_pf": True}) == {"force"}


def test_what_the_loss_of_spin_models_needs_and_prints():
    loss = losses.from_config({"type": "ener_spin"})
    assert loss.labels == ("energy", "force", "force_mag") and loss.optional_labels == {}
    assert loss.predictions == ("energy", "force", "force_mag", "mask_mag")
    assert loss.metrics == ("rmse", "rmse_e", "rmse_fm", "rmse_fr")
    assert losses.from_config(SPIN | {"loss_func": "mae"}).metrics == (
        "mae_ae",
        "mae_e",
        "mae_fm",
        "mae_fr",
        "mae_v",
        "rmse",
    )


@pytest.mark.parametrize(
    ("letter", "changes", "text"),
    [
        (
            "pf",
            {"atom_pref": np.ones((8, 2))},
            r"label atom_pref has the shape \(8, 2\); it needs 1 or 3 numbers for each of 8 atoms",
        ),
        ("gf", {"drdq": np.ones((8, 9))}, r"label drdq has the shape \(8, 9\); it needs 6 numbers"),
        ("h", {"hessian": np.ones((8, 27))}, "the label hessian has the shape"),
        ("v", {"virial": np.ones((2, 6))}, "the label virial has the shape"),
    ],
)
def test_labels_of_another_shape_are_refused(letter, changes, text):
    with pytest.raises(ModelError, match=text):
        alone("ener", letter, changes)


@pytest.mark.parametrize("shape", [(8, 40), (6, 45), (2, 50), (2, 4)])
def test_hessians_of_another_shape_are_refused(shape):
    loss = losses.from_config({"start_pref_e": 0, "start_pref_f": 0, "start_pref_h": 1, "limit_pref_h": 1})
    kwargs = {"natoms": NATOMS, "learning_rate": 1e-3, "find": {}} | ({} if shape[0] == 2 else {"frame": FRAME})
    with pytest.raises(ModelError, match=f"the prediction hessian has {shape[0]} rows of {shape[1]} numbers"):
        loss({"hessian": np.ones(shape)}, {"hessian": np.ones(shape)}, **kwargs)


@pytest.mark.parametrize(
    "section", [{"start_pref_gf": 1, "limit_pref_gf": 1, "numb_generalized_coord": 2}, SPIN | {"loss_func": "mae"}]
)
def test_sums_over_the_atoms_of_a_frame_need_to_know_it(section):
    prediction, label, fixed = two_frames()
    loss = losses.from_config(section)
    for kwargs in ({"natoms": NATOMS}, {"natoms": 4, "frame": FRAME}):
        with pytest.raises(ModelError, match=r"the prediction force has the shape \(8, 3\).*Give the loss frame="):
            loss(prediction | fixed, label, learning_rate=1e-3, find={}, **kwargs)
