"""``numb_copy.npy``: how often a pass through the data takes each frame."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.data import Sampler, open_system
from dpjax.errors import DataError
from tests.data.test_hdf5 import write_group
from tests.data.writing import TYPE_MAP, data_section, random_set, write_system


def system(folder, *copies):
    """Two sets of 3 and 2 frames; None leaves a set without the file."""
    sets = [random_set(3, 1), random_set(2, 2)]
    for arrays, values in zip(sets, copies, strict=True):
        if values is not None:
            arrays["numb_copy"] = np.array(values)
    return open_system(write_system(folder, *sets), TYPE_MAP, [])


def test_a_pass_takes_each_frame_as_often_as_it_says(tmp_path):
    """A set without the file has its frames once; probabilities and epochs count the copies, too."""
    copied = system(tmp_path / "copied", [[2], [0], [3]], None)
    assert copied.copies.tolist() == [2, 0, 3, 1, 1]
    plain = system(tmp_path / "plain", None, None)
    assert plain.copies is None
    sampler = Sampler([copied, plain], data_section(None, batch_size=2), seed=1)
    assert sampler.batches_per_system == (4, 3)
    assert sampler.probabilities.tolist() == [4 / 7, 3 / 7] and sampler.steps_per_epoch == 7
    alone = Sampler([copied], data_section(None, batch_size=2), seed=1)
    one, other = (np.concatenate([alone.next()[1] for _ in range(4)]).tolist() for _ in range(2))
    assert sorted(one) == sorted(other) == [0, 0, 2, 2, 2, 3, 4] and one != other
    assert alone.state()["frames"] == [7]


def test_in_a_file_of_groups(tmp_path):
    path = write_group(tmp_path / "data.h5", "s", random_set(3) | {"numb_copy": np.array([1, 4, 1])})
    assert open_system(path, TYPE_MAP, []).copies.tolist() == [1, 4, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "numb_copy.npy: found 2 values, expected for each of the 3 frames"),
        ([1, -2, 1], "numb_copy.npy: found -2, expected"),
        ([1, 0.5, 1], "found 0.5, expected .* a whole number"),
        ([0, 0, 0], "numb_copy is 0 for all frames"),
    ],
)
def test_mistakes_are_named(tmp_path, values, message):
    opened = system(tmp_path / "s", values, [0, 0])
    with pytest.raises(DataError, match=message):
        Sampler([opened], data_section(None), seed=1)
