"""Memory of the machine and of a container in it."""

from __future__ import annotations

import pytest

from dpjax import machine


@pytest.fixture
def container(monkeypatch, tmp_path):
    """Files of a container: limit, use and parts."""
    files = tuple(tmp_path / name for name in ("max", "current", "stat"))
    monkeypatch.setattr(machine, "_GROUPS", (files, (tmp_path / "none",) * 3))
    machine.whole_memory.cache_clear()
    yield files
    machine.whole_memory.cache_clear()


def test_free_memory_is_that_of_the_container(container):
    limit, used, parts = container
    whole = machine.free_memory()
    assert machine.LEAST <= whole < 1e15
    parts.write_text("anon 3000\nfile 200000000\n")
    used.write_text("300000000")
    limit.write_text("max")
    assert machine.free_memory() > 0.5 * whole
    limit.write_text("400000000")
    assert machine.free_memory() == 300_000_000


@pytest.mark.parametrize("limit", [None, "max", "400000000"])
def test_the_whole_is_what_there_is_or_what_the_container_may_use(container, limit):
    if limit is not None:
        container[0].write_text(limit)
    found = machine.whole_memory()
    assert found == 400_000_000 if limit == "400000000" else found >= machine.free_memory() > 400_000_000
