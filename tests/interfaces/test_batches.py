"""Batches of ``evaluate``: equal to one frame after another, in order, few programs, within bounds, on all devices."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces import batches, programs, stream
from tests.contracts.cases import model, potential, se_atten, se_e2_a
from tests.contracts.structures import Structure, make

SECTION = model(se_e2_a(), fitting={"numb_fparam": 1, "numb_aparam": 1})
DEVICE = jax.devices()[0]


def structures(number: int, seed: int = 0) -> list[Structure]:
    """Clusters and crystals of 1 to 24 atoms, with placeholders here and there."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(number):
        kind = "crystal" if i % 3 == 0 else "cluster"
        most = 6 if kind == "crystal" else 12
        own = make(kind, numbers=tuple(rng.integers(1, most, 2)), fparam=1, aparam=1, seed=100 * seed + i)
        hole = own.take([0]).replace(coord=np.full((1, 3), np.nan if i % 2 else 0.0), atype=np.array([-1]))
        out.append(own.joined(hole) if i % 5 == 0 else own)
    return out


def together(given, **options) -> dict:
    names = ("coord", "atype", "cell", "fparam", "aparam")
    return {name: [getattr(one, name) for one in given] for name in names} | options


def one_by_one(pot, given, **options) -> dict:
    rows = [pot.evaluate(**together([one], **options)) for one in given]
    return {name: [row[name][0] for row in rows] for name in rows[0]}


def assert_equal(got, want, atol=1e-12):
    assert got.keys() == want.keys()
    for name in want:
        assert [np.shape(a) for a in got[name]] == [np.shape(a) for a in want[name]], name
        for i, (a, b) in enumerate(zip(got[name], want[name])):
            np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=f"{name} of frame {i}")


GIVEN = structures(40)
OPTIONS = {"atomic": True}


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(SECTION)


@pytest.fixture(scope="module")
def alone(pot) -> dict:
    """Each frame by itself, in a layout that holds the largest."""
    largest = max(GIVEN, key=lambda one: len(one.atype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "common_layout", lambda needs, plan: _roomy(needs, plan))
        assert len(largest.atype) <= 24
        return one_by_one(pot, GIVEN, **OPTIONS)


def _roomy(needs, plan):
    """One program for all of the frames, so that comparing costs one compilation."""
    return dpjax.batching.make_layout([16, 16], [64, 64], 1, None)


@pytest.fixture
def small(monkeypatch):
    """Batches so small that the frames make several."""
    monkeypatch.setitem(programs.WORTH, "cpu", 4000)
    monkeypatch.setitem(programs.COST, "cpu", 4000)
    monkeypatch.setattr(batches, "PROBE", 1000)
    monkeypatch.setattr(stream, "LEAST_SHARE", 1000)
    monkeypatch.setattr(stream, "PORTION_FRAMES", 7)


@pytest.fixture
def made(monkeypatch) -> list:
    """Batches as they are made."""
    seen = []
    placed = stream.placed
    monkeypatch.setattr(stream, "placed", lambda *args: seen.append(placed(*args)) or seen[-1])
    return seen


@pytest.mark.parametrize("device", [DEVICE, None], ids=["one device", "two devices"])
def test_frames_of_all_sizes(pot, alone, small, made, device):
    assert len(jax.devices()) == 2
    own = dpjax.Potential(pot.config, pot.variables, conventions=pot.conventions, device=device)
    told = []
    run = own._runner.run
    own._runner.run = lambda variables, source, job, results: run(
        variables,
        source,
        batches.Job(job.function, job.options, job.atoms_per_batch, lambda *n: told.append(n)),
        results,
    )
    got = own.evaluate(**together(GIVEN, **OPTIONS))
    assert_equal(got, alone)
    held = [group.frames for packed in made for group in packed.groups]
    assert len(made) > 2 and sum(map(len, held)) == len(GIVEN)
    assert told[-1] == (len(GIVEN), len(GIVEN)) and sorted(told) == told
    n_program = len(own._programs)
    assert n_program < len(made)
    layouts = {packed.batch.layout for packed in made}
    assert max(layout.n_atom * (layout.n_nbr + 16) for layout in layouts) <= 1.3 * 4000
    if device is None:
        assert all(packed.batch.coord.shape[0] == 2 for packed in made)
        assert any(len(packed.groups) == 2 for packed in made)
    again = own.evaluate(**together(GIVEN, **OPTIONS))
    assert_equal(again, got)
    assert len(own._programs) <= n_program + 2
