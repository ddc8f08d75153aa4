"""Full validation: when it runs, what it measures, which checkpoints it keeps, and what a kill in the middle leaves."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.config.validating import ValidatingConfig
from dpjax.errors import ConfigError, DataError
from dpjax.training import loop
from dpjax.training.full_validation import calendar
from tests.training import tiny
from tests.training.test_restart import Killed, same


@pytest.mark.parametrize(
    ("start", "every", "steps"),
    [(0, 3, [3, 6, 9]), (0.5, 3, [5, 8]), (1, 3, []), (4, 2, [4, 6, 8, 10]), (11, 1, []), (0.99, 5, [9])],
)
def test_when_it_runs(start, every, steps):
    cfg = ValidatingConfig(full_validation=True, validation_freq=every, full_val_start=start)
    assert [n for n in range(11) if calendar(cfg, 10).due(n)] == steps
    averages = ValidatingConfig(ema_full_validation=True, validation_freq=every, full_val_start=start)
    assert calendar(averages, 10) == calendar(cfg, 10)
    assert not calendar(ValidatingConfig(), 10).due(5)


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        tiny.system(folder / "train", seed=0),
        tiny.system(folder / "five", n_frame=5, seed=1),
        tiny.system(folder / "bare", n_atom=9, n_frame=3, seed=2, virial=False),
    ]


def inputs(systems, edits=None) -> dict:
    validating = {
        "full_validation": True, "ema_full_validation": True, "validation_freq": 2, "full_val_start": 0, "max_best_ckpt": 2,
        "validation_metric": " f:rmse",
    }  # fmt: skip
    base = {
        "training/validation_data": {"systems": [str(s) for s in systems[1:]], "batch_size": 2},
        "training/enable_ema": True, "training/save_freq": 3, "training/disp_freq": 6, "validating": validating,
    }  # fmt: skip
    return tiny.config([systems[0]], base | (edits or {}))


@pytest.fixture(scope="module")
def done(systems, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    with pytest.warns(UserWarning, match="have no virial"):
        dpjax.train(inputs(systems), output)
    return output


def table(path) -> dict[int, list[float]]:
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return {int(row[0]): [float(x) for x in row[1:]] for row in rows}


def test_the_log_has_a_row_for_each_time(done):
    lines = (done / "val.log").read_text().splitlines()
    assert lines[0].split() == [
        "#", "step", "E_MAE(meV/atom)", "E_RMSE(meV/atom)", "F_MAE(meV/Å)", "F_RMSE(meV/Å)", "V_MAE(meV/atom)", "V_RMSE(meV/atom)"
    ]  # fmt: skip
    for name in ("val.log", "val_ema.log"):
        rows = table(done / name)
        assert list(rows) == [2, 4, 6]
        assert np.all(np.isfinite(list(rows.values())))
    assert table(done / "val.log") != table(done / "val_ema.log")


def test_the_numbers_are_those_of_all_frames(done, systems):
    """Of the model that the log names best, evaluated by itself: each value counts once, however frames are batched."""
    best = next(done.glob("best.ckpt-*.t-1"))
    pot = dpjax.load(best)
    energies, forces, virials = [], [], []
    for folder in systems[1:]:
        arrays = {p.stem: np.load(p) for p in (folder / "set.000").glob("*.npy")}
        types = np.loadtxt(folder / "type.raw", dtype=int)
        frames = len(arrays["coord"])
        out = pot.evaluate(arrays["coord"].reshape(frames, -1, 3), types, arrays["box"].reshape(frames, 3, 3))
        energies.append((out["energy"].ravel() - arrays["energy"].ravel()) / len(types))
        forces.append((out["force"].reshape(frames, -1) - arrays["force"]).ravel())
        if "virial" in arrays:
            virials.append((out["virial"] - arrays["virial"]).ravel() / len(types))
    expected = []
    for errors in (energies, forces, virials):
        error = 1e3 * np.concatenate(errors)
        expected += [np.mean(np.abs(error)), np.sqrt(np.mean(error**2))]
    step = int(best.name.split("-")[1].split(".")[0])
    np.testing.assert_allclose(table(done / "val.log")[step], expected, rtol=1e-4)


@pytest.mark.slow
def test_the_best_checkpoints_stay(done):
    """By the error of the force, two of them, in the order of their rank; those of the averages by themselves."""
    for log, prefix in (("val.log", "best.ckpt"), ("val_ema.log", "best_ema.ckpt")):
        rows = table(done / log)
        order = sorted(rows, key=lambda step: (rows[step][3], step))[:2]
        assert sorted(p.name for p in done.glob(f"{prefix}-*")) == sorted(
            f"{prefix}-{step}.t-{rank}" for rank, step in enumerate(order, 1)
        )
        assert f"# saved best checkpoint: {prefix}-2.t-1 (F:RMSE = " in (done / log).read_text()
    assert "opt_state" in load_checkpoint(next(done.glob("best.ckpt-*.t-1")))[0]
    assert "opt_state" not in load_checkpoint(next(done.glob("best_ema.ckpt-*.t-1")))[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")
def test_a_kill_in_the_middle_loses_nothing(done, systems, tmp_path, monkeypatch):
    """Killed while the frames are evaluated after step 4; the restart from step 3 ends with the same bits, logs and best ones."""
    measured, times = loop.measured, []

    def dying(batches, sums_of):
        times.append(1)
        if len(times) == 4:  # of the averages after step 4: the parameters' own result is written by then
            next(iter(batches))
            raise Killed
        return measured(batches, sums_of)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "measured", dying)
        with pytest.raises(Killed):
            dpjax.train(inputs(systems), tmp_path)
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-3\n"
    dpjax.train(inputs(systems), tmp_path, restart=True)
    assert same(*(load_checkpoint(run / "model.ckpt-6")[0] for run in (done, tmp_path)))
    for name in ("val.log", "val_ema.log"):
        assert (tmp_path / name).read_text() == (done / name).read_text()
    best = [sorted(p.name for p in run.glob("best*")) for run in (done, tmp_path)]
    assert best[0] == best[1]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"training/validation_data": None}, r"validating/full_validation: found true, but there are no validation"),
        (
            {"training/validation_data": None, "validating/full_validation": False},
            r"validating/ema_full_validation: found true, but there are no validation",
        ),
        ({"training/enable_ema": False}, r"validating/ema_full_validation: found true, but no average is kept"),
        ({"validating/validation_metric": "FM:MAE"}, r"validating/validation_metric: .* has the quantities E, F and V"),
        (
            {"loss/start_pref_v": 0, "validating/validation_metric": "V:MAE"},
            r"loss/start_pref_v and .* must be non-zero",
        ),
    ],
)
def test_what_cannot_be_validated_is_refused(systems, edits, message):
    with pytest.raises(ConfigError, match=message):
        load(inputs(systems, edits))


def test_a_metric_without_label_is_an_error(systems, tmp_path):
    """Virials of open frames mean nothing; averages are validated whether the parameters are or not."""
    values = tiny.arrays(np.array([0, 1, 1]), 2, seed=4)
    del values["box"]
    bare = tiny.write(tmp_path / "open", np.array([0, 1, 1]), [values], nopbc=True)
    edits = {"validating/full_validation": False, "validating/validation_metric": "V:RMSE"}
    edits |= {"training/validation_data/systems": [str(bare)]}
    with pytest.raises(DataError, match=r"validation_metric: found V:RMSE, but no system"):
        dpjax.train(inputs(systems, edits), tmp_path / "run")
