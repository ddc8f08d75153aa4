"""Statistics are taken from all frames, and from fewer where there are very many; no type is lost."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dpjax.data import Sampler
from dpjax.training import samples
from tests.data.writing import data_section


def systems(n: int, n_frame: int = 4) -> list[SimpleNamespace]:
    """Stand-ins of types 0 and 1; only the last holds type 2."""
    return [
        SimpleNamespace(name=f"s{i}", n_frame=n_frame, n_atom=3, mixed=False, found={"energy": 1.0},
                        types=np.array([0, 1, 2 if i == n - 1 else 1]))
        for i in range(n)
    ]  # fmt: skip


def test_few_frames_are_all_drawn():
    data = systems(5)
    drawn = samples.sampled_frames(Sampler(data, data_section(None, batch_size=2), 1), data, 10, 1)
    assert [(s, frames.tolist()) for s, frames in drawn] == [(s, [0, 1, 2, 3]) for s in range(5)]


def test_of_very_many_systems_some_are_drawn_and_every_type(monkeypatch):
    monkeypatch.setattr(samples, "ENVIRONMENT_FRAMES", 40)
    data = systems(1000)
    sampler = Sampler(data, data_section(None, batch_size=1), 1)
    for seed in range(3):
        drawn = samples.sampled_frames(sampler, data, 2, seed)
        assert 40 <= sum(len(frames) for _, frames in drawn) <= 42
        assert 999 in [system for system, _ in drawn]
    assert [s for s, _ in drawn] == sorted(s for s, _ in drawn)
    assert [s for s, _ in drawn] != [s for s, _ in samples.sampled_frames(sampler, data, 2, 0)]


@pytest.mark.parametrize("limit, chunk", [(1000, 1000), (1000, 3), (20, 1000), (2, 1000)])
def test_labelled_frames(monkeypatch, limit, chunk):
    monkeypatch.setattr(samples, "OUTPUT_FRAMES", limit)
    monkeypatch.setattr(samples, "CHUNK", chunk)
    data = systems(10, n_frame=7)
    data[3].found["energy"] = 0.0
    got: dict[str, list[int]] = {}
    for system, frames in samples.labelled_frames(data, "energy"):
        assert 0 < len(frames) <= chunk
        got.setdefault(system.name, []).extend(frames.tolist())
    assert len(got) == 9 and "s3" not in got
    number = 7 if limit == 1000 else max(1, 7 * limit // 63)
    assert all(len(set(frames)) == len(frames) == number for frames in got.values())
