"""Series in place of embedding networks: the same results, and the networks themselves where series are not exact."""

from __future__ import annotations

import copy
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.batching import Layout
from dpjax.descriptors import expansion
from dpjax.models import resolutions
from dpjax.models.resolution import PATIENCE, Resolver
from dpjax.nn.chebyshev import Grid
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make
from tests.models.reference import Reference
from tests.shared import golden
from tests.training import tiny

LARGE = Layout(atoms=(64, 128), nbrs=(32, 64), frames=1)
STANDARD = {"neuron": [25, 50, 100], "axis_neuron": 16}


@pytest.fixture
def always(monkeypatch):
    """Series even for the smallest structures."""
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)


@pytest.fixture
def never_exact(always, monkeypatch):
    """No series is good enough."""
    strict = {dtype: p._replace(tolerance=-1.0) for dtype, p in expansion.PRECISIONS.items()}
    monkeypatch.setattr(expansion, "PRECISIONS", strict)


def choices(layout=LARGE, **options):
    pot = potential(model(se_e2_a(**STANDARD | options)))
    with jax.enable_x64(True):
        return resolutions(pot.model, pot.variables, layout)


def test_standard_networks_of_many_neighbours_are_expanded():
    grids = choices()
    assert [grid.size for grid in grids[:-1]] == sorted(grid.size for grid in grids[:-1])
    assert len(grids) == 3
    assert grids[-1] is None


def test_where_series_do_not_pay_or_do_not_exist():
    assert choices(Layout(atoms=(2, 4), nbrs=(4, 8), frames=1)) == (None,)
    assert choices(neuron=[2, 4], axis_neuron=2) == (None,)
    assert choices(activation_function="relu") == (None,)
    assert choices(precision="bfloat16") == (None,)


@pytest.mark.parametrize("case", ["ener_fparam", "se_e2_a_two_side_exclude_types", "model_pair_exclude_sea"])
def test_reference_models_by_series(case, always, monkeypatch):
    fine = {dtype: p._replace(grids=(Grid(40, 4, 8),)) for dtype, p in expansion.PRECISIONS.items()}
    monkeypatch.setattr(
        expansion, "PRECISIONS", fine
    )  # random statistics make these networks sharper than trained ones
    reference = Reference(golden("models", case))
    pot = dpjax.load(reference.folder / "model.dp")
    reference.compare(pot.evaluate(**reference.arguments(), atomic=True))
    assert pot._runner.resolver.level == 0


def evaluate(section, monkeypatch, cost: float, sharpness: float = 1.0, calls: int = 1):
    """A potential whose embedding is ``sharpness`` times steeper than usual, and what it gives for a crystal."""
    monkeypatch.setattr(expansion, "SERIES_COST", cost)
    pot = potential(section)
    params = copy.deepcopy(pot.variables["params"])
    for network in params["descriptor"].values():
        network["layers_0"]["matrix"] = network["layers_0"]["matrix"] * sharpness
    s = make("crystal", fparam=0, aparam=0)
    pot = dpjax.Potential(pot.config, {"params": params, "stats": pot.variables["stats"]})
    for _ in range(calls):
        out = pot.evaluate(s.coord[None], s.atype, s.cell[None], atomic=True)
    return pot, out


@pytest.mark.slow
@pytest.mark.parametrize(
    "sharpness, level",
    [pytest.param(1.0, 0, marks=pytest.mark.slow), pytest.param(6.0, 1, marks=pytest.mark.slow), (200.0, 2)],
)
def test_sharp_networks_get_finer_series_or_none(sharpness, level, monkeypatch, caplog):
    section = model(se_e2_a())
    with caplog.at_level(logging.INFO, logger="dpjax"):
        pot, first = evaluate(section, monkeypatch, 0.0, sharpness)
        assert pot._runner.resolver.level == 0
        pot, last = evaluate(section, monkeypatch, 0.0, sharpness, calls=2 * PATIENCE)
    _, want = evaluate(section, monkeypatch, np.inf, sharpness)
    assert pot._runner.resolver.level == level
    assert len(caplog.records) == level
    for key, value in want.items():
        np.testing.assert_allclose(first[key], value, rtol=1e-11, atol=1e-11 * np.abs(value).max())
        np.testing.assert_allclose(last[key], value, rtol=1e-11, atol=1e-11 * np.abs(value).max())


