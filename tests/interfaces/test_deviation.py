"""Model deviation against its definition, on files of data, and from the command line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces.deviation import COLUMNS, model_deviation, system_deviations
from dpjax.interfaces.files import load_all
from tests.training import tiny

SECTION = {
    "type_map": ["O", "H"],
    "descriptor": {"type": "se_e2_a", "rcut": 3.0, "rcut_smth": 1.0, "sel": [8, 16], "neuron": [2, 4], "axis_neuron": 2},
    "fitting_net": {"neuron": [4]},
}  # fmt: skip


@pytest.fixture(scope="module")
def models():
    first = dpjax.build(SECTION)
    return [first, *(first.with_variables(dpjax.build(SECTION, seed=seed).variables) for seed in (1, 2))]


@pytest.fixture(scope="module")
def files(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for i, model in enumerate(models):
        dpjax.save(model, folder / f"{i}.dp")
    return [str(folder / f"{i}.dp") for i in range(3)]


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "water")


def structures(system: Path):
    part = system / "set.000"
    coord, box = (np.load(part / f"{name}.npy") for name in ("coord", "box"))
    return coord.reshape(len(coord), -1, 3), np.loadtxt(system / "type.raw", dtype=int), box.reshape(-1, 3, 3)


@pytest.mark.parametrize("relative", [None, 0.5])
def test_the_spread_of_the_models(models, system, relative):
    coord, atype, cell = structures(system)
    outputs = [model.evaluate(coord, atype, cell) for model in models]
    n_atom = len(atype)
    energy, force, virial = (np.stack([out[name] for out in outputs]) for name in ("energy", "force", "virial"))
    of_atoms = np.sqrt((force.std(axis=0) ** 2).sum(axis=-1))
    of_virial = (virial / n_atom).std(axis=0)
    if relative is not None:
        of_atoms /= np.linalg.norm(force.mean(axis=0), axis=-1) + relative
        of_virial /= np.linalg.norm(virial.mean(axis=0) / n_atom, axis=-1)[:, None] + relative
    found = model_deviation(models, coord, atype, cell, relative=relative, relative_v=relative)
    np.testing.assert_allclose(found.atoms, of_atoms, rtol=1e-10)
    np.testing.assert_allclose(
        found.force, np.stack([f(of_atoms, axis=1) for f in (np.max, np.min, np.mean)], 1), rtol=1e-10
    )
    np.testing.assert_allclose(found.energy, (energy[..., 0] / n_atom).std(axis=0), rtol=1e-9)
    expected = [of_virial.max(1), of_virial.min(1), np.sqrt((of_virial**2).sum(1)) / 3]
    np.testing.assert_allclose(found.virial, np.stack(expected, 1), rtol=1e-9)


def test_the_error_of_one_model(models, system):
    coord, atype, cell = structures(system)
    own = models[1].evaluate(coord, atype, cell)
    labels = {
        "energy": own["energy"] + 0.3 * len(atype),
        "force": own["force"] + [0, 3e-3, 4e-3],
        "virial": own["virial"],
    }
    found = model_deviation(models[1:2], coord, atype, cell, labels=labels)
    np.testing.assert_allclose(found.energy, 0.3, rtol=1e-9)
    np.testing.assert_allclose(found.force, 5e-3, rtol=1e-9)
    np.testing.assert_allclose(found.virial, 0, atol=1e-12)


def test_placeholders_do_not_count(models, system):
    coord, atype, cell = structures(system)
    padded = np.concatenate([coord, np.zeros((len(coord), 2, 3))], axis=1), np.append(atype, [-1, -1])
    ours, theirs = model_deviation(models, *padded, cell), model_deviation(models, coord, atype, cell)
    np.testing.assert_allclose(ours.table, theirs.table, rtol=1e-10)
    assert np.isnan(ours.atoms[:, -2:]).all()


def test_the_table(models, files, system, tmp_path, capsys):
    """Atoms in the order of the files; the largest deviation is named."""
    out = tmp_path / "deep" / "devi.out"
    argv = ["model-devi", "-m", *files, "-s", str(system.parent), "-o", str(out), "-f", "10", "--atomic"]
    assert main(argv) == 0 and main(argv) == 0  # the second writes it anew
    names = out.read_text().splitlines()[1].split()
    assert names == ["#", "step", *COLUMNS, "atm_devi_f(N)"]
    table = np.loadtxt(out)
    assert table[:, 0].tolist() == [0, 10, 20, 30]
    found = model_deviation(models, *structures(system))
    np.testing.assert_allclose(table[:, 1:], np.concatenate([found.table, found.atoms], axis=1), rtol=1e-6)
    frame = int(found.force[:, 0].argmax())
    assert f"4 frames, largest force deviation {found.force[frame, 0]:.4g} in frame {frame}" in capsys.readouterr().out


@pytest.mark.slow
def test_an_ensemble_is_one_model_file(system, tmp_path):
    config = tiny.config([system], tiny.ENERGY_ONLY | {"dpjax/ensemble": 2, "training/numb_steps": 0})
    dpjax.train(config, tmp_path / "run")
    pots = load_all(tmp_path / "run")
    assert len(pots) == 2 and pots[0]._programs is pots[1]._programs
    [(_, together)] = system_deviations(pots, system)
    apart = model_deviation([dpjax.load(tmp_path / "run", member=i) for i in range(2)], *structures(system))
    np.testing.assert_allclose(together.table, apart.table, rtol=1e-9)
    assert (
        main(
            ["model-devi", "-m", f"{tmp_path}/run#0", f"{tmp_path}/run#1", "-s", str(system), "-o", str(tmp_path / "o")]
        )
        == 0
    )


def test_what_cannot_be_compared(models, files, system, tmp_path, capsys):
    coord, atype, cell = structures(system)
    with pytest.raises(ConfigError, match="found 1 model, expected at least two, or one ensemble"):
        model_deviation(models[:1], coord, atype, cell)
    other = dpjax.build(SECTION | {"type_map": ["H", "O"]})
    with pytest.raises(ConfigError, match="different types, O H and H O"):
        model_deviation([models[0], other], coord, atype, cell)
    dipole = dpjax.build(SECTION | {"fitting_net": {"type": "dipole", "neuron": [4]}})
    with pytest.raises(ConfigError, match="predicts dipole, expected energies"):
        model_deviation([dipole, dipole], coord, atype, cell)
    bare = tiny.system(tmp_path / "bare")
    (bare / "set.000" / "force.npy").unlink()
    with pytest.raises(DataError, match=r"bare: found no force.npy"):
        list(system_deviations(models, bare, real_error=True))
    assert main(["model-devi", "-m", *files, "--relative", "-1"]) == 2
    assert "expected a number that is not negative" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif("PEER" not in os.environ, reason="PEER names no environment with DeePMD-kit")
@pytest.mark.parametrize("options", [[], ["--atomic", "--relative", "0.5"], ["--real_error"]])
def test_deepmd_kit_writes_the_same_table(files, system, tmp_path, options):
    argv = ["-s", str(system), "-f", "5", *options]
    assert main(["model-devi", "-m", *files, "-o", str(tmp_path / "ours"), *argv]) == 0
    in_pytorch = [str(tmp_path / Path(file).with_suffix(".pth").name) for file in files]  # only there it has forces
    runs = [["convert-backend", *pair] for pair in zip(files, in_pytorch, strict=True)]
    for run in [*runs, ["--pt", "model-devi", "-m", *in_pytorch, "-o", str(tmp_path / "theirs"), *argv]]:
        done = subprocess.run([f"{os.environ['PEER']}/bin/dp", *run], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = (np.loadtxt(tmp_path / name) for name in ("ours", "theirs"))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-9)
    headers = [(tmp_path / name).read_text().splitlines()[1].split() for name in ("ours", "theirs")]
    assert headers[0] == headers[1]
