"""Neighbour statistics and the sel they suggest."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import numpy as np
import pytest

from dpjax.errors import ConfigError, DataError
from dpjax.neighbors.stat import NeighborStat, neighbor_stat, suggest_sel, update_sel
from tests.neighbors.systems import FakeSystem, make_system
from tests.shared import shared

OH = ("O", "H")


def stat(*counts, type_map=OH):
    return NeighborStat(6.0, 1.0, counts, type_map)


def chain():
    """Atoms on a line: H at 0, O at 1, H at 2.5, H at 2.9, a placeholder, O far away."""
    x = np.array([0.0, 1.0, 2.5, 2.9, 1.2, 50.0])
    return FakeSystem(np.stack([x, 0 * x, 0 * x], axis=1)[None], np.array([1, 0, 1, 1, -1, 0]), None)


def test_counts_by_hand():
    got = neighbor_stat([chain()], 2.0, OH)
    assert got.max_nbor_size == (1, 3)  # O sees H at 1.0, 1.5 and 1.9
    assert got.min_nbor_dist == pytest.approx(0.4)
    assert neighbor_stat([chain()], 2.0, OH, mixed_type=True).max_nbor_size == (3,)


def test_most_of_all_types_is_not_the_sum_of_the_mosts():
    line = chain()
    line.types = np.array([0, 0, 1, 1, -1, 0])
    assert neighbor_stat([line], 1.45, OH, mixed_type=True).max_nbor_size == (1,)
    assert neighbor_stat([line], 1.45, OH).max_nbor_size == (1, 1)


def test_no_pairs():
    got = neighbor_stat([chain()], 0.1, OH)
    assert got.max_nbor_size == (0, 0) and got.min_nbor_dist == np.inf
    assert suggest_sel(got) == (0, 0)
    assert neighbor_stat([], 1.0, OH).max_nbor_size == (0, 0)


def test_several_systems_and_progress():
    systems = [make_system(seed=s, mixed=s == 1) for s in range(3)]
    seen = []
    whole = neighbor_stat(systems, 4.0, OH, progress=lambda *at: seen.append(at), workers=2)
    parts = [neighbor_stat([s], 4.0, OH, workers=1) for s in systems]
    np.testing.assert_array_equal(whole.max_nbor_size, np.max([p.max_nbor_size for p in parts], axis=0))
    assert whole.min_nbor_dist == min(p.min_nbor_dist for p in parts)
    assert seen[-1] == (15, 15)


def test_overlap_is_an_error_that_names_the_frame():
    bad = make_system(name="bad")
    bad.coords[1, 0] = bad.coords[1, 1]
    with pytest.raises(DataError, match="system bad, frame 1"):
        neighbor_stat([bad], 4.0, OH)


@pytest.mark.parametrize(
    ("counts", "auto", "want"),
    [
        ((37, 72), "auto", (40, 80)),
        ((37, 72), "auto:1.1", (40, 80)),
        ((37, 72), "auto:1.3", (48, 96)),
        ((40,), "auto:1.0", (40,)),
        ((41,), "auto:1", (44,)),
        ((19, 0), "auto", (20, 0)),  # 20.9 is cut to 20 before it is rounded up
    ],
)
def test_suggestion(counts, auto, want):
    assert suggest_sel(stat(*counts), auto) == want
    assert update_sel(auto, stat(*counts)) == want


@pytest.mark.parametrize("auto", ["automatic", "auto:", "auto:x", "auto:0.5", "auto:inf", "auto:nan", ""])
def test_bad_auto(auto):
    with pytest.raises(ConfigError, match="model/descriptor/sel.*auto"):
        update_sel(auto, stat(3, 4))


def test_small_sel_warns_once_with_type_and_numbers(caplog):
    with caplog.at_level(logging.WARNING):
        assert update_sel([40, 64], stat(37, 72)) == (40, 64)
    (record,) = caplog.records
    text = record.getMessage()
    assert "H: sel 64, found 72" in text and "O" not in text.split("(")[1] and "[40, 80]" in text


@pytest.mark.parametrize(("sel", "counts"), [([40, 72], (37, 72)), (109, (109,)), ([40, 72], (112,))])
def test_large_enough_sel_is_silent(sel, counts, caplog):
    with caplog.at_level(logging.WARNING):
        update_sel(sel, stat(*counts))
    assert not caplog.records


def test_small_mixed_sel_warns(caplog):
    with caplog.at_level(logging.WARNING):
        assert update_sel([40, 60], stat(109)) == (40, 60)
    assert "all types: sel 100, found 109" in caplog.text


def test_wrong_number_of_entries():
    with pytest.raises(ConfigError, match=r"sel: 1 entries, but type_map has 2 \(O, H\)"):
        update_sel([40], stat(37, 72))


def test_a_limit_takes_frames_from_everywhere_and_the_largest(caplog):
    systems = [make_system(n_frame=10, seed=s, n_atom=20 if s == 7 else 4, name=str(s)) for s in range(10)]
    with caplog.at_level(logging.INFO):
        few = neighbor_stat(systems, 4.0, OH, limit=20)
    assert "20 of 100 frames" in caplog.text
    assert len(systems[7].reads) >= 10 and all(len(system.reads) >= 1 for system in systems)
    assert sum(len(system.reads) for system in systems) == 20
    assert few.max_nbor_size == neighbor_stat(systems, 4.0, OH).max_nbor_size


@dataclass(eq=False)
class NpySystem:
    """Frames of a deepmd/npy folder, read plainly."""

    coords: np.ndarray
    types: np.ndarray
    boxes: np.ndarray | None
    name: str

    @property
    def n_frame(self):
        return len(self.coords)

    def frame_types(self, frame):
        return self.types

    def coord(self, frame):
        return self.coords[frame]

    def cell(self, frame):
        return None if self.boxes is None else self.boxes[frame]


def read_npy(folder):
    def read(name):
        return np.concatenate([np.load(p).reshape(-1, p_width) for p in sorted(folder.glob(f"set.*/{name}.npy"))])

    types = np.loadtxt(folder / "type.raw", dtype=int).reshape(-1)
    p_width = 3 * len(types)
    coords = read("coord").reshape(-1, len(types), 3)
    p_width = 9
    boxes = None if (folder / "nopbc").exists() else read("box").reshape(-1, 3, 3)
    return NpySystem(coords, types, boxes, str(folder))


def test_equals_the_reference():
    cases = json.loads(shared("golden", "training", "stats", "index.json").read_text())["neighbours"]
    for case in cases:
        systems = [read_npy(shared("data", *name.split("/"))) for name in case["systems"]]
        got = neighbor_stat(systems, case["rcut"], OH, case["mixed_type"])
        assert list(got.max_nbor_size) == case["max_nbor_size"]
        assert got.min_nbor_dist == pytest.approx(case["min_nbor_dist"], rel=1e-6)  # the reference's is in float32
        for auto in ("auto", "auto:1.1", "auto:1.3"):
            assert list(suggest_sel(got, auto)) == case[f"sel {auto}"]
