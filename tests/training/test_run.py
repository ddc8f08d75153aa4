"""A whole training: what it writes and reports, on data of every kind."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.training.lcurve import read_lcurve
from dpjax.training.rows import mean_found
from tests.training import tiny

pytestmark = pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")


def rows(output) -> dict[str, np.ndarray]:
    return read_lcurve(output / "lcurve.out")


def rmse(difference) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


def test_files(finished):
    found = sorted(path.name for path in finished.output.iterdir())
    assert found == ["checkpoint", "lcurve.out", *(f"model.ckpt-{i}" for i in (3, 4, 5, 6)), "out.json"]
    assert (finished.output / "checkpoint").read_text() == "model.ckpt-6\n"


def test_normalized_input_trains_the_same_model(finished):
    written = json.loads((finished.output / "out.json").read_text())
    assert dpjax.config.normalize(written) == written
    assert written["model"]["fitting_net"]["type"] == "ener"  # a default, filled in
    assert written["training"]["numb_steps"] == 6


def test_result(finished):
    result = finished.result
    assert result.checkpoint == finished.output / "model.ckpt-6"
    assert result.steps == 6
    assert 0 < result.seconds < 600
    assert result.programs == 2  # one for the steps, one for validation: both systems have the same sizes


def test_learning_curve_has_the_columns_of_deepmd_kit(finished):
    names = ["rmse", "rmse_e", "rmse_f", "rmse_v"]
    curve = rows(finished.output)
    assert list(curve) == ["step", *(f"{n}_{side}" for n in names for side in ("val", "trn")), "lr"]
    assert curve["step"].tolist() == [1, 2, 4, 6]
    assert curve["lr"][0] == pytest.approx(0.01)
    assert np.all(np.diff(curve["lr"]) <= 0)


def test_metrics_are_the_last_row(finished):
    curve, metrics = rows(finished.output), finished.result.metrics
    assert set(metrics) == set(curve) - {"step"}
    for name, value in metrics.items():
        np.testing.assert_allclose(curve[name][-1], value, rtol=0.06 if name == "lr" else 6e-3)


def test_validation_errors_are_those_of_the_saved_model(finished):
    """The last row against the checkpoint, evaluated without anything of the training."""
    arrays = {path.stem: np.load(path) for path in (finished.systems[0] / "set.000").glob("*.npy")}
    atype = np.loadtxt(finished.systems[0] / "type.raw", dtype=int)
    coord = arrays["coord"].reshape(4, 6, 3)
    out = dpjax.load(finished.result.checkpoint).evaluate(coord, atype, arrays["box"].reshape(4, 3, 3))
    metrics = finished.result.metrics
    assert metrics["rmse_e_val"] == pytest.approx(rmse(out["energy"][:, 0] - arrays["energy"]) / 6, rel=1e-10)
    assert metrics["rmse_f_val"] == pytest.approx(rmse(out["force"] - arrays["force"].reshape(4, 6, 3)), rel=1e-10)
    assert metrics["rmse_v_val"] == pytest.approx(rmse(out["virial"] - arrays["virial"]) / 6, rel=1e-10)


def test_a_label_in_some_systems_only_is_used_there(finished, tmp_path):
    [message] = [w for w in finished.warnings if "virial" in w]
    assert f"1 of 2 systems have no virial.npy (the first: {finished.systems[1]})" in message
    assert np.isnan(rows(finished.output)["rmse_v_trn"]).any()  # steps on frames without the label
    other = tiny.system(tmp_path / "other")
    np.save(other / "set.000" / "virial.npy", 10 * np.load(other / "set.000" / "virial.npy"))
    edits = {"training/training_data/systems": [str(other), str(finished.systems[1])]}
    result = dpjax.train(
        tiny.edited(finished.config, edits | {"training/validation_data": tiny.REMOVE}), tmp_path / "out"
    )
    want, got = (load_checkpoint(r.checkpoint)[0]["params"] for r in (finished.result, result))
    assert not all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True))


def test_training_changes_every_parameter(finished):
    first, last = (load_checkpoint(finished.output / f"model.ckpt-{i}")[0] for i in (3, 6))
    for a, b in zip(jax.tree.leaves(first["params"]), jax.tree.leaves(last["params"]), strict=True):
        assert a.dtype == b.dtype == np.float64
        assert np.all(a != b)


@pytest.mark.slow
def test_the_seed_decides(finished, tmp_path):
    """The same seed gives the same bits; another one draws other frames."""
    edits = {"training/validation_data": tiny.REMOVE}
    runs = [dpjax.train(tiny.edited(finished.config, edits), tmp_path / "same")]
    runs.append(dpjax.train(tiny.edited(finished.config, edits | {"training/seed": 4}), tmp_path / "other"))
    want, same, other = (load_checkpoint(r.checkpoint)[0]["params"] for r in (finished.result, *runs))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(same), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(other), strict=True))


def test_averaged_rows(finished, tmp_path):
    """``disp_avg``: means over the steps since the last row, where the label exists."""
    each = {"training/disp_freq": 1, "training/validation_data": tiny.REMOVE}
    dpjax.train(tiny.edited(finished.config, each), tmp_path / "each")
    dpjax.train(
        tiny.edited(finished.config, each | {"training/disp_freq": 3, "training/disp_avg": True}), tmp_path / "avg"
    )
    single, mean = rows(tmp_path / "each"), rows(tmp_path / "avg")
    assert mean["step"].tolist() == [1, 3, 6]
    for name in ("rmse_e_trn", "rmse_f_trn", "rmse_v_trn"):
        want = [np.nanmean(single[name][part]) for part in (slice(0, 1), slice(1, 3), slice(3, 6))]
        np.testing.assert_allclose(mean[name], want, rtol=1e-2)


def test_epochs(finished, tmp_path):
    """Two systems of 4 frames in batches of 2 have 4 batches: one and a half epochs are the six steps of the fixture."""
    edits = {"training/numb_steps": tiny.REMOVE, "training/numb_epoch": 1.5, "training/validation_data": tiny.REMOVE}
    result = dpjax.train(tiny.edited(finished.config, edits), tmp_path)
    assert result.steps == 6
    assert result.metrics["rmse_f_trn"] == finished.result.metrics["rmse_f_trn"]


def test_no_steps_write_the_initial_model(finished, tmp_path):
    result = dpjax.train(tiny.edited(finished.config, {"training/numb_steps": 0}), tmp_path)
    assert (result.steps, result.metrics, result.checkpoint) == (0, {}, tmp_path / "model.ckpt-0")
    assert np.all(np.isfinite(dpjax.load(tmp_path).evaluate(tiny.positions(3, 1, 0), [0, 1, 1])["energy"]))


def test_no_learning_curve_when_not_wanted(finished, tmp_path):
    edits = {"training/disp_training": False, "training/save_ckpt": "nets/m", "training/validation_data": tiny.REMOVE}
    result = dpjax.train(tiny.edited(finished.config, edits), tmp_path)
    assert not (tmp_path / "lcurve.out").exists()
    assert result.checkpoint == tmp_path / "nets" / "m-6"


def test_a_fresh_run_sets_earlier_checkpoints_aside(finished, tmp_path, caplog):
    edits = {"training/numb_steps": 0, "training/validation_data": tiny.REMOVE}
    config = tiny.edited(finished.config, edits)
    first = dpjax.train(config, tmp_path).checkpoint
    kept = load_checkpoint(first)[0]
    dpjax.train(config, tmp_path)
    moved = load_checkpoint(tmp_path / "previous-1" / "model.ckpt-0")[0]
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(moved), strict=True))
    assert "previous-1" in caplog.text


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run over frames of 6 atoms in a cell, of 6 without one, and of 6, 5 and 4 in the mixed layout."""
    folder = tmp_path_factory.mktemp("mixed")
    systems = [tiny.system(folder / "six"), tiny.mixed_system(folder / "mixed")]
    types = np.array([0, 1, 1, 0, 1, 1])
    systems.append(tiny.write(folder / "open", types, [tiny.arrays(types, 3, 9)], nopbc=True))
    (systems[-1] / "set.000" / "box.npy").unlink()
    edits = {"training/numb_steps": 12, "training/disp_freq": 1, "training/training_data/batch_size": [2, 3, 2]}
    return dpjax.train(tiny.config(systems, edits), folder / "out")


