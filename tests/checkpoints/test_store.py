"""Checkpoints survive kills, damage and full disks, and come back bit by bit."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.checkpoints import POINTER, CheckpointStore, folder, is_checkpoint, load_checkpoint
from dpjax.errors import ModelError, OutputError

# Orbax leaves futures of a failed read behind, which complain when its event loop has gone
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

META = {"config": {"model": {"type_map": ["O", "H"], "x": None}}, "sampler": {"position": [1, 2]}, "rate": 0.1}


def tree(value: float = 1.0 / 3.0) -> dict:
    return {
        "step": np.int32(7),
        "params": {
            "net": {"matrix": jnp.full((40, 3), value), "b": np.arange(3, dtype=np.float32), "none": np.zeros((0, 3))},
            "half": np.ones(3, jnp.bfloat16),
            "nothing": {},
        },
        "opt_state": {"00000": np.asarray(2**40, np.int64)},
    }


def assert_same(left: dict, right: dict) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def data_files(path) -> list:
    return [p for p in path.rglob("*") if p.is_file() and p.parent.name == "d"]


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path, keep=2)


def test_round_trip_keeps_bits_dtypes_and_structure(store):
    path = store.save(7, tree(), META)
    arrays, meta = store.restore()
    assert_same(arrays, tree())
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(arrays))
    assert meta == META
    assert path.name == "model.ckpt-7" and is_checkpoint(path) and not is_checkpoint(path.parent)
    assert_same(load_checkpoint(path)[0], tree())


def test_restore_is_exact_without_x64(store):
    want = tree()
    store.save(7, want, META)
    with jax.enable_x64(False):
        arrays, _ = store.restore()
        store.save(8, arrays, META)
    assert_same(arrays, want)
    assert_same(store.restore(8)[0], want)


def test_a_tree_without_arrays_can_be_saved(store):
    store.save(0, {"params": {}}, {})
    assert store.restore() == ({"params": {}}, {})


def test_keeps_the_newest_and_names_it(store, tmp_path):
    for step in (1, 2, 10):
        store.save(step, tree(step), META)
    assert store.steps() == [2, 10] and store.latest_step() == 10
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-10\n"
    assert_same(store.restore(2)[0], tree(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "model.ckpt-10", "model.ckpt-2"]


def test_keep_zero_keeps_all(tmp_path):
    store = CheckpointStore(tmp_path, keep=0)
    for step in range(4):
        store.save(step, {"a": np.ones(1)}, {})
    assert store.steps() == [0, 1, 2, 3]


def test_going_back_removes_the_abandoned_continuation(store):
    for step in (10, 20):
        store.save(step, tree(step), META)
    store.save(15, tree(15), META)
    assert store.steps() == [10, 15] and store.latest_step() == 15


def test_other_prefixes_are_left_alone(store, tmp_path):
    other = CheckpointStore(tmp_path, prefix="model.ckpt-best", keep=1)
    other.save(1, tree(), META)
    for step in (1, 2, 3):
        store.save(step, tree(), META)
    assert other.steps() == [1] and store.steps() == [2, 3]


def test_a_prefix_may_name_a_folder(tmp_path):
    store = CheckpointStore(tmp_path, prefix="saved/net")
    assert store.save(3, tree(), META) == tmp_path / "saved" / "net-3"
    assert store.latest_step() == 3


def test_saving_the_same_step_again_replaces_it(store, tmp_path):
    store.save(5, tree(1.0), META)
    store.save(5, tree(2.0), META)
    assert_same(store.restore()[0], tree(2.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "model.ckpt-5"]


def test_a_kill_between_the_renames_of_a_replacement_loses_nothing(store, tmp_path):
    store.save(5, tree(1.0), META)
    (tmp_path / "model.ckpt-5").rename(tmp_path / "model.ckpt-5.new")
    assert_same(store.restore()[0], tree(1.0))


def test_partial_saves_are_invisible_and_cleaned(store, tmp_path):
    store.save(5, tree(), META)
    shutil.copytree(tmp_path / "model.ckpt-5", tmp_path / f"model.ckpt-6{folder.TEMPORARY}")
    (tmp_path / "model.ckpt-9").mkdir()
    assert store.steps() == [5] and store.latest_step() == 5
    store.save(7, tree(), META)
    assert not (tmp_path / f"model.ckpt-6{folder.TEMPORARY}").exists()


def test_a_save_that_dies_leaves_the_earlier_ones(store, tmp_path, monkeypatch):
    store.save(5, tree(), META)

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("orbax.checkpoint._src.path.async_path.rename", die)  # the commit never happens
    with pytest.raises(KeyboardInterrupt):
        store.save(6, tree(), META)
    monkeypatch.undo()
    assert store.steps() == [5] and store.latest_step() == 5
    assert_same(store.restore()[0], tree())
    store.save(6, tree(), META)
    assert store.steps() == [5, 6]


def test_a_lost_pointer_does_not_matter(store, tmp_path):
    for step in (1, 2):
        store.save(step, tree(step), META)
    (tmp_path / "checkpoint").unlink()
    assert store.latest_step() == 2
    (tmp_path / "checkpoint").write_text("model.ckpt-77\n")
    assert store.latest_step() == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no arrays", "no manifest", "bad json"])
def test_damage_falls_back_with_a_warning_that_names_it(store, damage):
    store.save(1, tree(1.0), META)
    store.save(2, tree(2.0), META)
    _damage(store.path(2), damage)
    with pytest.warns(UserWarning, match=r"model\.ckpt-2: this checkpoint is damaged.*model\.ckpt-1 instead"):
        arrays, _ = store.restore()
    assert_same(arrays, tree(1.0))
    with pytest.raises(ModelError, match=r"model\.ckpt-2: this checkpoint is damaged"):
        store.restore(2)


def _damage(path, kind):
    if kind == "truncated":
        for file in data_files(path):
            file.write_bytes(file.read_bytes()[:-20])
    elif kind == "flipped":
        for file in data_files(path):
            blob = bytearray(file.read_bytes())
            blob[len(blob) // 2] ^= 0xFF
            file.write_bytes(bytes(blob))
    elif kind == "no arrays":
        shutil.rmtree(path / folder.ARRAYS)
    elif kind == "no manifest":
        for file in path.rglob("manifest.ocdbt"):
            file.unlink()
    else:
        (path / folder.META / "metadata").write_text('{"format": 1, "mani')


def test_damage_of_the_only_one_is_an_error(store):
    store.save(1, tree(), META)
    _damage(store.path(1), "truncated")
    with pytest.raises(ModelError, match=r"model\.ckpt-1: this checkpoint is damaged"):
        store.restore()


def test_nothing_to_restore(store):
    with pytest.raises(ModelError, match="steps found here: none"):
        store.restore()
    store.save(1, tree(), META)
    with pytest.raises(ModelError, match=r"model\.ckpt-4 .*steps found here: 1"):
        store.restore(4)
    with pytest.raises(ModelError, match="not a checkpoint folder"):
        load_checkpoint(store.directory)


def test_a_full_disk_is_reported_and_harms_nothing(store):
    store.save(1, tree(), META)
    rng = np.random.default_rng(0)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OutputError, match=r"model\.ckpt-2: could not save the checkpoint"):
            store.save(2, {"a": rng.random(100_000)}, META)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert store.steps() == [1]
    assert sorted(p.name for p in store.directory.iterdir()) == ["checkpoint", "model.ckpt-1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(store.restore()[0], tree())


def test_a_disk_that_is_full_for_the_name_of_the_newest_leaves_the_one_before(store, monkeypatch):
    store.save(1, tree(1.0), META)
    write_text = Path.write_text

    def full_for_the_pointer(path, *args, **kwargs):
        if POINTER in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_text(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full_for_the_pointer)
        with pytest.raises(OutputError, match=r"model\.ckpt-2: could not save the checkpoint.*No space left on device"):
            store.save(2, tree(2.0), META)
    assert store.steps() == [1, 2] and store.latest_step() == 1
    assert_same(store.restore()[0], tree(1.0))
    store.save(2, tree(3.0), META)
    assert_same(store.restore()[0], tree(3.0))
    assert store.steps() == [1, 2]


def test_an_unwritable_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file.*model\.ckpt-1: could not save"):
        CheckpointStore(tmp_path / "file").save(1, tree(), META)


def test_meta_that_is_not_json_is_refused(store):
    with pytest.raises(OutputError, match="JSON serializable"):
        store.save(1, tree(), {"bad": object()})
    assert store.steps() == []
