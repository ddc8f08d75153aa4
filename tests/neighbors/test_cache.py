"""The cache returns what the search returns, once, from memory or from files, whatever happens to the files."""

from __future__ import annotations

import logging
import os
import threading

import numpy as np
import pytest

from dpjax.errors import DataError
from dpjax.neighbors import NeighborCache, search
from dpjax.neighbors import cache as cache_module
from dpjax.neighbors.frames import in_threads
from tests.neighbors.systems import make_system

RCUT = 4.0


def systems():
    return [make_system(name="a"), make_system(seed=1, cell=None, n_atom=9, name="b"), make_system(seed=2, mixed=True)]


def assert_right(cache, data):
    for s, system in enumerate(data):
        for f in range(system.n_frame):
            want = search(system.coords[f], system.frame_types(f), cache.n_type, cache.rcut, system.box)
            got = cache.table(s, f)
            for name in ("count", "index", "shift"):
                a, b = getattr(got, name), getattr(want, name)
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_each_frame_is_searched_once():
    data = systems()
    cache = NeighborCache(data, RCUT, 2)
    cache.table(0, 3)
    cache.build()
    assert_right(cache, data)
    assert_right(cache, data)
    assert sorted(data[0].reads) == [0, 1, 2, 3, 4]


def test_max_count_and_progress():
    data = systems()
    cache = NeighborCache(data, RCUT, 2)
    seen = []
    most = cache.max_count(progress=lambda done, total: seen.append((done, total)))
    counts = [cache.table(s, f).count for s in range(3) for f in range(5)]
    np.testing.assert_array_equal(most, np.max([c.max(axis=0) for c in counts], axis=0))
    np.testing.assert_array_equal(cache.max_count(mixed=True), [max(c.sum(axis=1).max() for c in counts)])
    assert seen == [(i + 1, 15) for i in range(15)]


def test_files_serve_the_next_run(tmp_path):
    data = systems()
    first = NeighborCache(data, RCUT, 2, tmp_path / "cache")
    most = first.max_count()
    assert_right(first, data)
    assert len(list((tmp_path / "cache").iterdir())) == 3
    again = systems()
    second = NeighborCache(again, RCUT, 2, tmp_path / "cache")
    assert_right(second, again)
    np.testing.assert_array_equal(second.max_count(), most)
    assert all(system.reads == [] for system in again)


@pytest.mark.parametrize("change", ["coord", "box", "types", "rcut", "n_type"])
def test_files_are_found_by_content(tmp_path, change):
    NeighborCache([make_system()], RCUT, 2, tmp_path).build()
    other, rcut, n_type = make_system(), RCUT, 2
    match change:
        case "coord":
            other.coords[2, 3, 1] += 0.5
        case "box":
            other.box = other.box * 1.1
        case "types":
            other.types = 1 - other.types
        case "rcut":
            rcut = 3.0
        case "n_type":
            n_type = 3
    cache = NeighborCache([other], rcut, n_type, tmp_path)
    cache.build()
    assert_right(cache, [other])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "flip end", "other"])
def test_damaged_file_is_replaced(tmp_path, caplog, damage):
    data = [make_system()]
    NeighborCache(data, RCUT, 2, tmp_path).build()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    broken = bytearray(whole)
    if damage.startswith("flip"):
        broken[-9 if damage == "flip end" else len(broken) // 2] ^= 1
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"x" * 99}.get(damage, bytes(broken)))
    cache = NeighborCache(data, RCUT, 2, tmp_path)
    with caplog.at_level(logging.WARNING):
        cache.build()
    assert "searched again" in caplog.text and "fake" in caplog.text
    assert_right(cache, data)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_folder_warns_and_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    data = systems()
    cache = NeighborCache(data, RCUT, 2, tmp_path / "file" / "cache")
    seen = []
    with caplog.at_level(logging.WARNING):
        cache.build(lambda done, total: seen.append(done))
    assert caplog.text.count("in memory only") == 1
    assert seen[-1] == 15
    assert_right(cache, data)


