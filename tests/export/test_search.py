"""The runtime's own neighbour search and truncation against dpjax's."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax import neighbors
from dpjax.export import runtime
from dpjax.statistics import EnvironmentView, truncation_mask
from tests.export.frames import SHEAR, THIN, frame


def structure(name: str) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(3)
    cells = {
        "thin": THIN,
        "left-handed": THIN[[1, 0, 2]],
        "flat angles": np.array([[6.0, 0, 0], [5.0, 2.0, 0], [4.0, 1.0, 3.0]]),
        "one atom": 1.3 * SHEAR,
        "large": 14.0 * SHEAR,
    }
    if name == "open":
        return frame(90)["coord"][0], None
    if name == "two far clusters":
        return np.concatenate([rng.uniform(0, 4, (6, 3)), rng.uniform(0, 4, (6, 3)) + 1e7]), None
    cell = cells[name]
    n_atom = {"one atom": 1, "large": 150}.get(name, 4)
    return rng.uniform(-2, 3, (n_atom, 3)) @ cell, cell


NAMES = ("thin", "left-handed", "flat angles", "one atom", "large", "open", "two far clusters")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at_once", [2_000_000, 50])
def test_finds_what_dpjax_finds(name, at_once, monkeypatch):
    monkeypatch.setattr(runtime, "PAIRS_AT_ONCE", at_once)
    coord, cell = structure(name)
    atype = np.arange(len(coord)) % 2
    edges, most = runtime.search(coord, cell, 3.0).ordered(atype, 2)
    table = neighbors.search(coord, atype, 2, 3.0, cell)
    assert table.n_edge > 0
    np.testing.assert_array_equal(edges.count(atype, 2), table.count)
    np.testing.assert_array_equal(most, table.count.max(axis=0))
    shift = 0 if cell is None else edges.shift @ cell
    disp = edges.coord[edges.index] + shift - edges.coord[edges.centre]
    np.testing.assert_allclose(np.sum(disp**2, axis=1), edges.square, atol=1e-8)
    size = np.abs(coord).max()
    np.testing.assert_allclose(  # two orders differ only among neighbours at one distance
        np.sort(disp, axis=0), np.sort(table.displacements(coord, cell), axis=0), atol=1e-14 * size + 1e-13
    )
    np.testing.assert_array_equal(
        np.sort(edges.centre * len(coord) + edges.index), np.sort(table.centre() * len(coord) + table.index)
    )


def test_truncation_is_the_two_step_rule():
    given = frame(60)
    coord, atype, sel = given["coord"][0], given["atype"], np.array([2, 3])
    edges, most = runtime.search(coord, given["cell"][0], 4.0).ordered(atype, 2)
    assert np.all(most > sel)
    kept = edges.truncated(atype, sel)
    view = EnvironmentView(rcut=4.0, rcut_smth=1.0, sel=(2, 3))
    mask = truncation_mask(edges.count(atype, 2), edges.centre, atype[edges.index], np.sqrt(edges.square), view)
    np.testing.assert_array_equal(kept.square, edges.square[mask])
    np.testing.assert_array_equal(kept.index, edges.index[mask])
    assert 0 < len(kept.index) < len(edges.index)