def test_systems_of_all_sizes_in_one_run(mixed):
    curve = rows(mixed.checkpoint.parent)
    assert all(np.all(np.isfinite(column)) for column in curve.values())
    assert len(curve["step"]) == 12


def test_programs_stay_few(mixed):
    """One for each number of atoms of each type; neither short last batches nor denser frames need another."""
    assert mixed.programs == 2


def test_frame_and_atomic_parameters(tmp_path):
    types = np.array([0, 1, 1, 0, 1, 1])
    rng = np.random.default_rng(5)
    values = tiny.arrays(types, 4, 2) | {
        "fparam": rng.normal(3.0, 2.0, (4, 2)),
        "aparam": rng.normal(-1.0, 0.5, (4, 6)),
    }
    path = tiny.write(tmp_path / "system", types, [values])
    edits = {"model/fitting_net/numb_fparam": 2, "model/fitting_net/numb_aparam": 1}
    result = dpjax.train(tiny.config([path], edits | tiny.ENERGY_ONLY), tmp_path / "out")
    stats = load_checkpoint(result.checkpoint)[0]["stats"]["fitting_net"]
    np.testing.assert_allclose(stats["fparam_avg"], values["fparam"].mean(0))
    np.testing.assert_allclose(stats["fparam_inv_std"], 1 / values["fparam"].std(0))
    np.testing.assert_allclose(stats["aparam_avg"], values["aparam"].mean().reshape(1))
    pot = dpjax.load(result.checkpoint)
    given = {"coord": values["coord"].reshape(4, 6, 3), "atype": types, "cell": values["box"].reshape(4, 3, 3)}
    out, moved = (
        pot.evaluate(**given, fparam=values["fparam"] + shift, aparam=values["aparam"][..., None]) for shift in (0, 1)
    )
    assert np.all(out["energy"] != moved["energy"])


def test_mixed_parameter_systems_ignore_placeholders(tmp_path):
    """Statistics of atomic parameters are over real atoms only."""
    path = tiny.mixed_system(tmp_path / "mixed")
    aparam = np.random.default_rng(5).normal(2.0, 0.5, (3, 6))
    real = np.load(path / "set.000" / "real_atom_types.npy") >= 0
    np.save(path / "set.000" / "aparam.npy", np.where(real, aparam, 0.0))
    result = dpjax.train(
        tiny.config([path], {"model/fitting_net/numb_aparam": 1, "training/numb_steps": 0}), tmp_path / "out"
    )
    stats = load_checkpoint(result.checkpoint)[0]["stats"]["fitting_net"]
    np.testing.assert_allclose(stats["aparam_avg"], [aparam[real].mean()])


def test_batches_without_a_label_do_not_count_in_a_mean():
    assert mean_found("rmse_v", [1.0, math.nan, 4.0], [1.0, 5.0, 2.0]) == 3.0
    assert mean_found("rmse_v", [1.0, math.nan, 4.0]) == 2.5
    assert math.isnan(mean_found("rmse_v", [math.nan] * 2))
    assert math.isnan(mean_found("loss", [1.0, math.nan]))
