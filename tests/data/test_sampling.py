"""Batch sizes, probabilities and epochs against DeePMD-kit's tables; the sampler's determinism and statistics."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dpjax.data import (
    BatchSizes,
    Sampler,
    batch_sizes,
    steps_of_epochs,
    steps_per_epoch,
    system_probabilities,
)
from dpjax.errors import ConfigError, DataError
from tests.data.writing import data_section
from tests.shared import golden

TABLES = json.loads(golden("data", "sampling.json").read_text())
N_ATOM = [system["natoms"] for system in TABLES["batch_size_systems"]]
N_FRAME = [sum(system["frames_per_set"]) for system in TABLES["batch_size_systems"]]


def systems(*sizes: tuple[int, int]) -> list[SimpleNamespace]:
    """Stand-ins with (frames, atoms)."""
    return [SimpleNamespace(name=f"s{i}", n_frame=f, n_atom=n) for i, (f, n) in enumerate(sizes)]


def sampler(seed: int = 7, sizes=((7, 3), (4, 5), (30, 4)), **rules) -> Sampler:
    return Sampler(systems(*sizes), data_section(None, **({"batch_size": 3} | rules)), seed)


def take(source: Sampler, count: int) -> list[tuple[int, list[int]]]:
    return [(system, frames.tolist()) for system, frames in (source.next() for _ in range(count))]


@pytest.mark.parametrize(
    "row", TABLES["probabilities"], ids=lambda row: str(row.get("auto_prob", row.get("sys_probs")))
)
def test_probabilities(row):
    got = system_probabilities(row["number_of_batches"], row.get("auto_prob", "unused"), row.get("sys_probs"))
    np.testing.assert_allclose(got, row["normalised"], rtol=1e-14)


@pytest.mark.parametrize("row", TABLES["sys_probs_errors"], ids=lambda row: row["why"])
def test_rejected_sys_probs(row):
    with pytest.raises(ConfigError, match="training/training_data/sys_probs.* expected"):
        system_probabilities(row["number_of_batches"], sys_probs=row["sys_probs"])


@pytest.mark.parametrize("rule", [
    "prob_sys_size;0:1", "prob_sys_size;0:3:1", "prob_sys_size;1:1:1", "prob_sys_size;0:2:1;1:2:1", "prob_sys_size;0:2:-1",
    "prob_sys_size;0:2:0", "uniform",
])  # fmt: skip
def test_rejected_auto_prob(rule):
    with pytest.raises(ConfigError, match="training/training_data/auto_prob"):
        system_probabilities([1, 2], rule)


def test_sys_probs_of_another_length():
    with pytest.raises(ConfigError, match="has 1 entries, but 2 systems"):
        system_probabilities([1, 2], sys_probs=[1.0])


@pytest.mark.parametrize("row", TABLES["batch_sizes"], ids=lambda row: str(row["batch_size"]))
def test_batch_sizes(row):
    want = row["training_loader"]
    if row["batch_size"] == "mixed:4":  # DeePMD-kit's PyTorch trainer refuses the rule; here it draws single frames
        assert batch_sizes(row["batch_size"], N_ATOM, N_FRAME) == BatchSizes((*range(6),), (1,) * 6, tuple(N_FRAME), 4)
        return
    if "rejected" in want:
        with pytest.raises(ConfigError, match="training/training_data/batch_size is"):
            batch_sizes(row["batch_size"], N_ATOM, N_FRAME)
        return
    got = batch_sizes(row["batch_size"], N_ATOM, N_FRAME)
    assert [list(got.kept), list(got.sizes), list(got.batches)] == [
        want["kept_systems"], want["batch_sizes"], want["batches_per_system"],
    ]  # fmt: skip
    np.testing.assert_allclose(system_probabilities(got.batches), want["probability_prob_sys_size"], rtol=1e-14)


@pytest.mark.parametrize("rule", [0, -1, True, [1, 2], [1, 2, 0], "max", "auto:0", "max:x"])
def test_rejected_batch_sizes(rule):
    with pytest.raises(ConfigError, match="training/training_data/batch_size"):
        batch_sizes(rule, [3, 4, 5], [1, 1, 1])


@pytest.mark.parametrize("row", TABLES["epochs"], ids=lambda row: f"{row['numb_epoch']}x{row['batches_per_system']}")
def test_epochs(row):
    assert steps_per_epoch(row["batches_per_system"], row["probabilities"]) == row["total_numb_batch"]
    assert steps_of_epochs(row["numb_epoch"], row["batches_per_system"], row["probabilities"]) == row["num_steps"]


def test_each_pass_gives_every_frame_once_and_keeps_the_short_batch():
    source = sampler()
    seen: dict[int, list] = {0: [], 1: [], 2: []}
    for system, frames in take(source, 400):
        seen[system].append(frames)
    for system, (n_frame, n_batch) in enumerate([(7, 3), (4, 2), (30, 10)]):
        assert source.batches_per_system[system] == n_batch
        passes = [sum(seen[system][i : i + n_batch], []) for i in range(0, len(seen[system]) - n_batch, n_batch)]
        assert len(passes) > 3
        assert all(sorted(frames) == list(range(n_frame)) for frames in passes)
        assert len({tuple(frames) for frames in passes}) > 1  # shuffled anew


def test_same_seed_same_batches_other_seed_other_batches():
    assert take(sampler(3), 50) == take(sampler(3), 50) != take(sampler(4), 50)


@pytest.mark.parametrize("step", [0, 1, 37, 1024, 2500])
def test_restored_sampler_continues_exactly(step):
    source = sampler()
    take(source, step)
    state = json.loads(json.dumps(source.state()))
    other = sampler()
    take(other, 11)
    assert other.restore(state)
    assert other.step == step
    assert take(other, 40) == take(source, 40)


def test_restoring_onto_changed_data_goes_on_at_the_same_step_and_says_so():
    state = sampler().state() | {"step": 20}
    larger = sampler(sizes=((7, 3), (4, 5), (31, 4)))
    assert not larger.restore(state)
    assert larger.step == 20 and len(take(larger, 5)) == 5


def test_foreign_state_is_refused():
    with pytest.raises(DataError, match="sampler state"):
        sampler().restore({"step": 3})


def test_systems_are_drawn_by_their_probability():
    source = sampler(auto_prob="prob_sys_size;0:2:0.2;2:3:0.8")
    drawn = np.bincount([system for system, _ in take(source, 20000)], minlength=3) / 20000
    np.testing.assert_allclose(drawn, source.probabilities, atol=0.012)  # 4 standard deviations


def test_system_with_probability_zero_is_never_drawn():
    for probs in ([0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]):
        drawn = {system for system, _ in take(sampler(sys_probs=probs), 3000)}
        assert drawn == {i for i, p in enumerate(probs) if p > 0}


def test_batch_larger_than_the_system_has_all_its_frames():
    source = sampler(sizes=((4, 3),), batch_size=100)
    assert [sorted(frames) for _, frames in take(source, 3)] == [[0, 1, 2, 3]] * 3


def test_filtered_systems_keep_their_positions():
    source = sampler(sizes=((5, 50), (5, 3), (5, 60), (5, 4)), batch_size="filter:10")
    assert source.kept == (1, 3)
    assert {system for system, _ in take(source, 200)} == {1, 3}


def test_steps_of_epochs_of_a_sampler():
    source = sampler()  # 3 + 2 + 10 batches, proportional probabilities
    assert source.steps_per_epoch == 15 and source.steps_of_epochs(2.5) == 38


def test_a_mixed_batch_draws_each_frame_by_itself():
    def fresh() -> Sampler:
        return sampler(sizes=((4, 3), (1, 5)), batch_size="mixed:3")

    source = fresh()
    assert source.probabilities.tolist() == [0.8, 0.2]
    assert source.steps_per_epoch == 2  # five frames, three at a time
    seen = [source.next_batch() for _ in range(40)]
    assert all(sum(len(frames) for _, frames in parts) == 3 for parts in seen)
    assert {len(parts) for parts in seen} == {1, 2}
    again = fresh()
    again.seek(60)
    assert [(s, f.tolist()) for s, f in again.next_batch()] == [(s, f.tolist()) for s, f in seen[20]]
