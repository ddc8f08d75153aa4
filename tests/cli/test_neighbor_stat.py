"""`dpjax neighbor-stat` on a system whose neighbours can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.cli.main import main


@pytest.fixture
def chain(tmp_path):
    """O H H on a line, 1 and 2 angstrom apart, open boundaries; one frame."""
    folder = tmp_path / "chain"
    (folder / "set.000").mkdir(parents=True)
    (folder / "nopbc").touch()
    (folder / "type.raw").write_text("0 1 1")
    (folder / "type_map.raw").write_text("O H")
    np.save(folder / "set.000" / "coord.npy", np.array([[0.0, 0, 0, 1, 0, 0, 3, 0, 0]]))
    return folder


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (["-r", "2.5"], "[1, 1]"),
        (["-r", "3.5"], "[1, 2]"),
        (["-r", "3.5", "--mixed-type"], "[2]"),
        (["-r", "3.5", "--type-map", "H", "O"], "[2, 1]"),
        (["-r", "0.5"], "[0, 0]"),
    ],
)
def test_counts(chain, capsys, options, sizes):
    assert main(["neighbor-stat", "-s", str(chain), *options]) == 0
    out = capsys.readouterr().out
    assert f"max_nbor_size: {sizes}" in out
    assert ("min_nbor_dist: 1.000000" in out) == (options[1] != "0.5")


def test_nameless_types_ask_for_a_type_map(chain, capsys):
    (chain / "type_map.raw").unlink()
    assert main(["neighbor-stat", "-s", str(chain), "-r", "3"]) == 1
    assert "give them with --type-map" in capsys.readouterr().err
    assert main(["neighbor-stat", "-s", str(chain), "-r", "3", "-t", "O", "H"]) == 0
