"""Batches of ``evaluate``: equal to one frame after another, in order, few programs, within bounds, on all devices."""

from __future__ import annotations

import logging

import jax
import numpy as np
import pytest

import dpjax
from dpjax.batching import make_layout
from dpjax.batching.groups import size_of
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces import batches, programs, stream
from tests.contracts.bench import QUICK
from tests.contracts.cases import model, potential, se_e2_a, se_e2_r
from tests.contracts.structures import Structure, make

# without series: one program for each layout
SECTION = model(se_e2_r(activation_function="relu"), fitting={"numb_fparam": 1, "numb_aparam": 1})
WORTH = 4000


def structures(number: int, seed: int = 0) -> list[Structure]:
    """Clusters and crystals of 2 to 24 atoms, with placeholders here and there."""
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
    kept = [name for name in names if name == "cell" or getattr(given[0], name) is not None]
    return {name: [getattr(one, name) for one in given] for name in kept} | options


def one_by_one(pot, given, **options) -> dict:
    """Frame after frame, all in one layout, so that comparing costs one compilation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "common_layout", lambda needs, plan: make_layout([16, 16], [64, 64], 1))
        rows = [pot.evaluate(**together([one], **options)) for one in given]
    return {name: [row[name][0] for row in rows] for name in rows[0]}


def assert_equal(got, want, atol=1e-12):
    assert got.keys() == want.keys()
    for name in want:
        assert len(got[name]) == len(want[name])
        for i, (a, b) in enumerate(zip(got[name], want[name], strict=True)):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=f"{name} of frame {i}")


GIVEN = structures(30)


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    own = potential(SECTION)
    own._programs.compiler_options = QUICK
    return own


@pytest.fixture(scope="module")
def alone(pot) -> dict:
    return one_by_one(pot, GIVEN, atomic=True)


@pytest.fixture
def small(monkeypatch):
    """Batches so small that the frames make several."""
    monkeypatch.setitem(programs.WORTH, "cpu", WORTH)
    monkeypatch.setattr(batches, "PROBE", WORTH / 4)
    monkeypatch.setattr(stream, "LEAST_SHARE", WORTH / 4)
    monkeypatch.setattr(stream, "PORTION_FRAMES", 7)


@pytest.fixture
def made(monkeypatch) -> list[stream.Packed]:
    """Batches as they are made."""
    seen = []
    placed = stream.placed
    monkeypatch.setattr(stream, "placed", lambda *args: seen.append(placed(*args)) or seen[-1])
    return seen


def fresh(pot, device=None) -> dpjax.Potential:
    """The same model, which knows no layouts and for which a program is worth little; what was compiled is shared."""
    own = dpjax.Potential(pot.config, pot.variables, conventions=pot.conventions, device=device)
    own._programs.layouts.cost = WORTH
    own._programs._compiled, own._programs.compiler_options = pot._programs._compiled, QUICK
    return own


@pytest.mark.parametrize("number", [1, 2])
def test_frames_of_all_sizes(pot, alone, small, made, number):
    assert len(jax.devices()) == 2
    own = fresh(pot, jax.devices()[0] if number == 1 else None)
    before = len(own._programs)
    got = own.evaluate(**together(GIVEN, atomic=True))
    assert_equal(got, alone)
    held = [len(group.frames) for packed in made for group in packed.groups]
    assert sum(held) == len(GIVEN) and len(made) >= 3
    assert all(size_of(packed.batch.layout) <= 1.3 * WORTH for packed in made)
    assert all(len(packed.batch.coord.sharding.device_set) == number for packed in made)
    assert max(len(packed.groups) for packed in made) == number
    compiled = len(own._programs) - before
    assert 1 < compiled == len(own._programs.layouts.known) < len(made)
    other = own.with_variables(pot.variables)
    assert_equal(other.evaluate(**together(GIVEN[::-1], atomic=True)), {k: v[::-1] for k, v in alone.items()})
    assert len(other._programs) - before <= compiled + 1  # better ones pay in the long run


def test_a_few_frames_are_one_batch_on_one_device(pot, alone, made):
    got = fresh(pot).evaluate(**together(GIVEN[:6], atomic=True))
    assert_equal(got, {name: values[:6] for name, values in alone.items()})
    assert [packed.numbers for packed in made] == [[*range(6)]]
    assert len(made[0].batch.coord.sharding.device_set) == 1


def test_the_compiler_is_asked_once_what_a_program_needs(pot, monkeypatch):
    first = pot.evaluate(**together(GIVEN[:1]))
    monkeypatch.setattr(programs.Program, "of", lambda run: pytest.fail("asked again"))
    assert_equal(pot.evaluate(**together(GIVEN[:1])), first)


@pytest.mark.slow
def test_memory_bounds_batches(pot, alone, small, made, monkeypatch, caplog):
    """The first batch tells what a program needs; where a later one needs more than there is, it is cut in two before it runs."""
    own = fresh(pot, jax.devices()[0])
    own.evaluate(**together(GIVEN, atomic=True))
    [per_size] = own._programs.per_size.values()
    assert per_size > 8.0
    made.clear()
    monkeypatch.setattr(programs, "free_bytes", lambda device, sharing: per_size * WORTH / 3)
    assert_equal(own.evaluate(**together(GIVEN, atomic=True)), alone)
    assert all(size_of(packed.batch.layout) <= 1.3 * WORTH / 3 for packed in made)
    assert max(len(packed.numbers) for packed in made) > 1
    made.clear()
    own = fresh(pot, jax.devices()[0])
    monkeypatch.setattr(batches, "PROBE", WORTH)
    with caplog.at_level(logging.INFO, logger="dpjax"):
        assert_equal(own.evaluate(**together(GIVEN, atomic=True)), alone)
    assert "GB are free" in caplog.text
    assert len(made[1].numbers) == -(-len(made[0].numbers) // 2)


def test_atoms_per_batch(pot, alone, made):
    """One frame may have more atoms than asked for; then it is alone."""
    largest = max(np.count_nonzero(one.atype >= 0) for one in GIVEN[:9])
    for most, together_or_alone in ((int(largest) - 1, 1), (2 * int(largest), 2)):
        made.clear()
        got = fresh(pot, jax.devices()[0]).evaluate(**together(GIVEN[:9], atomic=True, atoms_per_batch=most))
        assert_equal(got, {name: values[:9] for name, values in alone.items()})
        held = [[np.count_nonzero(frame.atype >= 0) for frame in packed.groups[0].frames] for packed in made]
        assert all(len(own) == 1 or sum(own) <= most for own in held)
        assert any(sum(own) > most for own in held) == (together_or_alone == 1)
        assert max(map(len, held)) >= together_or_alone
    for wrong in (0, -3, 2.5):
        with pytest.raises(ConfigError, match="atoms_per_batch: found"):
            pot.evaluate(**together(GIVEN[:1], atoms_per_batch=wrong))


def test_a_wrong_frame_among_many_is_named(pot, small):
    given = list(GIVEN)
    given[17] = given[17].replace(coord=np.zeros_like(given[17].coord))
    with pytest.raises(DataError, match=r"frame 17: atoms 0 and 1 are on one point"):
        fresh(pot).evaluate(**together(given, atomic=True))


def test_truncation_in_many_frames_is_reported_once(caplog, small):
    pot = potential(model(se_e2_r(sel=[1, 28], activation_function="relu")))
    given = [one.replace(fparam=None, aparam=None) for one in GIVEN]
    with caplog.at_level(logging.WARNING, logger="dpjax"):
        pot.frames(**together(given))
        pot.frames(**together(given))
    assert len([text for text in caplog.messages if "sel keeps" in text]) == 1


def test_progress_is_told(pot, small, monkeypatch):
    told = []
    monkeypatch.setattr(
        "dpjax.interfaces.potential.counter", lambda what, show: lambda done, total: told.append((show, done, total))
    )
    own = fresh(pot)
    for progress in (None, True):
        own.evaluate(**together(GIVEN[:12], atomic=True, progress=progress))
    assert {show for show, _, _ in told} == {False, True}  # no terminal here
    done = [done for show, done, _ in told if show]
    assert done == sorted(done) and done[-1] == 12 and {total for *_, total in told} == {12}


@pytest.mark.slow
def test_given_frames_in_one_array(pot, alone, small):
    """Frames with their neighbours; and frames of one size, whose results are one array in their order."""
    own = fresh(pot, jax.devices()[0])
    rows = own.evaluate_frames(own.frames(**together(GIVEN)), atomic=True)
    assert_equal({name: [row[name] for row in rows] for name in alone}, alone)
    one = next(one for one in GIVEN if one.cell is None)
    scale = np.linspace(1.0, 1.4, 30)[:, None, None]
    shared = {"fparam": np.tile(one.fparam, (30, 1)), "aparam": np.tile(one.aparam, (30, 1, 1))}
    got = own.evaluate(one.coord * scale, one.atype, **shared)
    want = one_by_one(own, [one.replace(coord=one.coord * s) for s in scale])
    for name, values in got.items():
        assert isinstance(values, np.ndarray)
        np.testing.assert_allclose(values, np.stack(want[name]), rtol=0, atol=1e-12)


def test_errors_of_the_threads_are_raised(pot, small, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr("dpjax.interfaces.results.unpack_atoms", fail)
    with pytest.raises(MemoryError, match="no room"):
        fresh(pot).evaluate(**together(GIVEN, atomic=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fitting", [{"type": "dipole"}, {"type": "dos", "numb_dos": 4}, {}], ids=["dipole", "dos", "hessian"]
)
def test_other_outputs(fitting, small):
    own = potential(model(se_e2_a(activation_function="relu"), fitting=fitting))
    own._programs.layouts.cost, own._programs.compiler_options = WORTH, QUICK
    two_sizes = [one for one in GIVEN if np.count_nonzero(one.atype >= 0) in (7, 9)]  # each is a program for a Hessian
    chosen = GIVEN[:20] if fitting else two_sizes
    given = [one.replace(fparam=None, aparam=None) for one in chosen]
    options = {"atomic": True} if fitting else {"hessian": True}
    assert_equal(own.evaluate(**together(given, **options)), one_by_one(own, given, **options))
