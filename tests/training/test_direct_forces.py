"""Trainings with the loss dens: noise on atoms, one program for batches with and without it, restarts, what takes part."""

from __future__ import annotations

import logging
import math

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError, DataError
from dpjax.training.lcurve import read_lcurve
from dpjax.training.noise import NoiseRule, noise_rule
from dpjax.training.setup import prepare
from tests.training import tiny

MODEL = {
    "type": "dpa4",
    "type_map": ["O", "H"],
    "descriptor": {
        "sel": 60, "rcut": 3.0, "channels": 4, "n_radial": 3, "lmax": 1, "n_blocks": 1, "so2_layers": 1,
        "precision": "float64", "seed": 1,
    },
    "fitting_net": {"neuron": [4], "precision": "float64", "seed": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "water", n_frame=6, virial=False)


def inputs(system, edits=None):
    return tiny.config([system], {"model": MODEL, "loss": {"type": "dens"}, **(edits or {})})


@pytest.fixture(scope="module")
def finished(system, tmp_path_factory):
    """A training of twelve steps with a checkpoint after every fourth."""
    output = tmp_path_factory.mktemp("run")
    edits = {"training/numb_steps": 12, "training/save_freq": 4, "training/disp_freq": 1}
    config = inputs(system, edits)
    return config, output, dpjax.train(config, output)


def test_noise_is_a_function_of_seed_and_batch():
    rule = NoiseRule(seed=3, probability=0.3, ratio=0.4, std=0.05)
    disturbed = [rule.drawn(batch) is not None for batch in range(2000)]
    assert abs(np.mean(disturbed) - 0.3) < 0.04
    types = np.where(np.arange(5000) % 7, np.arange(5000) % 2, -1)
    done = rule.certain(4).of(0, 1, types)
    assert not done.mask[types < 0].any() and abs(done.mask[types >= 0].mean() - 0.4) < 0.03
    assert np.all(done.noise[done.mask == 0] == 0.0) and abs(done.noise[done.mask == 1].std() - 0.05) < 0.002
    again = NoiseRule(3, 0.3, 0.4, 0.05).certain(4).of(0, 1, types)
    np.testing.assert_array_equal(again.noise, done.noise)
    others = [rule.certain(5).of(0, 1, types), rule.certain(4).of(0, 2, types), rule.certain(4).of(1, 1, types)]
    assert not any(np.array_equal(other.noise, done.noise) for other in others)
    every = NoiseRule(3, 1.0, None, 0.05).drawn(0).of(0, 0, types)
    np.testing.assert_array_equal(every.mask, types >= 0)


def test_only_this_loss_has_noise(system):
    config = load(inputs(system, {"loss/dens_corrupt_ratio": None, "loss/dens_std": 0.1}))
    assert noise_rule(config.loss, 5) == NoiseRule(5, 0.5, None, 0.1)
    assert noise_rule(load(inputs(system, {"loss": {"type": "ener"}})).loss, 5) is None


def test_batches_say_what_was_done_to_their_atoms(system):
    """Neighbours are those of the displaced atoms, forces are shown of these only, and frames that stay are as they were."""
    setup = prepare(load(inputs(system, {"loss/dens_prob": 1, "loss/dens_std": 0.2})))
    source = setup.training.source
    parts = ((0, np.array([2, 0])),)
    still, moved = source.batch(parts), source.batch(parts, noise=source.noise.certain(7))
    for own in (still.batch.disturbance.mask, still.batch.disturbance.noise, still.batch.disturbance.force):
        assert not own.any()
    done, real = moved.batch.disturbance, moved.batch.atype >= 0
    np.testing.assert_allclose(moved.batch.coord, still.batch.coord + done.noise, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(done.force, moved.label["force"] * done.mask[:, None])
    np.testing.assert_array_equal(moved.label["force"], still.label["force"])
    assert 0 < done.mask.sum() < real.sum() and not done.mask[~real].any()
    assert not np.array_equal(moved.batch.index, still.batch.index)
    assert moved.batch.layout == still.batch.layout


def test_a_training_learns_in_one_program(finished):
    _, output, result = finished
    rows = read_lcurve(output / "lcurve.out")
    assert result.programs == 1 and result.steps == 12
    assert np.isfinite(rows["rmse_trn"]).all() and np.isfinite(rows["mae_e_trn"]).all()
    assert rows["rmse_trn"][-1] < 0.5 * rows["rmse_trn"][0]  # its prefactors fall, too
    assert set(result.metrics) == {"mae_e_trn", "mae_f_trn", "rmse_trn", "lr"}


def test_what_is_trained_and_what_is_measured(finished, system):
    """The heads and the descriptor change; the fitting net, which takes no part, does not."""
    config, output, _ = finished
    before = prepare(load(config)).variables
    arrays = load_checkpoint(output / "model.ckpt-12")[0]
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before["params"], arrays["params"])
    assert not any(jax.tree.leaves(changed["fitting_net"]))
    heads = changed["dens_fitting_net"]
    assert heads["direct_force_head"]["proj"]["weight"] and heads["denoising_head"]["proj"]["weight"]
    assert all(jax.tree.leaves(heads["force_embedding"])) and all(jax.tree.leaves(heads["energy_head"]))
    force = np.load(system / "set.000" / "force.npy").reshape(-1, 3)
    want = np.sqrt(np.mean(np.sum(force**2, axis=1)))
    np.testing.assert_allclose(arrays["stats"]["dens_force_rmsd"], want, rtol=1e-13)


def test_a_restart_goes_on_with_the_same_noise(finished, tmp_path):
    config, output, _ = finished
    half = tiny.edited(config, {"training/numb_steps": 12})
    result = dpjax.train(half, tmp_path / "again", restart=output / "model.ckpt-4")
    want, got = (load_checkpoint(path)[0] for path in (output / "model.ckpt-12", result.checkpoint))
    assert jax.tree.structure(want) == jax.tree.structure(got)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_checkpoint_is_a_model_with_heads(finished, system):
    _, output, _ = finished
    pot = dpjax.load(output)
    assert pot.config.direct_forces and pot.conventions == "corrected"
    coord = np.load(system / "set.000" / "coord.npy").reshape(-1, 6, 3)
    cell = np.load(system / "set.000" / "box.npy").reshape(-1, 3, 3)
    out = pot.evaluate(coord, np.loadtxt(system / "type.raw", dtype=int), cell)
    assert set(out) == {"energy", "force"} and math.isfinite(float(np.abs(out["force"]).max()))


def test_models_of_other_losses_are_no_start(finished, system):
    """Nor is one with heads a start for them."""
    _, output, _ = finished
    pot = dpjax.load(output)
    ener = load(inputs(system, {"loss": {"type": "ener"}}))
    with pytest.raises(ConfigError, match="loss/type: the loss is another.* was dens"):
        prepare(ener, (pot.config, pot.variables))
    with pytest.raises(ConfigError, match="loss/type: the loss is dens.* was another"):
        prepare(load(inputs(system)), (ener.model, pot.variables))
    assert prepare(load(inputs(system)), (pot.config, pot.variables)).config.model.direct_forces


def test_fine_tuning_is_refused(finished, system, tmp_path):
    _, output, _ = finished
    with pytest.raises(ConfigError, match="loss/type: models that give their forces directly .* are not fine-tuned"):
        dpjax.train(inputs(system), tmp_path / "tuned", finetune=output / "model.ckpt-12")


@pytest.mark.parametrize(("force", "message"), [(None, "force"), (0.0, "all forces are zero")])
def test_data_without_forces(tmp_path, force, message):
    folder = tiny.system(tmp_path / "water", virial=False)
    file = folder / "set.000" / "force.npy"
    values = np.load(file)
    file.unlink()
    if force is not None:
        np.save(file, force * values)
    with pytest.raises(DataError, match=message):
        prepare(load(inputs(folder)))


@pytest.mark.filterwarnings("ignore:1 of 2 systems have no force")
def test_frames_without_forces_are_left_alone(system, tmp_path, caplog):
    """What the model would be shown and asked for is not known."""
    bare = tiny.system(tmp_path / "bare", seed=5, virial=False)
    (bare / "set.000" / "force.npy").unlink()
    config = inputs(system, {"loss/dens_prob": 1, "training/training_data/systems": [str(system), str(bare)]})
    with caplog.at_level(logging.ERROR):
        side = prepare(load(config)).training
    seen = {0: 0, 1: 0}
    for _ in range(12):
        data, parts = side.next_batch(1)
        seen[parts[0][0]] += 1
        assert bool(data.batch.disturbance.mask.any()) == (parts[0][0] == 0)
    assert all(seen.values())
