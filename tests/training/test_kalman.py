"""The step of the layer-wise Kalman filter: which atoms it takes, what it measures, and its five updates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import losses
from dpjax.batching.batch import Batch
from dpjax.config.optimizers import LkfConfig
from dpjax.models import RESOLVED
from dpjax.nn.chebyshev import Grid
from dpjax.optimizers.lkf import kalman_filter
from dpjax.train_state import TrainState
from dpjax.training import kalman
from dpjax.training.step import LabelledBatch, Rows, UpdatePlan


def rows(frame, natoms) -> Rows:
    """``frame`` of each place, -1 for padding."""
    frame, natoms = np.array(frame), np.array(natoms)
    return Rows(
        jnp.asarray(natoms), jnp.asarray(frame >= 0, float), jnp.asarray(natoms > 0, float), jnp.maximum(frame, 0)
    )


MIXED = rows([0, 0, 1, -1, 2, 0, 1, 2, 2, 2, -1, -1], [3, 2, 4, 0])


def test_atoms_are_counted_within_their_frame():
    atoms = jnp.array([[[0, 2, 1], [1, 0, 1], [3, 0, 2], [0, 0, 0]]])
    places = kalman.places_of(atoms, MIXED)
    np.testing.assert_array_equal(places[0, :3], [[0, 5, 1], [6, 2, 6], [9, 4, 8]])


def test_drawn_atoms_are_real_and_all_of_them():
    keys = jax.random.split(jax.random.key(0), 20)
    natoms = jnp.array([3, 2, 4, 0, 3])
    drawn = np.concatenate([kalman.drawn_atoms(key, natoms) for key in keys])
    assert drawn.shape == (80, 5, 6)
    assert [sorted(set(drawn[:, i].ravel())) for i in range(5)] == [[0, 1, 2], [0, 1], [0, 1, 2, 3], [0], [0, 1, 2]]
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 4])  # frames of one size, the same atoms
    padding = np.array(MIXED.atom_weight) == 0.0
    places = kalman.places_of(kalman.drawn_atoms(keys[0], MIXED.natoms), MIXED)
    assert not np.any(padding[places[:, :3]])


def test_what_is_measured_is_the_mean_error_and_its_gradient():
    """Frames of 3, 2 and 4 atoms and an empty one, whose values count for nothing."""
    rng = np.random.default_rng(1)
    slopes, label = rng.normal(size=(2, 4, 6, 3))
    quantity = lambda params: (params["w"] * slopes, "else")  # noqa: E731
    error, gradient, others = kalman.measured(quantity, {"w": jnp.asarray(0.5)}, label, MIXED, jnp.asarray(3.0))
    miss = 3.0 * (label - 0.5 * slopes)[:3] / np.array([3, 2, 4]).reshape(3, 1, 1)
    np.testing.assert_allclose(error, np.abs(miss).mean() * np.sqrt(3), rtol=1e-12)
    per_atom = (np.sign(miss) * 3.0 * slopes[:3]).mean(axis=(1, 2)) / np.array([3, 2, 4])
    np.testing.assert_allclose(gradient["w"], per_atom.sum(), rtol=1e-12)
    assert others == "else"


RNG = np.random.default_rng(3)
FRAME, NATOMS = np.array(MIXED.frame), np.array(MIXED.natoms)
WAVES = {
    "energy": RNG.normal(size=(5, 4, 1)),
    "force": RNG.normal(size=(5, 12, 3)),
}  # what a parameter does to a prediction
LABEL = {"energy": RNG.normal(size=(4, 1)), "force": RNG.normal(size=(12, 3))}
ATOMS = np.array([[[k % n if n else 0 for k in RNG.integers(0, 60, 6)] for n in NATOMS] for _ in range(4)])
CFG = LkfConfig(kf_blocksize=3, kf_start_pref_e=2.0, kf_limit_pref_e=0.5, kf_start_pref_f=0.5, kf_limit_pref_f=4.0)


def predicted(params, name):
    """A model that is not linear: its gradient differs from update to update."""
    w = params["w"]
    return jnp.tensordot(jnp.sin(w), jnp.asarray(WAVES[name]), 1)


@pytest.fixture
def step(monkeypatch):
    """A step whose model is :func:`predicted`; ``stats`` says whether the series of a grid resolve it."""

    def prediction_of(model, needs_force, work, spread):
        def prediction(variables, batch, grid):
            names = ("energy", "force") if needs_force else ("energy",)
            resolved = {} if grid is None else {RESOLVED: variables["stats"] | (not needs_force)}
            return {name: predicted(variables["params"], name) for name in names} | resolved

        return prediction

    monkeypatch.setattr(kalman, "prediction_of", prediction_of)
    loss = losses.from_config({"type": "ener"}, start_lr=1e-3)
    return kalman.KalmanStep(None, loss, CFG, ("w",), UpdatePlan(lambda step: 1e-3, ema_decay=0.5), num_steps=4)


def a_state() -> TrainState:
    params = {"w": jnp.linspace(-0.5, 0.5, 5), "fixed": jnp.ones(2)}
    return TrainState.create(params, kalman_filter(CFG, ("w",)), average=True)


def data() -> LabelledBatch:
    atype = np.where(np.array(MIXED.atom_weight) > 0.0, 0, -1)
    batch = Batch(*[None] * 2, atype, FRAME, *[None] * 3, NATOMS, None)
    return LabelledBatch(batch, LABEL, {"energy": 1.0, "force": 1.0})


def expected_step(params, tx, state, number):
    """The five updates, one by one, by the optimizer itself."""
    places = np.asarray(kalman.places_of(ATOMS, MIXED))
    turns = [("energy", slice(None)), *(("force", group) for group in places)]
    for name, taken in turns:
        start, limit = (getattr(CFG, f"kf_{end}_pref_{name[0]}") for end in ("start", "limit"))
        weight = (
            start
            * (limit / start) ** (number / 4)
            / NATOMS[:3].reshape(3, *[1] * (LABEL[name].ndim - 1 + (name == "force")))
        )
        miss = LABEL[name][taken][:3] - np.asarray(predicted(params, name))[taken][:3]
        sign, each = np.sign(miss), miss[0].size
        total = lambda p: jnp.sum(weight * sign * predicted(p, name)[taken][:3])  # noqa: B023, E731
        error = np.sum(weight * np.abs(miss)) / each / np.sqrt(3)
        change, state = tx.update(jax.grad(total)(params), state, params, error=error, grad_prefactor=each)
        params = optax.apply_updates(params, change)
    return params, state


def test_a_step_is_five_updates_with_predictions_of_their_own(step):
    """Frames of different sizes count per atom; the empty one and padding not at all."""
    tx, state = kalman_filter(CFG, ("w",)), a_state()
    run = jax.jit(step)
    for number in range(2):
        before = state
        state, metrics = run(state, None, data(), ATOMS)
        params, opt_state = expected_step(before.params, tx, before.opt_state, number)
        for got, want in zip(
            jax.tree.leaves((state.params, state.opt_state)), jax.tree.leaves((params, opt_state)), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.ema["w"], 0.5 * (before.ema["w"] + state.params["w"]), rtol=1e-12)
        assert state.step == number + 1 and np.isfinite(metrics["loss"])
    assert run._cache_size() == 1


@pytest.mark.parametrize("resolved", [True, False])
def test_where_a_grid_does_not_resolve_the_state_comes_back_as_it_was(step, resolved):
    """Even if it does for the update of the energies."""
    stats, state, grid = jnp.array([True, resolved]), a_state(), Grid(6, 4, 8)
    new, metrics = jax.jit(step, static_argnums=4)(state, stats, data(), ATOMS, grid)
    assert bool(metrics[RESOLVED]) == resolved
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), state, new)
    if resolved:
        assert changed.params == {"w": True, "fixed": False} and changed.opt_state.forget and changed.step
    else:
        assert not any(jax.tree.leaves(changed))


@pytest.mark.slow
def test_atoms_are_drawn_from_the_seed_and_the_step(step):
    one, other = (jax.jit(kalman.kalman_step_of(step, seed)) for seed in (1, 2))
    later = a_state().replace(step=jnp.asarray(3, jnp.int32))
    moved = [
        run(state, None, data())[0].params["w"] for run, state in ((one, a_state()), (other, a_state()), (one, later))
    ]
    assert not np.array_equal(moved[0], moved[1]) and not np.array_equal(moved[0], moved[2])
    chosen = kalman.drawn_atoms(jax.random.fold_in(jax.random.key(1), 0), MIXED.natoms)
    expected = step(a_state(), None, data(), chosen)[0].params["w"]
    np.testing.assert_allclose(moved[0], expected, rtol=1e-12)
