"""Reading and drawing learning curves."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dpjax import plotting
from dpjax.cli.main import main
from dpjax.errors import DataError

HEADER = "#  step  rmse_val  rmse_trn  rmse_e_val  rmse_e_trn  rmse_f_val  rmse_f_trn  lr\n"
NOTE = "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"
LINES = ["1 20 21 0.1 0.2 0.8 0.9 1e-3\n", "100 10 11 0.01 0.02 0.4 0.5 1e-4\n", "200 5 6 nan 0.01 0.2 0.3 1e-5\n"]


@pytest.fixture
def lcurve(tmp_path):
    """Writes a learning curve and returns its path."""

    def write(*parts: str):
        path = tmp_path / "lcurve.out"
        path.write_text("".join(parts))
        return path

    return write


def test_columns_go_by_the_header(lcurve):
    columns = plotting.read_learning_curve(lcurve(HEADER, NOTE, *LINES))
    np.testing.assert_array_equal(columns["step"], [1, 100, 200])
    np.testing.assert_array_equal(columns["rmse_f_val"], [0.8, 0.4, 0.2])
    np.testing.assert_array_equal(columns["lr"], [1e-3, 1e-4, 1e-5])
    assert np.isnan(columns["rmse_e_val"][2])


def test_a_line_that_is_cut_off_is_left_out(lcurve):
    columns = plotting.read_learning_curve(lcurve(HEADER, *LINES, "300 4 5 0.00"))
    np.testing.assert_array_equal(columns["step"], [1, 100, 200])


def test_after_a_restart_the_later_line_counts(lcurve):
    columns = plotting.read_learning_curve(lcurve(HEADER, *LINES, HEADER, "200 4 4 4 4 4 4 4\n", "300 3 3 3 3 3 3 3\n"))
    np.testing.assert_array_equal(columns["step"], [1, 100, 200, 300])
    assert columns["rmse_val"][2] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2 3\n", "no header line"), (HEADER, "no line of 8 numbers"), ("", "no header line")],
)
def test_files_that_are_no_learning_curve(lcurve, text, message):
    path = lcurve(text)
    with pytest.raises(DataError, match=message) as error:
        plotting.read_learning_curve(path)
    assert str(path) in str(error.value)


def test_missing_file(capsys, tmp_path):
    assert main(["plot", str(tmp_path / "lcurve.out")]) == 1
    assert "cannot be read as a learning curve" in capsys.readouterr().err


@pytest.mark.parametrize(
    "lines",
    [LINES, LINES[:1], ["1 nan nan nan nan nan nan 1e-3\n"], ["1 1 1 0 0 1 1 0\n"]],
    ids=["usual", "one line", "no labels", "zeros"],
)
def test_the_command_draws(lcurve, lines, capsys):
    path = lcurve(HEADER, *lines)
    assert main(["plot", str(path)]) == 0
    picture = path.with_suffix(".png")
    assert f"wrote {picture}" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_training_columns_without_validation(lcurve, tmp_path):
    path = lcurve("# step rmse_trn rmse_e_trn rmse_f_trn lr\n", "1 2 3 4 5\n", "2 2 3 4 5\n")
    assert plotting.plot_learning_curve(path, tmp_path / "deep" / "curve.svg").exists()


def test_unwritable_picture(lcurve, capsys):
    path = lcurve(HEADER, *LINES)
    assert main(["plot", str(path), "-o", str(path / "x.png")]) == 1
    assert "cannot write the picture" in capsys.readouterr().err
    assert main(["plot", str(path), "-o", str(path.with_suffix(".unknown"))]) == 1
    assert "not supported" in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named(lcurve, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", str(lcurve(HEADER, *LINES))]) == 1
    assert "pip install 'dpjax[plot]'" in capsys.readouterr().err
