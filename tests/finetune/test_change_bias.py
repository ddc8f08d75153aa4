"""`dpjax change-bias` against least squares by hand, on model files and checkpoints."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.errors import ConfigError, DataError, ModelError, OutputError
from dpjax.interfaces.bias import change_bias
from dpjax.interfaces.potential import Potential
from tests.training import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two systems of different compositions."""
    folder = tmp_path_factory.mktemp("data")
    for seed, n_atom in enumerate((4, 6)):
        tiny.system(folder / f"water{n_atom}", n_atom, 3, seed)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    section = {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "se_e2_r",
            "rcut": 3.0,
            "rcut_smth": 1.0,
            "sel": [8, 16],
            "neuron": [2, 4],
            "activation_function": "relu",
        },
        "fitting_net": {"neuron": [4]},
    }
    pot = dpjax.build(section)
    pot.variables["stats"] = pot.variables["stats"] | {"out_bias": np.array([[-3.0], [-1.0]])}
    path = tmp_path_factory.mktemp("model") / "model.dp"
    dpjax.save(pot, path)
    return path


def rows(data, n_frame: int):
    """(frame, type) atoms and (frame,) energies, a system at a time."""
    for system in sorted(data.iterdir()):
        energy = np.load(system / "set.000" / "energy.npy")[:n_frame]
        counts = np.bincount(np.loadtxt(system / "type.raw", dtype=int), minlength=2)
        yield np.tile(counts, (n_frame, 1)), energy.reshape(-1)


def by_hand(data, n_frame: int, predicted: list[np.ndarray] | None = None) -> np.ndarray:
    """Least squares of the energies, or of what a model leaves of them."""
    counts, energy = zip(*rows(data, n_frame), strict=True)
    left = np.concatenate(energy) - (np.concatenate(predicted) if predicted else 0)
    return np.linalg.lstsq(np.concatenate(counts), left, rcond=None)[0]


@pytest.fixture
def predicted(monkeypatch):
    """Energies that models gave in this test, a call at a time."""
    found, evaluate = [], Potential.evaluate

    def recorded(self, *args, **rest):
        out = evaluate(self, *args, **rest)
        found.append(out["energy"][:, 0])
        return out

    monkeypatch.setattr(Potential, "evaluate", recorded)
    return found


@pytest.mark.parametrize(("mode", "n_frame"), [("change", 3), ("set", 2)])
def test_a_model_file(data, model, tmp_path, predicted, mode, n_frame):
    out = tmp_path / "out.dp"
    bias = change_bias(model, out, data, mode=mode, n_frames=n_frame)
    old, new = dpjax.load(model), dpjax.load(out)
    assert [len(energies) for energies in predicted] == ([n_frame, n_frame] if mode == "change" else [])
    before = old.variables["stats"]["out_bias"][:, 0] if mode == "change" else 0.0
    np.testing.assert_allclose(bias[:, 0], before + by_hand(data, n_frame, predicted), atol=1e-9)
    np.testing.assert_array_equal(new.variables["stats"]["out_bias"], bias)
    jax.tree.map(np.testing.assert_array_equal, new.variables["params"], old.variables["params"])
    assert (new.variables["stats"]["out_std"] == old.variables["stats"]["out_std"]).all() == (mode == "change")


@pytest.mark.slow
def test_a_checkpoint_can_be_continued(data, tmp_path, capsys):
    edits = tiny.ENERGY_ONLY | {"training/numb_steps": 1, "training/training_data/batch_size": 3}
    config = tiny.config([data / "water6"], edits)
    result = dpjax.train(config, tmp_path / "run")
    out = tmp_path / "changed"
    assert main(["change-bias", str(tmp_path / "run"), "-s", str(data), "-m", "set", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}" in said and "the bias per type is now" in said
    old, new = dpjax.load(result.checkpoint), dpjax.load(out)
    np.testing.assert_allclose(new.variables["stats"]["out_bias"][:, 0], by_hand(data, 3), atol=1e-9)
    jax.tree.map(np.testing.assert_array_equal, new.variables["params"], old.variables["params"])
    config["training"]["numb_steps"] = 2
    assert dpjax.train(config, tmp_path / "next", restart=out).steps == 2
    with pytest.raises(OutputError, match="is there already"):
        change_bias(tmp_path / "run", out, data)


def test_values_of_the_user(model, tmp_path, capsys):
    out = tmp_path / "out.yaml"
    assert main(["change-bias", str(model), "-b", "-94.5", "1e-3", "-o", str(out)]) == 0
    assert dpjax.load(out).variables["stats"]["out_bias"][:, 0].tolist() == [-94.5, 1e-3]
    assert "now -94.5, 0.001" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"found 1 values, expected one for each of the 2 types \(O, H\)"):
        change_bias(model, out, values=[1.0])


def test_where_the_result_goes_without_a_name(model, capsys):
    assert main(["change-bias", str(model), "-b", "1", "2"]) == 0
    assert (model.parent / "model_updated.dp").exists()


def test_what_cannot_be_done(data, model, tmp_path):
    with pytest.raises(ModelError, match="end it in"):
        change_bias(model, tmp_path / "folder", data)
    frozen = tmp_path / "model.dpx"
    frozen.touch()
    with pytest.raises(ModelError, match="dpjax freeze"):
        change_bias(frozen, tmp_path / "out.dpx", data)
    with pytest.raises(ModelError, match="holds a single model without branches"):
        change_bias(model, tmp_path / "out.dp", data, head="water")
    with pytest.raises(ModelError, match="no such model file"):
        change_bias(tmp_path / "no.dp", tmp_path / "out.dp", data)
    with pytest.raises(ConfigError, match="mode: found 'shift'"):
        change_bias(model, tmp_path / "out.dp", data, mode="shift")
    unlabelled = tiny.system(tmp_path / "unlabelled", 4, 1)
    (unlabelled / "set.000" / "energy.npy").unlink()
    with pytest.raises(DataError, match="no system of .* has the label energy"):
        change_bias(model, tmp_path / "out.dp", unlabelled)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-b", "1", "2", "-m", "set"], "-m/--mode: says how data are used"),
        (["-b", "1", "2", "-n", "3"], "-n/--numb-batch: says how data are used"),
        (["-b", "1", "2", "-s", "data"], "not allowed with"),
        (["-n", "-3"], "expected"),
        (["-m", "shift"], "invalid choice"),
    ],
)
def test_mistakes_on_the_command_line(capsys, argv, message):
    assert main(["change-bias", "model.dp", *argv]) == 2
    assert message in capsys.readouterr().err
