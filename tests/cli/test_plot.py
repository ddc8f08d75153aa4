"""Reading and drawing learning curves."""

from __future__ import annotations

import sys

import pytest

from dpjax import plotting
from dpjax.cli.main import main

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


def test_missing_file(capsys, tmp_path):
    assert main(["plot", str(tmp_path / "lcurve.out")]) == 1
    assert "could not read the learning curve" in capsys.readouterr().err


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
