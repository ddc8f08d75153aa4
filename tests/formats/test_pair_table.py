"""Tables of pair energies: reading them, continuing them, and what is said about malformed ones."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.errors import DataError
from dpjax.formats.pair_table import continued, pair_table, read_pair_table
from tests.shared import golden

ROWS = np.array([[0.5, 4.0, 3.0, 2.0], [1.0, 2.0, 1.5, 1.0], [1.5, 1.0, 0.5, 0.4], [2.0, 0.5, 0.2, 0.1]])


def written(tmp_path, text: str) -> str:
    path = tmp_path / "pairs.tab"
    path.write_text(text)
    return str(path)


def energy(table, a: int, b: int, distance: float) -> float:
    place = (distance - table.start) / table.spacing
    piece = min(int(place), table.pieces.shape[2] - 1)
    return float(np.polyval(table.pieces[a, b, piece], place - piece))


def test_the_spline_passes_through_the_rows_and_leaves_flat():
    table = pair_table(ROWS, 2)
    for row in ROWS:
        for (a, b), want in zip([(0, 0), (0, 1), (1, 0), (1, 1)], row[[1, 2, 2, 3]], strict=True):
            assert energy(table, a, b, row[0]) == pytest.approx(want, abs=1e-14)
    h = 1e-6
    for end in (0.5, 2.0):
        inside = end + h if end == 0.5 else end - h
        assert abs(energy(table, 0, 1, inside) - energy(table, 0, 1, end)) < 20 * h * h
    np.testing.assert_allclose(table.rows(), ROWS, atol=1e-14)


def test_a_table_that_ends_at_zero_goes_on_with_zeros():
    rows = ROWS.copy()
    rows[-1, 1:] = 0.0
    longer = continued(rows, 3.2, "table")
    np.testing.assert_allclose(longer[:, 0], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    assert not longer[4:, 1:].any()
    np.testing.assert_array_equal(continued(rows, 1.9, "table"), rows)


def test_a_table_that_does_not_end_at_zero_arrives_there_before_the_cutoff(caplog):
    longer = continued(ROWS, 3.6, "pairs.tab")
    np.testing.assert_allclose(longer[:, 0], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    np.testing.assert_allclose(longer[-1, 1:], 0.0, atol=1e-15)
    assert np.abs(longer[4, 1:]).min() > 1e-3
    assert "continued to zero" in caplog.text


def test_energies_at_the_cutoff_are_told(caplog):
    continued(ROWS, 1.2, "pairs.tab")
    assert "not zero at the cut-off, 1.2" in caplog.text


def test_the_shipped_table_is_read(caplog):
    table = read_pair_table(str(golden("pair_tables", "smooth.tab")), 3.0, ("O", "H"), "model/tab_file")
    assert (table.start, table.pieces.shape) == (0.3, (2, 2, 45, 4))
    assert table.end == pytest.approx(3.0)
    assert not caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5 1 2\n1.0 1 2\n", "line 1: found 3 columns, expected 4: .* O-O, O-H, H-H"),
        ("# only words\n\n0.5 1 2 3\n", "found 1 rows of numbers, expected at least 2"),
        ("0.5 1 2 3\n1.0 1 x 3\n", "line 2: could not convert string to float: 'x'; expected numbers only"),
        ("0.5 1 2 3\n1.0 1 nan 3\n", "line 2: found a number that is not finite"),
        ("0.5 1 2 3\n1.0 1 2 3\n1.7 1 2 3\n", "row 3 has the distance 1.7, expected 1.5: .* even steps"),
        ("1.0 1 2 3\n0.5 1 2 3\n", "begin with 1, 0.5; expected them to grow from zero"),
        ("-0.5 1 2 3\n0.5 1 2 3\n", "begin with -0.5, 0.5; expected them to grow from zero"),
    ],
)
def test_malformed_tables_are_refused_with_their_place(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"^model/tab_file: .*pairs.tab.*{message}"):
        read_pair_table(written(tmp_path, text), 2.0, ("O", "H"), "model/tab_file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"model/use_srtab: .*none.tab: cannot read the table \(No such file"):
        read_pair_table(str(tmp_path / "none.tab"), 2.0, ("O",), "model/use_srtab")
