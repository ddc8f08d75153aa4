"""Statistics kept between runs."""

from __future__ import annotations

import h5py
import jax
import numpy as np
import pytest

from dpjax.config import load
from dpjax.errors import ConfigError, DataError
from dpjax.training import environment
from dpjax.training.setup import prepare
from tests.training import tiny


@pytest.fixture
def system(tmp_path):
    return tiny.system(tmp_path / "system")


def stats(config):
    return prepare(load(config)).variables["stats"]


@pytest.fixture
def computed(monkeypatch):
    """Counts how often the environment statistics are computed."""
    calls, original = [], environment.environment_statistics
    monkeypatch.setattr(environment, "environment_statistics", lambda *args: calls.append(1) or original(*args))
    return calls


@pytest.mark.parametrize("name", ["stat.h5", "stat.hdf5", "stat", "new/folder/stat.h5"])
def test_computed_once(system, tmp_path, name, computed):
    config = tiny.config([system], {"training/stat_file": str(tmp_path / name)})
    first, second = stats(config), stats(config)
    assert len(computed) == 1
    assert (tmp_path / name).is_dir() == (name == "stat")
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_what_is_stored_is_used(system, tmp_path):
    """Not only not computed again: the values come from the file, whatever the data are now."""
    edits = {"training/stat_file": str(tmp_path / "stat.h5")}
    first = stats(tiny.config([system], edits))
    second = stats(tiny.config([tiny.system(tmp_path / "other", seed=5)], edits))
    np.testing.assert_array_equal(first["descriptor"]["davg"], second["descriptor"]["davg"])
    np.testing.assert_array_equal(first["out_bias"], second["out_bias"])


@pytest.mark.parametrize(
    "edits",
    [
        {"model/descriptor/rcut": 3.2},
        {"model/descriptor/exclude_types": [[0, 0]]},
        {"model/descriptor/set_davg_zero": True},
        {"model/pair_exclude_types": [[0, 1]]},
        {"model/atom_exclude_types": [0]},
        {"model/fitting_net/atom_ener": [-4.0, None]},
    ],
)
def test_a_model_with_other_statistics_computes_its_own(system, tmp_path, edits, computed):
    here = {"training/stat_file": str(tmp_path / "stat.h5")}
    stats(tiny.config([system], here))
    kept, fresh = stats(tiny.config([system], here | edits)), stats(tiny.config([system], edits))
    assert len(computed) == 3
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(fresh), strict=True):
        np.testing.assert_array_equal(a, b)


def test_network_sizes_do_not_matter(system, tmp_path, computed):
    here = {"training/stat_file": str(tmp_path / "stat.h5")}
    stats(tiny.config([system], here))
    stats(tiny.config([system], here | {"model/descriptor/neuron": [5, 10], "model/fitting_net/neuron": [7]}))
    assert len(computed) == 1


def test_damaged(system, tmp_path):
    path = tmp_path / "stat.h5"
    config = tiny.config([system], {"training/stat_file": str(path)})
    stats(config)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"training/stat_file: .*stat\.h5 is not a readable HDF5 file") as caught:
        stats(config)
    assert "\n" not in str(caught.value)


def test_a_kill_while_it_is_written_leaves_the_file_as_it_was(system, tmp_path, monkeypatch, computed):
    path = tmp_path / "stat.h5"
    edits = {"training/stat_file": str(path)}
    config, other = tiny.config([system], edits), tiny.config([system], edits | {"model/descriptor/rcut": 3.2})

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", killed)
        with pytest.raises(KeyboardInterrupt):
            stats(config)
        assert not path.exists()
    stats(config)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", killed)
        with pytest.raises(KeyboardInterrupt):
            stats(other)
    assert path.read_bytes() == before
    computed.clear()
    stats(config)
    assert not computed


def test_a_place_that_cannot_be_written_costs_a_warning(system, tmp_path, caplog):
    (tmp_path / "file").touch()
    stats(tiny.config([system], {"training/stat_file": str(tmp_path / "file" / "stat.h5")}))
    assert "training/stat_file" in caplog.text
    assert "cannot be written" in caplog.text


def test_statistics_that_are_only_read(system, tmp_path, computed):
    path = tmp_path / "stat.h5"
    here = {"training/stat_file": str(path)}
    read = here | {"training/stat_file_mode": "read"}
    with pytest.raises(DataError, match=rf"training/stat_file: {path} does not exist, .* none are computed"):
        stats(tiny.config([system], read))
    assert not path.exists() and not computed
    first, before = stats(tiny.config([system], here)), path.read_bytes()
    path.chmod(0o444)
    second = stats(tiny.config([system], read))
    assert len(computed) == 1
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))
    with pytest.raises(DataError, match=rf"{path} holds no statistics \w+ of such a model"):
        stats(tiny.config([system], read | {"model/descriptor/rcut": 3.2}))
    assert path.read_bytes() == before


def test_reading_needs_a_file_and_a_known_mode(system):
    with pytest.raises(ConfigError, match="training/stat_file_mode: found 'read', but there is no stat_file"):
        load(tiny.config([system], {"training/stat_file_mode": "read"}))
    with pytest.raises(ConfigError, match="training/stat_file_mode: found 'write'"):
        load(tiny.config([system], {"training/stat_file": "s.h5", "training/stat_file_mode": "write"}))
