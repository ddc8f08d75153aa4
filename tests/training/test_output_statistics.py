"""Bias and spread of what a model predicts, from the labels of small systems, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.data import label_requirements, open_system
from dpjax.errors import ConfigError
from dpjax.training.preparation import output_statistics
from tests.contracts.cases import model, se_e2_a
from tests.training import tiny

KINDS = (np.array([0, 1, 1, 0, 1, 1]), np.array([1, 1, 0, 1]), np.array([0, 0, 0, 1, 1]))
COUNTS = np.repeat([np.bincount(kind, minlength=2) for kind in KINDS], 3, axis=0)  # three frames of each system
RNG = np.random.default_rng(0)
TENSOR = {"type": "polar"}


def statistics(tmp_path, fitting: dict, labels: dict[str, np.ndarray], **options) -> dict[str, np.ndarray]:
    """Of a model whose labels are (9, ...) arrays, three frames for each system; None leaves out a system's label."""
    config = parse_model(model(se_e2_a(), fitting=fitting, **options))
    output = config.fitting_net.output
    systems = []
    for i, kind in enumerate(KINDS):
        own = {name: values[3 * i : 3 * i + 3] for name, values in labels.items() if values[3 * i] is not None}
        own = {name: np.stack([np.ravel(v) for v in values]) for name, values in own.items()}
        inputs = {name: tiny.arrays(kind, 3, seed=i)[name] for name in ("coord", "box")}
        path = tiny.write(tmp_path / str(i), kind, [inputs | own])
        systems.append(open_system(path, tiny.TYPE_MAP, label_requirements(labels, output)))
    return output_statistics(config, systems)


def test_density_of_states_of_each_type(tmp_path):
    own = RNG.normal(size=(2, 4))
    labels = COUNTS @ own + 0.01 * RNG.normal(size=(9, 4))
    stats = statistics(tmp_path, {"type": "dos", "numb_dos": 4}, {"dos": list(labels)})
    bias = np.linalg.lstsq(COUNTS, labels, rcond=None)[0]
    np.testing.assert_allclose(stats["out_bias"], bias, rtol=1e-10)
    np.testing.assert_allclose(stats["out_std"], np.tile((labels - COUNTS @ bias).std(axis=0), (2, 1)), rtol=1e-8)


def test_labels_of_atoms_come_first(tmp_path):
    """Only the first system has them; the other systems' frames do not matter for the types it has."""
    atoms = [RNG.normal(size=(6, 3)) for _ in range(3)] + [None] * 6
    labels = {"dos": list(RNG.normal(size=(9, 3))), "atom_dos": atoms}
    stats = statistics(tmp_path, {"type": "dos", "numb_dos": 3}, labels)
    for t in range(2):
        own = np.concatenate([frame[KINDS[0] == t] for frame in atoms[:3]])
        np.testing.assert_allclose(stats["out_bias"][t], own.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(stats["out_std"][t], own.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("intensive", [False, True])
def test_a_property_with_one_bias_for_all_types(tmp_path, intensive):
    labels = RNG.normal(size=(9, 2))
    fitting = {"type": "property", "property_name": "gap", "task_dim": 2, "distinguish_types": False}
    stats = statistics(tmp_path, fitting | {"intensive": intensive}, {"gap": list(labels)})
    values = labels if intensive else labels / COUNTS.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(stats["out_bias"], np.tile(values.mean(axis=0), (2, 1)), rtol=1e-12)
    np.testing.assert_allclose(stats["out_std"], np.tile(values.std(axis=0), (2, 1)), rtol=1e-12)


def test_an_intensive_property_is_a_mean_of_the_types(tmp_path):
    own = np.array([[2.0], [-1.0]])
    labels = COUNTS / COUNTS.sum(axis=1, keepdims=True) @ own
    fitting = {"type": "property", "property_name": "gap", "intensive": True}
    np.testing.assert_allclose(statistics(tmp_path, fitting, {"gap": list(labels)})["out_bias"], own, rtol=1e-10)


def test_left_out_types_have_no_bias(tmp_path):
    labels = COUNTS[:, :1] * np.arange(1.0, 10.0)[None]
    stats = statistics(tmp_path, TENSOR | {"sel_type": 0}, {"polarizability": list(labels)})
    np.testing.assert_allclose(stats["out_bias"], [np.arange(1.0, 10.0), np.zeros(9)], atol=1e-12)


def test_the_shift_of_a_scaled_polarizability_is_that_of_the_data(tmp_path):
    """The model multiplies it by the scale."""
    labels = COUNTS @ np.array([2.0 * np.eye(3).ravel(), 0.5 * np.eye(3).ravel()])
    stats = statistics(tmp_path, TENSOR | {"scale": [4.0, 0.1]}, {"polarizability": list(labels)})
    np.testing.assert_allclose(stats["out_bias"][:, 0] * [4.0, 0.1], [2.0, 0.5], rtol=1e-10)


def test_a_dipole_has_none(tmp_path):
    stats = statistics(tmp_path, {"type": "dipole"}, {"dipole": list(RNG.normal(size=(9, 3)))})
    np.testing.assert_array_equal(stats["out_bias"], np.zeros((2, 3)))
    np.testing.assert_array_equal(stats["out_std"], np.ones((2, 3)))


def test_presets_stay(tmp_path):
    labels = COUNTS @ np.array([[1.0, 2.0], [3.0, 4.0]])
    preset = {"gap": [[5.0, 6.0], None]}
    fitting = {"type": "property", "property_name": "gap", "task_dim": 2}
    stats = statistics(tmp_path, fitting, {"gap": list(labels)}, preset_out_bias=preset)
    np.testing.assert_array_equal(stats["out_bias"][0], [5.0, 6.0])
    rest = np.linalg.lstsq(COUNTS[:, 1:], labels - COUNTS[:, :1] * [[5.0, 6.0]], rcond=None)[0]
    np.testing.assert_allclose(stats["out_bias"][1:], rest, rtol=1e-10)


def test_a_preset_without_labels(tmp_path):
    fitting = {"type": "property", "property_name": "gap"}
    stats = statistics(tmp_path, fitting, {"gap": [None] * 9}, preset_out_bias={"gap": [[7.0], None]})
    np.testing.assert_array_equal(stats["out_bias"], [[7.0], [0.0]])
    np.testing.assert_array_equal(stats["out_std"], np.ones((2, 1)))


@pytest.mark.parametrize(
    ("fitting", "label"),
    [
        ({"type": "dipole"}, "dipole"),
        ({"type": "property", "property_name": "gap", "distinguish_types": False}, "gap"),
    ],
)
def test_presets_that_have_no_place_are_refused(tmp_path, fitting, label):
    with pytest.raises(ConfigError, match="model/preset_out_bias: .* Remove"):
        statistics(
            tmp_path,
            fitting,
            {label: list(np.zeros((9, 3 if label == "dipole" else 1)))},
            preset_out_bias={label: [[1.0], None]},
        )
