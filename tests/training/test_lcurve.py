"""The learning curve has DeePMD-kit's layout, survives restarts and is readable."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.errors import DataError, OutputError
from dpjax.training.lcurve import LearningCurve, read_lcurve

TRAINING = {"rmse_f": 0.5, "rmse": 25.6, "rmse_e": float("nan")}
VALIDATION = {"rmse_f": 0.25, "rmse": 27.0, "rmse_e": 0.125}

# by the printing functions of DeePMD-kit 3.2.0, for these values
REFERENCE = """\
# step       rmse_val    rmse_trn    rmse_e_val  rmse_e_trn    rmse_f_val  rmse_f_trn   lr      
# If there is no available reference data, rmse_*_{val,trn} will print nan
      1      2.70e+01    2.56e+01      1.25e-01         nan      2.50e-01    5.00e-01    1.0e-03
"""  # noqa: W291


def rows(path, *steps, validation=VALIDATION, restart_step=None):
    with LearningCurve(path, restart_step) as curve:
        for step in steps:
            curve.write(step, TRAINING, validation, 1e-3 / step)


def test_layout(tmp_path):
    rows(tmp_path / "lcurve.out", 1)
    assert (tmp_path / "lcurve.out").read_text() == REFERENCE


def test_only_training_columns_without_validation(tmp_path):
    rows(tmp_path / "lcurve.out", 100, validation=None)
    header, _, line = (tmp_path / "lcurve.out").read_text().splitlines()
    assert header == "# step       rmse_trn    rmse_e_trn    rmse_f_trn   lr      "
    assert line == "    100      2.56e+01           nan      5.00e-01    1.0e-05"


def test_rows_are_on_disk_at_once(tmp_path):
    with LearningCurve(tmp_path / "lcurve.out") as curve:
        curve.write(1, TRAINING, VALIDATION, 1e-3)
        assert (tmp_path / "lcurve.out").read_text() == REFERENCE


def test_restart_drops_later_and_broken_rows(tmp_path):
    path = tmp_path / "lcurve.out"
    rows(path, 1, 100, 200, 300)
    with path.open("a") as file:
        file.write("    400      2.56e+01  ")
    rows(path, 300, 400, restart_step=200)
    assert read_lcurve(path)["step"].tolist() == [1, 100, 200, 300, 400]
    assert path.read_text().count("# step") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["lcurve.out"]


def test_restart_without_a_file_starts_one(tmp_path):
    rows(tmp_path / "lcurve.out", 300, restart_step=200)
    assert read_lcurve(tmp_path / "lcurve.out")["step"].tolist() == [300]


def test_restart_with_other_columns_gets_its_own_header(tmp_path):
    path = tmp_path / "lcurve.out"
    rows(path, 1, 100, validation=None)
    rows(path, 200, restart_step=100)
    curve = read_lcurve(path)
    np.testing.assert_array_equal(curve["rmse_f_val"], [np.nan, np.nan, 0.25])
    np.testing.assert_array_equal(curve["rmse_f_trn"], [0.5, 0.5, 0.5])


def test_a_new_run_replaces_the_file(tmp_path):
    rows(tmp_path / "lcurve.out", 1, 100)
    rows(tmp_path / "lcurve.out", 1)
    assert (tmp_path / "lcurve.out").read_text() == REFERENCE


def test_reading(tmp_path):
    path = tmp_path / "lcurve.out"
    path.write_text(REFERENCE + "      2      1.70e+01")
    curve = read_lcurve(path)
    assert list(curve) == ["step", "rmse_val", "rmse_trn", "rmse_e_val", "rmse_e_trn", "rmse_f_val", "rmse_f_trn", "lr"]
    assert curve["rmse_val"].tolist() == [27.0] and np.isnan(curve["rmse_e_trn"][0]) and curve["lr"].tolist() == [1e-3]


@pytest.mark.parametrize("text", ["", "# step rmse_trn lr\n", "1 2 3\n"])
def test_what_is_no_learning_curve_is_refused(tmp_path, text):
    (tmp_path / "lcurve.out").write_text(text)
    with pytest.raises(DataError, match=r"lcurve\.out: found no row"):
        read_lcurve(tmp_path / "lcurve.out")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"lcurve\.out: could not read"):
        read_lcurve(tmp_path / "lcurve.out")


def test_unwritable_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file.*lcurve\.out: could not write"):
        LearningCurve(tmp_path / "file" / "lcurve.out")


def test_a_full_disk_is_an_output_error():
    """Also where closing the file tries to write the rest again."""
    with pytest.raises(OutputError, match="No space left"), LearningCurve("/dev/full") as curve:
        curve.write(1, TRAINING, VALIDATION, 1e-3)
