"""Training on frames with a charge and a spin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.config import load
from dpjax.errors import ConfigError, DataError
from dpjax.finetune import remapped
from dpjax.training.setup import prepare
from tests.contracts.cases import dpa3, model
from tests.training import tiny

GIVEN, DEFAULT = np.array([[0, 1], [-1, 2], [0, 1], [-1, 2]]), [3, 0]


def descriptor(**options) -> dict:
    return dpa3({"nlayers": 1, "update_angle": False, "e_sel": 24, "a_sel": 12}, add_chg_spin_ebd=True, **options)


@pytest.fixture(scope="module")
def systems(tmp_path_factory) -> list[Path]:
    """One whose frames have charges and spins, and one whose frames have none."""
    folder = tmp_path_factory.mktemp("charged")
    paths = [tiny.system(folder / name, seed=seed) for seed, name in enumerate("ab")]
    np.save(paths[0] / "set.000" / "charge_spin.npy", GIVEN)
    return paths


def config(systems: list[Path], edits: dict | None = None, **options) -> dict:
    """An input of four steps, each on all frames of a system."""
    steps = {"training/numb_steps": 4, "training/save_freq": 4, "training/training_data/batch_size": 4}
    return tiny.config(systems, tiny.ENERGY_ONLY | {"model/descriptor": descriptor(**options)} | steps | (edits or {}))


def test_vectors_of_the_charges_and_spins_in_the_data_are_trained(systems, tmp_path):
    given = config(systems, default_chg_spin=DEFAULT)
    before = prepare(load(given)).variables["params"]["descriptor"]["charge_spin"]
    dpjax.train(given, tmp_path / "run")
    pot = dpjax.load(tmp_path / "run")
    after = pot.variables["params"]["descriptor"]["charge_spin"]
    changed = {
        name: np.flatnonzero(np.any(after[name]["layer"]["matrix"] != before[name]["layer"]["matrix"], axis=1)).tolist()
        for name in ("chg_embedding", "spin_embedding")
    }
    assert changed == {"chg_embedding": [99, 100, 103], "spin_embedding": [0, 1, 2]}
    assert np.any(after["mix_cs_mlp"]["matrix"] != before["mix_cs_mlp"]["matrix"])
    assert pot.config.default_inputs == {"charge_spin": (3, 0)}


def test_data_that_do_not_fit_stop_the_run(systems, tmp_path):
    with pytest.raises(DataError, match=r"b/set.000/charge_spin.npy is missing.*default_chg_spin"):
        dpjax.train(config(systems), tmp_path / "run")
    wrong = tiny.system(tmp_path / "wrong")
    np.save(wrong / "set.000" / "charge_spin.npy", GIVEN + [[0, 0], [0, 0], [100, 0], [0, 0]])
    with pytest.raises(
        DataError, match=r"wrong/set.000/charge_spin.npy: frame 2 .*: the charge is 100; expected -100 to 99"
    ):
        dpjax.train(config([wrong]), tmp_path / "run")


def test_a_continued_run_has_the_same_inputs(systems, tmp_path):
    plain = config(systems, default_chg_spin=DEFAULT) | {"training": {}}
    fresh = dpjax.build(plain["model"])
    section = plain["model"] | {"descriptor": plain["model"]["descriptor"] | {"add_chg_spin_ebd": False}}
    dpjax.save(dpjax.build(section), tmp_path / "model.dp")
    assert fresh.config.inputs == {"charge_spin": 2}
    with pytest.raises(ConfigError, match="add_chg_spin_ebd"):
        dpjax.train(config(systems, default_chg_spin=DEFAULT), tmp_path / "run", init_model=tmp_path / "model.dp")


def test_vectors_of_charge_and_spin_stay_when_types_change():
    old, new = (
        dpjax.build(model(descriptor()) | {"type_map": names}, seed=seed)
        for seed, names in enumerate((["O", "H"], ["H", "C", "O"]))
    )
    variables, rows = remapped(old.config, new.config, old.variables, new.variables)
    ours, theirs = (tree["params"]["descriptor"]["charge_spin"] for tree in (variables, old.variables))
    for name in ("chg_embedding", "spin_embedding"):
        np.testing.assert_array_equal(ours[name]["layer"]["matrix"], theirs[name]["layer"]["matrix"])
    assert {row.origin for row in rows if "charge_spin" in row.name} == {"pretrained"}