def test_one_frame_that_needs_more_does_not_change_the_others():
    """Results come from the first resolution that is enough; only a row of failures moves the start."""
    pot, tried = potential(model(se_e2_a(**STANDARD))), []

    def program(enough):
        def run(grid):
            tried.append(grid)
            return grid, grid is None or grid.panels >= enough

        return run

    with jax.enable_x64(True):
        resolver = Resolver(pot.model, pot.variables)
        coarse, fine, none = resolutions(pot.model, pot.variables, LARGE)
        for enough, result in ((1, coarse), (1000, none), (fine.panels, fine), (1, coarse)):
            assert resolver.run(LARGE, program(enough)) == result
        assert tried == [coarse, coarse, fine, none, coarse, fine, coarse]
        assert resolver.state() == {"level": 0, "failures": 0}
        for _ in range(PATIENCE):
            resolver.run(LARGE, program(fine.panels))
        assert resolver.state() == {"level": 1, "failures": 0}
        tried.clear()
        again = Resolver(pot.model, pot.variables, **resolver.state())
        assert again.run(LARGE, program(fine.panels)) == fine
        assert tried == [fine]


def test_single_precision_by_series_is_as_close_as_the_networks(monkeypatch):
    section = model(se_e2_a(precision="float32"), fitting={"precision": "float32"})
    _, exact = evaluate(model(se_e2_a()), monkeypatch, np.inf)
    _, plain = evaluate(section, monkeypatch, np.inf)
    pot, got = evaluate(section, monkeypatch, 0.0)
    assert pot._runner.resolver.failures == 0
    for key, value in exact.items():
        assert np.abs(got[key] - value).max() < 2 * np.abs(plain[key] - value).max() + 1e-6


def test_no_neighbours_and_no_numbers(always):
    pot = potential(model(se_e2_a()))
    far = pot.evaluate(np.array([[[0.0, 0, 0], [50.0, 0, 0]]]), [0, 1])
    assert np.isfinite(far["energy"]).all()
    np.testing.assert_array_equal(far["force"], 0.0)
    assert pot._runner.resolver.level == 0
    broken = dpjax.Potential(pot.config, jax.tree.map(lambda x: x * np.nan, pot.variables))
    assert np.isnan(broken.evaluate(np.array([[[0.0, 0, 0], [1.0, 0, 0]]]), [0, 0])["energy"]).all()
    assert broken._runner.resolver.level == 0  # finer series would not help


def final_params(config, output):
    dpjax.train(config, output)
    return dpjax.load(output).variables["params"]


def largest_difference(a, b) -> float:
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


@pytest.fixture
def config(tmp_path):
    return tiny.config([tiny.system(tmp_path / "system")], {"training/training_data/batch_size": 1})


@pytest.mark.slow
def test_training_by_series_is_the_same_training(config, tmp_path, monkeypatch):
    plain = final_params(config, tmp_path / "plain")
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)
    series = final_params(config, tmp_path / "series")
    assert 0.0 < largest_difference(plain, series) < 1e-9


@pytest.mark.slow
def test_a_step_that_is_not_resolved_is_done_again(config, tmp_path, monkeypatch, caplog, request):
    """Bit by bit what the networks alone give: nothing of the attempts is left."""
    plain = final_params(config, tmp_path / "plain")
    request.getfixturevalue("never_exact")
    with caplog.at_level(logging.INFO, logger="dpjax"):
        again = final_params(config, tmp_path / "again")
    assert sum("too sharp" in record.getMessage() for record in caplog.records) == 6 // PATIENCE
    assert largest_difference(plain, again) == 0.0
    saved = dpjax.checkpoints.load_checkpoint(tmp_path / "again" / "model.ckpt-6")[1]["resolution"][""]
    assert saved == {"level": 6 // PATIENCE, "failures": 6 % PATIENCE}
