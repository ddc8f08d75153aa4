"""Training of models with spins: what is learnt, what is refused, and how statistics see virtual atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.config import load, not_built
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces.testing import test_model as evaluated
from dpjax.neighbors.frames import frame_table
from dpjax.training.points import points_of
from dpjax.training.setup import prepare
from tests.training import tiny

SPIN = {"use_spin": [True, False], "virtual_scale": 0.4}
J, K = 0.3, 0.15  # eV, of the Heisenberg model below


def heisenberg(coord: np.ndarray, cell: np.ndarray, types: np.ndarray, spin: np.ndarray) -> tuple[np.ndarray, ...]:
    """Energy, forces and magnetic forces of one frame: ``-J exp(-r) S_i S_j`` of nearest images, and ``K S^2`` for each spin."""
    energy, force, force_mag = 0.0, np.zeros_like(coord), np.zeros_like(coord)
    carry = np.flatnonzero(types == 0)
    for i in carry:
        energy += K * spin[i] @ spin[i]
        force_mag[i] -= 2 * K * spin[i]
        for j in carry[carry > i]:
            disp = coord[j] - coord[i]
            disp -= np.round(disp @ np.linalg.inv(cell)) @ cell
            r = np.linalg.norm(disp)
            product = -J * np.exp(-r)
            energy += product * (spin[i] @ spin[j])
            force_mag[i] -= product * spin[j]
            force_mag[j] -= product * spin[i]
            slope = -product * (spin[i] @ spin[j]) * disp / r
            force[i] += slope
            force[j] -= slope
    return energy, force, force_mag


def magnet(folder: Path, n_frame: int = 8, seed: int = 0, n_atom: int = 6) -> Path:
    """A system of two types of which the first has spins, labelled with :func:`heisenberg`."""
    path = tiny.system(folder, n_atom=n_atom, n_frame=n_frame, seed=seed, virial=False)
    types = np.loadtxt(path / "type.raw", int)
    part = path / "set.000"
    coord, box = np.load(part / "coord.npy").reshape(n_frame, -1, 3), np.load(part / "box.npy").reshape(-1, 3, 3)
    rng = np.random.default_rng(seed)
    spin = rng.normal(size=coord.shape)
    spin *= (1.0 + 0.2 * rng.random(coord.shape[:2]) * (types == 0))[..., None] / np.linalg.norm(spin, axis=-1)[
        ..., None
    ]
    spin[:, types != 0] = 0.0
    rows = [heisenberg(*row[:2], types, row[2]) for row in zip(coord, box, spin, strict=True)]
    energy, force, force_mag = (np.array([row[k] for row in rows]) for k in range(3))
    for name, values in {"energy": energy, "force": force, "force_mag": force_mag, "spin": spin}.items():
        np.save(part / f"{name}.npy", values.reshape(n_frame, -1) if name != "energy" else values)
    return path


def config(systems: list[Path], edits: dict | None = None) -> dict:
    """An input of a few steps with the loss ``ener_spin``."""
    own = {
        "model/spin": dict(SPIN),
        "loss": {"type": "ener_spin", "start_pref_fr": 10, "start_pref_fm": 10},
        "training/numb_steps": 4,
        "training/save_freq": 4,
        "training/training_data/batch_size": 4,
    }
    return tiny.config(systems, own | (edits or {}))


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Path:
    return magnet(tmp_path_factory.mktemp("magnet") / "a")


def test_magnetic_forces_are_learnt(system, tmp_path):
    long = {"training/numb_steps": 60, "training/save_freq": 60, "learning_rate/start_lr": 0.01}
    result = dpjax.train(config([system], long), tmp_path / "run")
    rows = np.genfromtxt(tmp_path / "run" / "lcurve.out", names=True)
    assert {"rmse_e_trn", "rmse_fr_trn", "rmse_fm_trn"} <= set(rows.dtype.names)
    assert rows["rmse_fm_trn"][-1] < 0.4 * rows["rmse_fm_trn"][0]
    assert result.steps == 60
    report = evaluated(dpjax.load(tmp_path / "run"), system)
    assert report.errors["force_mag"].rmse < 0.5 * np.std(np.load(system / "set.000" / "force_mag.npy"))


@pytest.mark.slow
def test_a_checkpoint_has_the_model(system, tmp_path):
    dpjax.train(config([system]), tmp_path / "run")
    pot = dpjax.load(tmp_path / "run")
    assert pot.type_map == list(tiny.TYPE_MAP) and pot.config.virtual_scale == (0.4, 0.0)
    stats = pot.variables["stats"]
    assert not np.any(stats["out_bias"][2:]) and np.any(stats["out_bias"][:2])  # virtual atoms have no energy
    part = system / "set.000"
    arrays = {name: np.load(part / f"{name}.npy").reshape(8, -1, 3) for name in ("coord", "spin")}
    out = pot.evaluate(
        arrays["coord"],
        np.loadtxt(system / "type.raw", int),
        np.load(part / "box.npy").reshape(-1, 3, 3),
        spin=arrays["spin"],
    )
    assert np.all(out["force_mag"][:, ~out["mask_mag"][0, :, 0]] == 0.0)


def test_statistics_are_those_of_all_points(system):
    """Doubling the number of types doubles ``sel``, and the spread is over neighbours that are virtual, too."""
    setup = prepare(load(config([system])))
    davg = setup.variables["stats"]["descriptor"]["davg"]
    assert davg.shape[0] == 4 and np.all(davg[:3, 0] > 0.0) and davg[3, 0] == 0.0
    still = load(config([system], {"model/spin/virtual_scale": 0.2}))
    assert np.any(np.abs(prepare(still).variables["stats"]["descriptor"]["davg"][:2] - davg[:2]) > 1e-3)


def test_data_without_spins_stop_the_run(system, tmp_path):
    bare = magnet(tmp_path / "bare")
    (bare / "set.000" / "spin.npy").unlink()
    with pytest.raises(DataError, match=r"bare/set.000/spin.npy is missing"):
        dpjax.train(config([bare]), tmp_path / "run")
    lacking = magnet(tmp_path / "lacking")
    (lacking / "set.000" / "force_mag.npy").unlink()
    with pytest.raises((DataError, ConfigError), match=r"force_mag.npy.*start_pref_fm"):
        dpjax.train(config([lacking]), tmp_path / "run")


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"model/fitting_net/type": "dos", "loss": {"type": "dos"}}, "model/fitting_net/type"),
        ({"model/spin/scheme": "native"}, "model/spin/scheme"),
        ({"model/spin/allow_missing_label": True}, "model/spin/allow_missing_label"),
    ],
)
def test_what_spins_exclude_is_refused(system, edits, path):
    assert path in [problem.path for problem in not_built(config([system], edits))]


@pytest.mark.parametrize("kind", ["se_e2_a", "se_atten"])
def test_sel_counts_virtual_atoms_too(system, kind):
    """One number for a type and for its virtual atoms, the larger of the two; or one for all that is there."""
    by_type = {"sel": "auto:1.0"}
    mixed = {"type": kind, "rcut": 3.0, "rcut_smth": 1.0, "neuron": [4], "attn_layer": 0, "sel": "auto:1.0"}
    edits = {f"model/descriptor/{name}": value for name, value in by_type.items()}
    setup = prepare(load(config([system], edits if kind == "se_e2_a" else {"model/descriptor": mixed})))
    most, together = np.zeros(4, int), 0
    [points] = points_of(setup.training.systems, (0.4, 0.0))
    for frame in range(8):
        count = frame_table(points, frame, 4, 3.0)[0].count
        most, together = np.maximum(most, count.max(axis=0)), max(together, count.sum(axis=1).max())
    assert most[2] > most[0] > 0 and most[3] == 0
    found, written = setup.config.model.descriptor.sel, setup.config.raw["model"]["descriptor"]["sel"]
    if kind == "se_atten":
        assert found == written == 4 * -(-together // 4)
    else:
        wanted = tuple(4 * -(-n // 4) for n in (max(most[0], most[2]), most[1]))
        assert found == 2 * wanted and written == list(wanted)


def test_losses_and_optimizers_that_do_not_know_of_spins_are_refused(system):
    with pytest.raises(
        ConfigError, match="loss/start_pref_h: not zero, but models with spins are not trained on second"
    ):
        load(config([system], {"loss": {"type": "ener", "start_pref_h": 1, "limit_pref_h": 1}}))
    with pytest.raises(ConfigError, match="optimizer/type: found LKF"):
        load(config([system], {"loss": {"type": "ener"}, "optimizer": {"type": "LKF"}}))
