"""HDF5 systems: the same as the directory they were made from, read frame by frame, with the same errors."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from dpjax.data import find_systems, hdf5, label_requirements, load_systems, open_system
from dpjax.errors import DataError
from tests.data.writing import TYPE_MAP, TYPES, data_section, random_set, write_system

ENERGY = label_requirements(("energy", "force", "virial"))
NAMES = ("coord", "box", "energy", "force", "virial")


def write_group(
    file: Path, group: str, *sets: dict[str, np.ndarray], types=TYPES, type_map=TYPE_MAP, nopbc=False, **options
) -> Path:
    """The group of an HDF5 file that ``write_system`` would write as a directory; returns its path as in ``systems``."""
    with h5py.File(file, "a") as h5:
        own = h5.require_group(group)
        own["type.raw"] = np.array(types)
        if type_map:
            own["type_map.raw"] = list(type_map)
        if nopbc:
            own["nopbc"] = True
        for number, arrays in enumerate(sets or (random_set(3, 1), random_set(2, 2))):
            for name, values in arrays.items():
                own.create_dataset(f"set.{number:03d}/{name}.npy", data=values, **options)
    return Path(f"{file}#/{group}")


def failure(path, read: bool = False, type_map=TYPE_MAP) -> str:
    with pytest.raises(DataError) as caught:
        system = open_system(path, type_map, ENERGY)
        if read:
            system.arrays(range(system.n_frame), NAMES)
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_equal_to_the_directory(tmp_path, options):
    group = open_system(write_group(tmp_path / "a.h5", "water", **options), TYPE_MAP, ENERGY)
    folder = open_system(write_system(tmp_path / "water"), TYPE_MAP, ENERGY)
    for frames in ([0, 1, 2, 3, 4], [4, 0, 3, 0], [2]):
        got, want = group.arrays(frames, NAMES), folder.arrays(frames, NAMES)
        for name in NAMES:
            assert np.array_equal(got[name], want[name]), name
    assert group.found == folder.found and np.array_equal(group.frame_types(0), folder.frame_types(0))


def test_single_frames_without_frame_axis_and_scalars(tmp_path):
    arrays = {name: values[0] for name, values in random_set(1).items()}
    system = open_system(write_group(tmp_path / "a.h5", "one", arrays), TYPE_MAP, ENERGY)
    assert system.n_frame == 1
    assert system.arrays([0, 0], ["energy"])["energy"].tolist() == [[arrays["energy"]]] * 2
    assert system.content_hash()


def test_a_bare_file_stands_for_its_groups(tmp_path):
    for name in ("b", "a", "deep/inside"):
        write_group(tmp_path / "data.hdf5", name)
    found = find_systems(["data.hdf5", "data.hdf5#/deep/inside"], base=tmp_path)
    assert [str(path) for path in found] == ["data.hdf5#/a", "data.hdf5#/b", "data.hdf5#/deep/inside"]
    systems = load_systems(data_section(["data.hdf5"]), TYPE_MAP, ENERGY, tmp_path)
    assert [system.name for system in systems] == ["data.hdf5#/a", "data.hdf5#/b"]


def test_a_file_that_is_one_system(tmp_path):
    write_group(tmp_path / "one.h5", "/")
    assert [str(path) for path in find_systems(tmp_path / "one.h5")] == [f"{tmp_path}/one.h5#"]
    (system,) = load_systems(data_section([str(tmp_path / "one.h5")]), TYPE_MAP, ENERGY)
    assert system.n_frame == 5


def test_few_files_stay_open(tmp_path):
    paths = [write_group(tmp_path / f"{i}.h5", "s") for i in range(2 * hdf5.OPEN)]
    systems = [open_system(path, TYPE_MAP, ENERGY) for path in paths]
    assert all(np.isfinite(system.coord(1)).all() for system in systems)
    assert len(hdf5._files) <= hdf5.OPEN


def test_several_threads_may_read(tmp_path):
    system = open_system(write_group(tmp_path / "a.h5", "s", random_set(50)), TYPE_MAP, ENERGY)
    want = system.arrays(range(50), ["force"])["force"]
    wrong = []

    def read(seed: int) -> None:
        for frame in np.random.default_rng(seed).permutation(50):
            if not np.array_equal(system.arrays([frame], ["force"])["force"][0], want[frame]):
                wrong.append(frame)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


def test_content_hash_is_of_the_data_alone(tmp_path):
    one = open_system(write_group(tmp_path / "a.h5", "x"), TYPE_MAP, ENERGY)
    same = open_system(write_group(tmp_path / "b.h5", "y/z"), TYPE_MAP, ENERGY)
    other = open_system(write_group(tmp_path / "c.h5", "x", random_set(3, 1), random_set(2, 3)), TYPE_MAP, ENERGY)
    assert one.content_hash() == same.content_hash() != other.content_hash()


def replace(group: h5py.Group, name: str, values) -> None:
    del group[name]
    group[name] = values


@pytest.mark.parametrize("change, parts", [
    (lambda own: own.pop("set.001/force.npy"), ["set.001/force.npy is missing", "set.000/force.npy exists", "all sets"]),
    (lambda own: own.pop("set.000/coord.npy"), ["set.000/coord.npy is missing", "(frames, 9)"]),
    (lambda own: own.pop("type.raw"), ["type.raw is missing", "one integer type per atom"]),
    (lambda own: [own.pop("set.000"), own.pop("set.001")], ["no groups set.*", "type.raw"]),
    (lambda own: [own.pop(f"set.00{i}/box.npy") for i in (0, 1)], ["set.000/box.npy is missing", "nopbc"]),
    (lambda own: replace(own, "set.000/force.npy", np.zeros((2, 9))),
     ["set.000/force.npy has 2 frames", "coord.npy beside it has 3"]),
    (lambda own: replace(own, "set.000/energy.npy", ["a", "b", "c"]),
     ["set.000/energy.npy holds values of dtype object", "plain numbers"]),
])  # fmt: skip
def test_mistakes_are_named(tmp_path, change, parts):
    path = write_group(tmp_path / "a.h5", "water")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        change(file["water"])
    message = failure(path)
    assert f"{tmp_path}/a.h5#/water" in message
    for part in parts:
        assert part in message, message


def test_not_finite(tmp_path):
    arrays = random_set(3)
    arrays["force"][1, 4] = np.nan
    message = failure(write_group(tmp_path / "a.h5", "water", arrays), read=True)
    assert f"{tmp_path}/a.h5#/water/set.000/force.npy: frame 1, atom 1" in message


def test_no_such_group(tmp_path):
    write_group(tmp_path / "a.h5", "water")
    assert "a.h5#/ice is not a group" in (message := failure(Path(f"{tmp_path}/a.h5#/ice"))) and "water" in message
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["deep/inside/type.raw"] = [0]
    with pytest.raises(DataError, match="b.h5 has no system at its top level.*deep"):
        find_systems(tmp_path / "b.h5")


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, -1])
def test_truncated(tmp_path, keep):
    path = write_group(tmp_path / "a.h5", "water", random_set(200))
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    message = failure(path, read=True)
    assert f"{tmp_path}/a.h5" in message and "copy or convert it again" in message
