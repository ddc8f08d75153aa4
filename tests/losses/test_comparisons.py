"""Losses of quantities of atoms and frames, densities of states and tensors: DeePMD-kit's numbers, masks, padding, flags."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax import losses
from dpjax.config.losses import DosLossConfig, TensorLossConfig
from dpjax.errors import ConfigError, ModelError
from tests.losses.common import FILLS, cases, check_case, check_same, graded, grader, padded

ALL_DOS = {"type": "dos"} | {
    f"{end}_pref_{x}": value
    for x, start, limit in (("dos", 2.0, 1.0), ("cdf", 5.0, 0.5), ("ados", 1.0, 3.0), ("acdf", 0.2, 0.4))
    for end, value in (("start", start), ("limit", limit))
}
DIPOLE = {"tensor_name": "dipole", "label_name": "dipole", "tensor_size": 3}
POLAR = {"tensor_name": "polar", "label_name": "polarizability", "tensor_size": 9}


@dataclass(frozen=True)
class Kind:
    """A loss and the names and shapes of what it compares."""

    section: dict
    facts: dict
    atomic: str  # prediction
    total: str
    atom_label: str
    label: str
    shape: tuple[int, ...]

    @property
    def loss(self):
        return losses.from_config(self.section, **self.facts)

    def drawn(self, atoms: tuple[int, ...], frames: int, seed: int = 0) -> tuple[dict, dict]:
        """Random prediction and label; labels have one axis of components."""
        rng = np.random.default_rng(seed)
        rows = {self.atomic: atoms, self.total: (frames,)}
        prediction = {name: rng.normal(size=(*leading, *self.shape)) for name, leading in rows.items()}
        rows = {self.atom_label: atoms, self.label: (frames,)}
        size = int(np.prod(self.shape))
        return prediction, {name: rng.normal(size=(*leading, size)) for name, leading in rows.items()}

    def ragged(self) -> tuple[dict, dict, dict]:
        """Frames with 3 and 5 atoms on one axis, two of which do not count; the third dict is what stays fixed."""
        mask = np.array([1, 0, 1, 1, 1, 1, 0, 1.0])
        return *self.drawn((8,), 2), {"mask": mask, "counted": np.array([2, 4])}


TENSOR = {"type": "tensor", "pref": 1.5, "pref_atomic": 2.0}
KINDS = {
    "dos": Kind(ALL_DOS, {"numb_dos": 6}, "atom_dos", "dos", "atom_dos", "dos", (6,)),
    "dipole": Kind(TENSOR, DIPOLE, "dipole", "global_dipole", "atom_dipole", "dipole", (3,)),
    "polar": Kind(TENSOR, POLAR, "polar", "global_polar", "atom_polarizability", "polarizability", (3, 3)),
}
NATOMS = np.array([3, 5])


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in ("dos", "tensor") for case in cases(name)],
    ids=lambda x: x["case"] if isinstance(x, dict) else x,
)
def test_values_metrics_and_gradients_of_the_reference(name, case):
    check_case(name, case)


def test_padding_and_atoms_that_do_not_count_are_invisible(kind):
    prediction, label, fixed = kind.ragged()
    want = graded(kind.loss, prediction, label, fixed, natoms=NATOMS)
    more = {"mask": np.append(fixed["mask"], [1.0, 0, 0, 1]), "counted": np.append(fixed["counted"], [0, 7])}
    run = grader(
        kind.loss,
        natoms=np.array([3, 5, 0, 0]),
        atom_weight=jnp.arange(12) < 8,
        frame_weight=jnp.array([1.0, 1.0, 0.0, 0.0]),
    )
    for fill in FILLS:
        for values, name in ((prediction, kind.atomic), (label, kind.atom_label)):
            values[name][fixed["mask"] == 0.0] = fill
        ours = padded(prediction, {kind.atomic: 4, kind.total: 2}, fill)
        theirs = padded(label, {kind.atom_label: 4, kind.label: 2}, -fill)
        check_same(run(ours, theirs, more), want)


def test_nothing_but_padding_is_zero_and_not_nan(kind):
    prediction, label, fixed = kind.ragged()
    nothing = {"atom_weight": jnp.zeros(8), "frame_weight": jnp.zeros(2)}
    none = {"mask": np.zeros(8), "counted": np.zeros(2)}
    for stay, weights in ((fixed, nothing), (none, {})):
        value, metrics, gradient = graded(kind.loss, prediction, label, stay, natoms=NATOMS, **weights)
        assert value == 0.0 and all(metric == 0.0 for metric in metrics.values())
        assert all(np.all(slope == 0.0) for slope in gradient.values())


def test_terms_of_frames_of_different_sizes(kind):
    prediction, label, fixed = kind.ragged()
    _, metrics = kind.loss(prediction | fixed, label, natoms=NATOMS, learning_rate=1e-3, find={})
    count = fixed["counted"]
    atoms = (prediction[kind.atomic].reshape(8, -1) - label[kind.atom_label])[fixed["mask"] > 0]
    frames = prediction[kind.total].reshape(2, -1) - label[kind.label]
    want = {"": (atoms, frames)}
    if kind is KINDS["dos"]:
        want = {"dos": (atoms, frames), "cdf": (np.cumsum(atoms, 1), np.cumsum(frames, 1))}
    for name, (atom_error, frame_error) in want.items():
        name = name or kind.facts["tensor_name"]
        total = np.average(np.mean(frame_error**2, 1), weights=count)
        np.testing.assert_allclose(metrics[f"l2_local_{name}_loss"], np.mean(atom_error**2), rtol=1e-12)
        np.testing.assert_allclose(metrics[f"rmse_local_{name}"], np.sqrt(np.mean(atom_error**2)), rtol=1e-12)
        np.testing.assert_allclose(metrics[f"l2_global_{name}_loss"], total, rtol=1e-12)
        np.testing.assert_allclose(metrics[f"rmse_global_{name}"], np.sqrt(total) / np.mean(count), rtol=1e-12)


def test_flat_and_rectangular_batches_agree(kind):
    prediction, label = kind.drawn((2, 4), 2)
    mask = np.array([[1, 1, 0, 1], [1, 1, 1, 1.0]])
    want = graded(kind.loss, prediction, label, {"mask": mask}, natoms=4)
    flat = [dict(prediction), dict(label)]
    for values, name in zip(flat, (kind.atomic, kind.atom_label), strict=True):
        values[name] = values[name].reshape(8, *values[name].shape[2:])
    got = graded(kind.loss, *flat, {"mask": mask.reshape(8), "counted": np.array([3, 4])}, natoms=4)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-14)
    for name in want[1]:
        np.testing.assert_allclose(got[1][name], want[1][name], rtol=1e-14)
    for name, slope in want[2].items():
        np.testing.assert_allclose(got[2][name].reshape(slope.shape), slope, rtol=1e-13)
    assert np.all(want[2][kind.atomic][0, 2] == 0.0)


def test_how_many_atoms_count(kind):
    prediction, label = kind.drawn((2, 4), 2)
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 0.0]])
    name = next(x for x in kind.loss.metrics if "global" in x)
    rmse = lambda fixed: kind.loss(  # noqa: E731
        prediction | fixed, label, natoms=np.array([4, 4]), learning_rate=1e-3, find={}
    )[1][name]
    squares = rmse({"counted": np.array([3, 1])}) * 2  # mean number: 2
    np.testing.assert_allclose(rmse({"mask": mask}) * 2, squares, rtol=1e-14)
    np.testing.assert_allclose(rmse({"mask": mask, "counted": np.array([9, 3])}) * 6, squares, rtol=1e-14)
    np.testing.assert_allclose(rmse({}), rmse({"mask": np.ones((2, 4))}), rtol=1e-14)


@pytest.mark.parametrize("atomic", [True, False])
def test_a_missing_label_counts_for_nothing_whatever_stands_in_its_place(kind, atomic):
    prediction, label, fixed = kind.ragged()
    missing, silent = (kind.atom_label, kind.atomic) if atomic else (kind.label, kind.total)
    other = kind.label if atomic else kind.atom_label
    whole = kind.loss(prediction | fixed, label, natoms=NATOMS, learning_rate=1e-3, find={})[1]
    for stand_in in ({missing: np.full_like(label[missing], np.nan)}, {}):
        given = {other: label[other]} | stand_in
        value, metrics, gradient = graded(kind.loss, prediction, given, fixed, natoms=NATOMS, find={missing: 0.0})
        assert np.isfinite(value) and value > 0.0
        for name, metric in metrics.items():
            here = ("local" in name) == atomic
            np.testing.assert_allclose(metric, np.nan if here else whole[name], rtol=1e-14)
        assert np.all(gradient[silent] == 0.0)


def test_single_precision_predictions_are_compared_in_double(kind):
    prediction = {kind.atomic: np.full((4, *kind.shape), 0.1, np.float32), kind.total: np.zeros((1, *kind.shape))}
    size = int(np.prod(kind.shape))
    label = {kind.atom_label: np.zeros((4, size)), kind.label: np.zeros((1, size))}
    value, metrics = kind.loss(prediction, label, natoms=4, learning_rate=1e-3, find={})
    name = next(x for x in kind.loss.metrics if "local" in x and "cdf" not in x)
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(metrics[name], np.float64(np.float32(0.1)), rtol=1e-14)


def test_one_program_for_all_rates_and_flags(kind):
    prediction, label, fixed = kind.ragged()
    loss = kind.loss
    step = jax.jit(lambda rate, find: loss(prediction | fixed, label, natoms=NATOMS, learning_rate=rate, find=find)[0])
    values = [step(rate, {kind.label: flag, kind.atom_label: 1.0}) for rate, flag in ((1e-3, 1.0), (1e-5, 0.0))]
    assert step._cache_size() == 1
    assert values[0] != values[1]


def test_rate_moves_the_prefactors_of_dos_only():
    for kind in KINDS.values():
        prediction, label, fixed = kind.ragged()
        values = [
            kind.loss(prediction | fixed, label, natoms=NATOMS, learning_rate=rate, find={})[0] for rate in (1e-3, 1e-5)
        ]
        assert (values[0] == values[1]) == (kind.section["type"] == "tensor")


def test_what_a_loss_needs_and_prints(kind):
    assert set(kind.loss.labels) == {kind.label, kind.atom_label}
    assert set(kind.loss.predictions) == {kind.total, kind.atomic}
    assert losses.required_labels(kind.section, **kind.facts) == {kind.label, kind.atom_label}
    assert kind.loss.optional_labels == {}


def test_only_active_terms_are_asked_for():
    assert losses.required_labels({"type": "dos"}) == {"atom_dos"}
    assert losses.from_config({"type": "dos"}).metrics == ("rmse_local_dos",)
    loss = losses.from_config({"type": "tensor", "pref": 1, "pref_atomic": 0}, **POLAR)
    assert (loss.labels, loss.predictions) == (("polarizability",), ("global_polar",))
    assert loss.metrics == ("rmse_global_polar",)


def test_facts_at_the_call_are_enough_and_come_first(kind):
    prediction, label, fixed = kind.ragged()
    want = kind.loss(prediction | fixed, label, natoms=NATOMS, learning_rate=1e-3, find={})[0]
    others = {"unknown": 1, "intensive": True}
    for facts in ({}, {"tensor_name": "wrong", "tensor_size": 7}):
        loss = losses.from_config(kind.section, **facts, **others)
        got = loss(prediction | fixed, label, natoms=NATOMS, learning_rate=1e-3, find={}, **kind.facts, **others)[0]
        assert got == want


@pytest.mark.parametrize("lost", DIPOLE)
def test_a_tensor_loss_says_which_fact_it_lacks(lost):
    kind = KINDS["dipole"]
    prediction, label, _ = kind.ragged()
    loss = losses.from_config(TENSOR, **{k: v for k, v in DIPOLE.items() if k != lost})
    with pytest.raises(ModelError, match=f"tensor loss needs {lost} of its model.*from_config"):
        loss(prediction, label, natoms=NATOMS, learning_rate=1e-3, find={})
    if lost != "tensor_size":
        with pytest.raises(ModelError, match=lost):
            losses.required_labels(TENSOR, **{k: v for k, v in DIPOLE.items() if k != lost})


def test_a_prediction_the_loss_needs_must_be_there(kind):
    prediction, label, _ = kind.ragged()
    del prediction[kind.total]
    with pytest.raises(ModelError, match=f"{kind.total} term, but the model predicts only: {kind.atomic}"):
        kind.loss(prediction, label, natoms=NATOMS, learning_rate=1e-3, find={})


def test_labels_of_another_shape_are_refused(kind):
    prediction, label, _ = kind.ragged()
    label[kind.label] = label[kind.label][:, :-1]
    with pytest.raises(ModelError, match=rf"the label {kind.label} has the shape"):
        kind.loss(prediction, label, natoms=NATOMS, learning_rate=1e-3, find={})


def weighted(**more) -> losses.TensorLoss:
    return losses.from_config(TENSOR | {"enable_atomic_weight": True, "pref": 0} | more, **DIPOLE)


def test_atomic_weights_multiply_the_errors():
    prediction, label, fixed = KINDS["dipole"].ragged()
    weight = np.array([0.0, np.nan, 2.0, 1, 0.5, 3, np.inf, 1])[
        :, None
    ]  # those of atoms that do not count do not matter
    error = (weight * (prediction["dipole"] - label["atom_dipole"]))[fixed["mask"] > 0]
    for find in ({}, {"atom_weight": 0.0}):
        got = graded(weighted(), prediction, label | {"atom_weight": weight}, fixed, natoms=NATOMS, find=find)
        np.testing.assert_allclose(got[0], 2.0 * np.mean(error**2), rtol=1e-13)
        np.testing.assert_allclose(got[1]["rmse_local_dipole"], np.sqrt(np.mean(error**2)), rtol=1e-13)
        assert np.all(np.isfinite(got[2]["dipole"])) and np.any(got[2]["dipole"][2])
    flat = graded(weighted(), prediction, label | {"atom_weight": weight[:, 0]}, fixed, natoms=NATOMS)
    check_same(flat, got)


def test_atomic_weights_are_one_where_they_are_absent_or_not_asked_for():
    kind = KINDS["dipole"]
    prediction, label, fixed = kind.ragged()
    want = graded(kind.loss, prediction, label, fixed, natoms=NATOMS)
    check_same(graded(weighted(pref=1.5), prediction, label, fixed, natoms=NATOMS), want)
    extra = label | {"atom_weight": np.full((8, 1), 7.0)}
    check_same(graded(kind.loss, prediction, extra, fixed, natoms=NATOMS), want)
    assert weighted().optional_labels == {"atom_weight": 1.0} and weighted().labels == ("atom_dipole",)


def test_a_loss_without_terms_is_refused():
    off = {"start_pref_ados": 0.0}
    for given in (off | {"type": "dos"}, DosLossConfig(**off), TensorLossConfig(pref=0, pref_atomic=0)):
        with pytest.raises(ConfigError, match="no term is active"):
            losses.from_config(given)