def test_full_disk_leaves_no_part_behind(tmp_path, caplog, monkeypatch):
    from dpjax.neighbors import store

    def full(self, table):
        with store._naming(self.path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.TableWriter, "append", full)
    data = systems()
    cache = NeighborCache(data, RCUT, 2, tmp_path)
    with caplog.at_level(logging.WARNING):
        cache.build()
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert_right(cache, data)


def test_memory_limit_recomputes_instead_of_growing(caplog):
    data = [make_system()]
    cache = NeighborCache(data, RCUT, 2, limit=3000)
    with caplog.at_level(logging.WARNING):
        most = cache.max_count()
    assert "memory limit" in caplog.text
    assert_right(cache, data)
    np.testing.assert_array_equal(most, NeighborCache(data, RCUT, 2).max_count())


def test_many_systems_share_files(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "FILES", 3)
    data = [make_system(n_frame=1 + i % 3, n_atom=5 + i, seed=i, mixed=i % 2 == 0) for i in range(8)]
    first = NeighborCache(data, RCUT, 2, tmp_path)
    most = first.max_count()
    assert len(list(tmp_path.iterdir())) == 3
    assert_right(first, data)
    again = [make_system(n_frame=1 + i % 3, n_atom=5 + i, seed=i, mixed=i % 2 == 0) for i in range(8)]
    second = NeighborCache(again, RCUT, 2, tmp_path)
    assert_right(second, again)
    np.testing.assert_array_equal(second.max_count(), most)
    assert all(system.reads == [] for system in again)


def test_a_folder_keeps_what_was_used_last(tmp_path):
    for seed in range(3):
        NeighborCache([make_system(seed=seed)], RCUT, 2, tmp_path).build()
    ages = dict(zip(sorted(tmp_path.iterdir()), range(3)))
    for path, age in ages.items():
        os.utime(path, ns=(age, age))
    size = max(path.stat().st_size for path in ages)
    new = [make_system(seed=9)]
    cache = NeighborCache(new, RCUT, 2, tmp_path, limit=3 * size)
    cache.build()
    left = set(tmp_path.iterdir())
    assert len(left) == 3 and min(ages, key=ages.get) not in left
    assert_right(cache, new)


def test_a_folder_that_is_too_small_for_the_data(tmp_path, caplog):
    data = [make_system(seed=seed, name=f"s{seed}") for seed in range(3)]
    NeighborCache(data[:1], RCUT, 2, tmp_path).build()
    (first,) = tmp_path.iterdir()
    cache = NeighborCache(data, RCUT, 2, tmp_path, limit=int(1.5 * first.stat().st_size))
    seen = []
    with caplog.at_level(logging.WARNING):
        most = cache.max_count(progress=lambda done, total: seen.append(done))
    assert "neighbor_cache_size" in caplog.text and "s1" in caplog.text and "s2" in caplog.text
    assert list(tmp_path.iterdir()) == [first] and seen[-1] == 15
    assert_right(cache, data)
    np.testing.assert_array_equal(most, NeighborCache(data, RCUT, 2).max_count())


def test_several_threads_may_ask():
    data = systems()
    cache = NeighborCache(data, RCUT, 2)
    threads = [threading.Thread(target=cache.build) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert_right(cache, data)


def test_errors_name_system_and_frame():
    bad = make_system(name="water/bad")
    bad.coords[3, 2] = bad.coords[3, 5]
    with pytest.raises(DataError, match="system water/bad, frame 3: atoms 2 and 5"):
        NeighborCache([bad], RCUT, 2).build()


def test_no_such_frame():
    with pytest.raises(IndexError, match="has 5 frames"):
        NeighborCache([make_system()], RCUT, 2).table(0, -1)


@pytest.mark.parametrize("workers", [1, 3])
def test_in_threads_keeps_the_order_and_passes_errors_on(workers):
    assert list(in_threads(lambda x: x * x, range(40), workers)) == [x * x for x in range(40)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda x: 1 // (20 - x), range(40), workers))
