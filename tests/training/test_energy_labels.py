"""What an energy model can be trained on beside energies, forces and virials: at its place in a batch, and compared there."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError
from dpjax.neighbors import NeighborCache
from dpjax.training import setup as training_setup
from dpjax.training.devices import data_mesh
from dpjax.training.setup import prepare
from dpjax.training.sides import label_names, model_needs, open_systems
from dpjax.training.source import BatchSource
from tests.training import tiny

LABELS = ("hessian", "drdq", "atom_ener")


def loss_with(labels=LABELS, optional=None, number=2):
    """What a loss says of itself, for packing."""
    return SimpleNamespace(
        labels=labels,
        optional_labels={"atom_pref": 1.0} if optional is None else optional,
        numb_generalized_coord=number,
    )


def labelled(folder, n_atom, seed, without=()):
    """A system whose labels are made of its coordinates: their products, their multiples, their first components."""
    path = tiny.system(folder, n_atom, 3, seed)
    coord = np.load(path / "set.000" / "coord.npy").reshape(3, n_atom, 3)
    arrays = {
        "hessian": np.einsum("fia,fjb->fiajb", coord, coord),
        "drdq": coord[..., None] * [1.0, 10.0],
        "atom_ener": coord[:, :, 0],
        "atom_pref": coord[:, :, 1],
    }
    for name in arrays.keys() - set(without):
        np.save(path / "set.000" / f"{name}.npy", arrays[name].reshape(3, -1))
    return path


def source(paths, loss) -> BatchSource:
    config = load(tiny.config(paths))
    systems = open_systems(config.training.training_data, config.model, loss)
    needs = model_needs(config.model)
    return BatchSource(systems, NeighborCache(systems, needs.rcut, needs.n_type), needs, label_names(loss))


def check(data, n_column: int) -> None:
    """Every label of a batch is what the coordinates of its atoms make it; padding is zero."""
    batch, label = data.batch, data.label
    real = batch.atype >= 0
    coord = np.where(real[:, None], batch.coord, 0)
    np.testing.assert_array_equal(label["drdq"], np.einsum("ia,q->iaq", coord, [1.0, 10.0]).reshape(len(coord), 6))
    np.testing.assert_array_equal(label["atom_ener"], coord[:, :1])
    want = np.zeros((len(coord), 3, n_column, 3))
    for frame in range(batch.layout.frames):
        own = np.flatnonzero(real & (batch.frame == frame))
        want[own, :, : len(own)] = np.einsum("ia,jb->iajb", coord[own], coord[own])
    np.testing.assert_array_equal(label["hessian"], want.reshape(len(coord), -1))


def test_labels_of_two_systems_in_one_batch(tmp_path):
    """Columns of Hessians are the atoms of the frame in the order of the batch, room for those of the larger system."""
    paths = [labelled(tmp_path / "six", 6, 0), labelled(tmp_path / "nine", 9, 1, without=["atom_pref"])]
    packer = source(paths, loss_with())
    data = packer.batch([(0, [2, 0]), (1, [1])], 4)
    check(data, 9)
    six = (data.batch.frame < 2) & (data.batch.atype >= 0)
    np.testing.assert_array_equal(data.label["atom_pref"][six, 0], data.batch.coord[six, 1])
    nine = data.batch.frame == 2
    np.testing.assert_array_equal(data.label["atom_pref"][nine, 0], 1.0)  # the default where data lack it
    assert data.label["atom_pref"].sum() == pytest.approx(data.batch.coord[six, 1].sum() + 9)
    check(packer.batch([(0, [1])]), 6)


def test_devices_have_columns_for_the_same_atoms(tmp_path):
    paths = [labelled(tmp_path / "six", 6, 0), labelled(tmp_path / "nine", 9, 1)]
    data = source(paths, loss_with()).batch([(0, [2]), (1, [1])], 2, n_device=2)
    for device in range(2):
        check(jax.tree.map(lambda a, device=device: a[device], data.replace(find={})), 9)


def test_mixed_systems(tmp_path):
    path = tiny.mixed_system(tmp_path / "mixed")
    coord = np.load(path / "set.000" / "coord.npy")
    np.save(path / "set.000" / "hessian.npy", np.einsum("fi,fj->fij", coord, coord).reshape(3, -1))
    np.save(path / "set.000" / "drdq.npy", (coord[:, :, None] * [1.0, 10.0]).reshape(3, -1))
    np.save(path / "set.000" / "atom_ener.npy", coord[:, ::3])
    check(source([path], loss_with(optional={})).batch([(0, [1, 2])]), 6)


def test_where_no_hessian_is_compared_few_numbers_are_computed(tmp_path):
    paths = [labelled(tmp_path / "with", 6, 0), labelled(tmp_path / "without", 6, 1, without=["hessian"])]
    with pytest.warns(UserWarning, match="1 of 2 systems have no hessian"):
        packer = source(paths, loss_with())
    have, lack = packer.batch([(0, [0])]), packer.batch([(1, [0])])
    assert (have.find["hessian"], lack.find["hessian"]) == (1, 0)
    assert have.label["hessian"].shape[1] == 54
    assert lack.label["hessian"].shape[1] == 9 and not lack.label["hessian"].any()


def test_generalised_coordinates_have_a_number(tmp_path):
    path = labelled(tmp_path / "system", 6, 0)
    with pytest.raises(ConfigError, match="numb_generalized_coord is 0"):
        source([path], loss_with(number=0))


HESSIAN = {
    "model/descriptor": {"type": "se_atten", "rcut": 3.0, "rcut_smth": 1.0, "sel": 40, "neuron": [3], "attn_layer": 0}
    | {"axis_neuron": 2},
    "model/fitting_net/neuron": [4],
    "loss": {"type": "ener", "start_pref_e": 1, "limit_pref_e": 1, "start_pref_f": 0, "limit_pref_f": 0}
    | {"start_pref_h": 1, "limit_pref_h": 1},
    "training/numb_steps": 2,
    "training/disp_freq": 1,
    "training/training_data/batch_size": "mixed:3",
}  # compiles quickly


def predicted_hessians(pot, path) -> np.ndarray:
    """Of the frames of a system, (n_frame, (3 n_atom)^2)."""
    types, coord = np.loadtxt(path / "type.raw", dtype=int), np.load(path / "set.000" / "coord.npy")
    cell = np.stack([tiny.CELL] * len(coord))
    out = pot.evaluate(coord.reshape(len(coord), -1, 3), types, cell, hessian=True)
    return out["hessian"].reshape(len(coord), -1)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(1,), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_training_on_hessians(tmp_path, monkeypatch, numbers):
    """What the untrained model predicts as labels has no error until the model moves; two devices give the numbers of one."""
    paths = [tiny.system(tmp_path / "six", 6, 3), tiny.system(tmp_path / "four", 4, 3, seed=1)]
    for path, n_atom in zip(paths, (6, 4), strict=True):
        np.save(path / "set.000" / "hessian.npy", np.zeros((3, 9 * n_atom**2)))
    config = tiny.config(paths, HESSIAN)
    setup = prepare(load(config))
    pot = dpjax.Potential(setup.config.model, setup.variables)
    for path in paths:
        np.save(path / "set.000" / "hessian.npy", predicted_hessians(pot, path))
    curves, params = [], []
    for n_device in numbers:
        monkeypatch.setattr(training_setup, "data_mesh", lambda n=n_device: data_mesh(jax.devices()[:n]))
        result = dpjax.train(config, tmp_path / str(n_device))
        params.append(jax.tree.leaves(load_checkpoint(result.checkpoint)[0]["params"]))
        curves.append(np.genfromtxt(tmp_path / str(n_device) / "lcurve.out", names=True))
    first, second = curves[0]["rmse_h_trn"]
    assert first < 1e-9 < 1e-5 < second
    assert curves[0]["rmse_e_trn"][0] > 1e-3
    np.testing.assert_allclose(curves[-1]["rmse_trn"], curves[0]["rmse_trn"], rtol=1e-7)
    for one, two in zip(params[0], params[-1], strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-8, atol=1e-10)
