"""Whole trainings by the layer-wise Kalman filter."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.descriptors import expansion
from dpjax.errors import ConfigError
from dpjax.models import resolution
from dpjax.nn.chebyshev import Grid
from dpjax.training import setup as training_setup
from dpjax.training.devices import data_mesh
from tests.training import tiny

LKF = {
    "optimizer": {"type": "LKF", "kf_blocksize": 40, "kf_start_pref_f": 2.0, "kf_limit_pref_f": 1.0},
    "loss/start_pref_v": 0,
    "loss/limit_pref_v": 0,
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Four frames of six atoms that repel each other."""
    types = np.array([1, 0, 1, 1, 0, 1])
    values = tiny.arrays(types, 4, 0, virial=False)
    for i, coord in enumerate(values["coord"].reshape(4, 6, 3)):
        values["energy"][i], values["force"][i] = repulsion(coord)
    return tiny.write(tmp_path_factory.mktemp("kalman") / "system", types, [values])


def repulsion(coord):
    """Energy (eV) and forces (18,) of ``5 exp(-2 r)`` between all atoms and their neighbours in the cells around."""
    cells = np.stack(np.meshgrid(*3 * [[-1, 0, 1]]), axis=-1).reshape(-1, 3) @ tiny.CELL
    apart = coord[:, None, None] - coord[:, None] + cells
    distance = np.linalg.norm(apart, axis=-1)
    pair = np.where(distance > 0.0, 5.0 * np.exp(-2.0 * distance), 0.0)
    towards = apart / np.maximum(distance, 1e-9)[..., None]
    return pair.sum() / 2, (2.0 * pair[..., None] * towards).sum(axis=(1, 2)).ravel()


def trained(config, folder, monkeypatch, n_device=1, **options):
    """Arrays of the last checkpoint and metrics after a training on so many devices."""
    with monkeypatch.context() as patch:
        patch.setattr(training_setup, "data_mesh", lambda: data_mesh(jax.devices()[:n_device]))
        result = dpjax.train(config, folder, **options)
    return load_checkpoint(result.checkpoint)[0], result.metrics


def same(a, b) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: np.asarray(x).tobytes() == np.asarray(y).tobytes(), a, b))


def close(a, b) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_errors_fall_and_a_restart_ends_with_the_same_bits(system, tmp_path, monkeypatch):
    edits = {"training/numb_steps": 30, "training/save_freq": 15, "training/disp_freq": 1}
    config = tiny.config([system], LKF | edits | {"training/training_data/batch_size": 4})
    whole, _ = trained(config, tmp_path / "whole", monkeypatch)
    errors = np.genfromtxt(tmp_path / "whole" / "lcurve.out", names=True)
    assert errors["rmse_f_trn"][-1] < 0.5 * errors["rmse_f_trn"][0]
    assert errors["rmse_e_trn"][-1] < 0.5 * errors["rmse_e_trn"][0]
    resumed, _ = trained(config, tmp_path / "resumed", monkeypatch, restart=tmp_path / "whole" / "model.ckpt-15")
    assert same(whole, resumed)


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(system, tmp_path, monkeypatch):
    """With frames of different sizes, and more places for frames than there are."""
    systems = [system, tiny.system(tmp_path / "larger", n_atom=9, seed=2)]
    config = tiny.config(systems, LKF | {"training/training_data/batch_size": "mixed:3", "training/numb_steps": 2})
    one, two = (trained(config, tmp_path / str(n), monkeypatch, n) for n in (1, 2))
    close(one, two)


@pytest.mark.slow
def test_a_step_that_is_not_resolved_is_done_again(system, tmp_path, monkeypatch):
    """With the bits that the networks alone give: nothing of the attempt is left."""
    config = tiny.config([system], LKF | {"training/numb_steps": 1, "training/training_data/batch_size": 4})
    plain, _ = trained(config, tmp_path / "plain", monkeypatch)
    never = {dtype: precision._replace(tolerance=-1.0) for dtype, precision in expansion.PRECISIONS.items()}
    monkeypatch.setattr(expansion, "PRECISIONS", never)
    monkeypatch.setattr(resolution, "resolutions", lambda *_: (Grid(6, 4, 8), None))
    again, _ = trained(config, tmp_path / "again", monkeypatch)
    assert same(plain["params"], again["params"])
    assert same(plain["opt_state"], again["opt_state"])


def test_frozen_parameters_are_in_no_block(system):
    config = tiny.config([system], LKF | {"model/descriptor/trainable": False})
    setup = training_setup.prepare(dpjax.config.load(config))
    covariance = setup.initial_state().opt_state.covariance
    n_trained = sum(leaf.size for leaf in jax.tree.leaves(setup.variables["params"]["fitting_net"]))
    assert sum(p.shape[0] * p.shape[1] for p in covariance) == n_trained


def test_systems_without_forces_are_refused(system, tmp_path):
    other = tiny.system(tmp_path / "other", seed=1)
    (other / "set.000" / "force.npy").unlink()
    with pytest.raises(
        ConfigError, match=r"optimizer/type: LKF fits energies and forces, but .*other has no force label"
    ):
        dpjax.train(tiny.config([system, other], LKF), tmp_path / "out")


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"loss/start_pref_f": 0, "loss/limit_pref_f": 0}, "loss/start_pref_f"),
        ({"loss/start_pref_v": 0.1, "loss/limit_pref_v": 1}, "loss/start_pref_v"),
        ({"training/gradient_max_norm": 5.0}, "training/gradient_max_norm"),
        ({"training/acc_freq": 2}, "training/acc_freq"),
        ({"training/zero_stage": 1}, "training/zero_stage"),
        ({"loss/enable_atom_ener_coeff": True}, "loss/enable_atom_ener_coeff"),
        ({"dpjax/ensemble": 2}, "dpjax/ensemble"),
        ({"loss": {"type": "ener_spin"}}, "loss/type"),
    ],
)
def test_what_does_not_go_together_is_refused(system, edits, path):
    with pytest.raises(ConfigError, match=f"{path}: .*optimizer LKF"):
        dpjax.config.load(tiny.config([system], LKF | edits))
