"""The search for systems: deterministic order, patterns, and errors that list what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjax.data import find_systems, load_systems
from dpjax.errors import DataError
from tests.data.writing import TYPE_MAP, data_section, write_system


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("z/deep/one", "b", "a", "parent/child"):
        write_system(tmp_path / "data" / name)
    (tmp_path / "data" / "parent" / "type.raw").write_text("1 0 1")  # a system that has another below it
    return tmp_path


def test_sorted_below_an_entry_and_the_entry_itself_last(tree):
    assert find_systems("data", base=tree) == [
        Path("data", p) for p in ("a", "b", "parent", "parent/child", "z/deep/one")
    ]
    assert find_systems("data/parent", base=tree) == [Path("data/parent/child"), Path("data/parent")]


def test_entries_keep_their_order(tree):
    assert find_systems(["data/z", "data/a", "data/b"], base=tree) == [
        Path("data/z/deep/one"), Path("data/a"), Path("data/b"),
    ]  # fmt: skip


def test_patterns_restrict_the_search(tree):
    assert find_systems("data", ["parent", "z/**/*"], base=tree) == [Path("data/parent"), Path("data/z/deep/one")]
    with pytest.raises(DataError, match="nothing_like_this"):
        find_systems("data", ["nothing_like_this"], base=tree)


def test_linked_systems_are_found(tree):
    (tree / "links").mkdir()
    (tree / "links" / "here").symlink_to(tree / "data" / "a", target_is_directory=True)
    assert find_systems("links", base=tree) == [Path("links/here")]


def test_names_are_as_given_and_paths_start_from_base(tree):
    systems = load_systems(data_section(("data/b", str(tree / "data" / "a"))), TYPE_MAP, (), tree)
    assert [system.name for system in systems] == ["data/b", str(tree / "data" / "a")]
    assert [system.n_frame for system in systems] == [5, 5]


def test_empty_list():
    with pytest.raises(DataError, match="empty list"):
        find_systems([])


def test_entry_that_does_not_exist(tree):
    with pytest.raises(DataError, match="data/nowhere is not a directory"):
        find_systems(["data/a", "data/nowhere"], base=tree)


def test_nothing_found_lists_what_is_there(tree):
    (tree / "data" / "a" / "type.raw").unlink()
    with pytest.raises(DataError) as caught:
        find_systems("data/a", base=tree)
    for part in (str(tree / "data" / "a" / "type.raw"), "set.000", "one integer type per atom"):
        assert part in str(caught.value)
