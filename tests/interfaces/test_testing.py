"""Errors against labels: numbers, pooling, details, chunks, with a model whose mistakes are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpjax.config.fittings import EnerFittingConfig
from dpjax.config.fittings.outputs import ENERGY
from dpjax.errors import DataError, NonFiniteError, OutputError
from dpjax.interfaces import testing
from tests.interfaces.stacking import bare_config, on_arrays

NO_PARAMETERS = EnerFittingConfig()


class Zero:
    """A model that predicts zero everywhere, plus what a test adds; records the sizes of its calls."""

    type_map = ("O", "H")

    def __init__(self, fitting=NO_PARAMETERS, energy=0.0, silent=()):
        self.config = bare_config(fitting, silent)
        self.energy = energy
        self.calls = []

    @on_arrays
    def evaluate(self, coord, atype, cell=None, **inputs):
        return self.predicted(coord, atype, cell, **inputs)

    def predicted(self, coord, atype, cell, **inputs):
        self.calls.append((coord.shape, cell is not None, {name: value.shape for name, value in inputs.items()}))
        n_frame, n_atom = atype.shape
        return {
            "energy": np.full((n_frame, 1), self.energy),
            "force": np.zeros((n_frame, n_atom, 3)),
            "virial": np.zeros((n_frame, 9)),
        }


def write_system(path, n_frame=3, types=(1, 0, 1), labels=("energy", "force", "virial"), periodic=True, seed=0):
    """A small deepmd/npy system with random labels; returns the labels."""
    rng = np.random.default_rng(seed)
    (path / "set.000").mkdir(parents=True)
    path.joinpath("type.raw").write_text(" ".join(map(str, types)))
    path.joinpath("type_map.raw").write_text("O H")
    widths = {"energy": 1, "force": 3 * len(types), "virial": 9, "coord": 3 * len(types)}
    values = {name: rng.normal(size=(n_frame, widths[name])) for name in ("coord", *labels)}
    if periodic:
        values["box"] = np.tile(np.diag([10.0, 11.0, 12.0]).reshape(1, 9), (n_frame, 1))
    else:
        path.joinpath("nopbc").touch()
    for name, value in values.items():
        np.save(path / "set.000" / f"{name}.npy", value)
    return values


def test_errors_of_one_system(tmp_path):
    labels = write_system(tmp_path / "a")
    report = testing.test_model(Zero(), tmp_path / "a")
    errors = report.systems[0].errors
    expected = {
        "energy": labels["energy"],
        "energy_per_atom": labels["energy"] / 3,
        "force": labels["force"],
        "virial": labels["virial"],
        "virial_per_atom": labels["virial"] / 3,
        "stress": labels["virial"] / 1320.0,
    }
    assert list(errors) == list(expected)
    for name, value in expected.items():
        assert errors[name].rmse == pytest.approx(np.sqrt(np.mean(value**2)), rel=1e-12), name
        assert errors[name].mae == pytest.approx(np.mean(np.abs(value)), rel=1e-12), name
        assert errors[name].count == value.size
    assert report.errors == errors


def test_systems_are_pooled_by_their_size(tmp_path):
    first = write_system(tmp_path / "a", n_frame=2)
    second = write_system(tmp_path / "b", n_frame=5, types=(0, 0, 1, 1, 1), seed=1)
    report = testing.test_model(Zero(), tmp_path)
    assert [s.name for s in report.systems] == [str(tmp_path / "a"), str(tmp_path / "b")]
    force = np.concatenate([first["force"].ravel(), second["force"].ravel()])
    assert report.errors["force"].rmse == pytest.approx(np.sqrt(np.mean(force**2)))
    assert report.errors["force"].mae == pytest.approx(np.mean(np.abs(force)))
    per_atom = np.concatenate([first["energy"] / 3, second["energy"] / 5])
    assert report.errors["energy_per_atom"].rmse == pytest.approx(np.sqrt(np.mean(per_atom**2)))
    assert report.comparison("force").reference.shape == (2 * 3 + 5 * 5, 3)


def test_labels_that_are_absent_are_not_compared(tmp_path):
    write_system(tmp_path / "a", labels=("energy",))
    write_system(tmp_path / "b", labels=("force",), periodic=False)
    report = testing.test_model(Zero(), [tmp_path / "a", tmp_path / "b"])
    assert list(report.systems[0].errors) == ["energy", "energy_per_atom"]
    assert list(report.systems[1].errors) == ["force"]
    assert list(report.errors) == ["energy", "energy_per_atom", "force"]
    assert report.comparison("virial") is None


def test_virials_of_open_systems_are_not_compared(tmp_path):
    write_system(tmp_path / "a", periodic=False)
    pot = Zero()
    assert "virial" not in testing.test_model(pot, tmp_path).errors
    assert [periodic for _, periodic, _ in pot.calls] == [False]


def test_chunks_and_number_of_frames(tmp_path, monkeypatch):
    labels = write_system(tmp_path / "a", n_frame=7)
    whole = testing.test_model(Zero(), tmp_path).errors
    monkeypatch.setattr(testing, "ATOMS_PER_CHUNK", 7)
    pot, seen = Zero(), []
    assert testing.test_model(pot, tmp_path, progress=seen.append).errors["force"].rmse == pytest.approx(
        whole["force"].rmse
    )
    assert [shape[0] for shape, _, _ in pot.calls] == [2, 2, 2, 1]
    assert [system.n_frame for system in seen] == [7]
    first = testing.test_model(Zero(), tmp_path, n_frames=2)
    assert first.systems[0].n_frame == 2
    assert first.errors["energy"].mae == pytest.approx(np.mean(np.abs(labels["energy"][:2])))
    assert testing.test_model(Zero(), tmp_path, n_frames=0).systems[0].n_frame == 7


def test_small_systems_share_calls(tmp_path, monkeypatch):
    """Systems of two and three atoms, with and without cells, in one call, those with Hessians in another; reports in order."""
    for i, name in enumerate("abcde"):
        write_system(tmp_path / name, n_frame=i + 1, types=(1, 0, 1)[: 2 + i % 2], periodic=i % 3 != 1, seed=i)
    np.save(tmp_path / "c" / "set.000" / "hessian.npy", np.zeros((3, 36)))
    alone = [testing.test_model(Curved(), tmp_path / name).systems[0] for name in "abcde"]
    sizes, evaluate = [], Curved.evaluate
    monkeypatch.setattr(
        Curved,
        "evaluate",
        lambda self, coord, *args, **more: sizes.append(len(coord)) or evaluate(self, coord, *args, **more),
    )
    shown = []
    report = testing.test_model(Curved(), tmp_path, progress=shown.append)
    assert sizes == [1 + 2, 3, 4 + 5]
    assert list(report.systems) == shown
    assert [(s.name, s.n_frame, s.errors) for s in shown] == [(s.name, s.n_frame, s.errors) for s in alone]
    sizes.clear()
    monkeypatch.setattr(testing, "ATOMS_PER_CHUNK", 10)
    again = testing.test_model(Curved(), tmp_path)
    assert sizes == [1 + 2, 3, 3, 1, 5]
    for one, other in zip(again.systems, alone, strict=True):
        assert one.n_frame == other.n_frame
        assert one.errors.keys() == other.errors.keys()
        for name, error in one.errors.items():
            assert error.rmse == pytest.approx(other.errors[name].rmse, rel=1e-12), name


def test_model_inputs_are_read_and_passed(tmp_path):
    write_system(tmp_path / "a", n_frame=2)
    np.save(tmp_path / "a/set.000/fparam.npy", np.ones((2, 2)))
    np.save(tmp_path / "a/set.000/aparam.npy", np.ones((2, 3)))
    pot = Zero(EnerFittingConfig(numb_fparam=2, numb_aparam=1))
    testing.test_model(pot, tmp_path)
    assert pot.calls[0][2] == {"fparam": (2, 2), "aparam": (2, 3, 1)}


def test_details_hold_labels_then_predictions(tmp_path):
    labels = write_system(tmp_path / "a", types=(1, 0, 1))  # sorted by type inside dpjax, not in the files
    write_system(tmp_path / "b", labels=("energy",), seed=1)
    report = testing.test_model(Zero(energy=0.5), tmp_path)
    files = report.write_details(tmp_path / "out" / "run.1")
    suffixes = ("e", "e_peratom", "f", "v", "v_peratom", "s")
    assert [f.name for f in files] == [f"run.1.{suffix}.out" for suffix in suffixes]
    energy = np.loadtxt(files[0])
    np.testing.assert_allclose(energy[:3, 0], labels["energy"].ravel())
    np.testing.assert_array_equal(energy[:, 1], 0.5)
    np.testing.assert_allclose(np.loadtxt(files[2])[:, :3], labels["force"].reshape(-1, 3))
    np.testing.assert_allclose(np.loadtxt(files[4])[:, :9], labels["virial"] / 3)
    headers = [line for line in files[0].read_text().splitlines() if line.startswith("#")]
    assert headers == [f"# {tmp_path / name}: data_e pred_e" for name in "ab"]
    assert "data_fx data_fy data_fz pred_fx pred_fy pred_fz" in files[2].read_text()


def test_the_report_is_plain_numbers(tmp_path):
    write_system(tmp_path / "a")
    content = json.loads(json.dumps(testing.test_model(Zero(), tmp_path).to_dict()))
    assert content["systems"][0]["frames"] == 3
    assert content["weighted"]["rmse_force"] == content["systems"][0]["errors"]["rmse_force"]


def test_nothing_to_compare_with(tmp_path):
    write_system(tmp_path / "a", labels=())
    with pytest.raises(DataError, match="none of energy.npy"):
        testing.test_model(Zero(), tmp_path)
    with pytest.raises(DataError, match="no system to test on"):
        testing.test_model(Zero(), [])


def test_predictions_must_be_finite(tmp_path):
    write_system(tmp_path / "a")
    with pytest.raises(NonFiniteError, match="frame 0: the predicted energy"):
        testing.test_model(Zero(energy=np.nan), tmp_path)


def test_unwritable_details(tmp_path):
    write_system(tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the details"):
        testing.test_model(Zero(), tmp_path).write_details(tmp_path / "file" / "x")


def test_shuffled_frames_repeat_with_their_seed(tmp_path):
    energy = write_system(tmp_path / "a", n_frame=40)["energy"]

    def drawn(seed, n_frames=None):
        report = testing.test_model(Zero(), tmp_path, n_frames, shuffle_seed=seed)
        return report.systems[0].comparisons["energy"].reference

    assert np.array_equal(drawn(3, 10), drawn(3)[:10])
    assert not np.array_equal(drawn(3), drawn(4))
    assert np.array_equal(np.sort(drawn(3), axis=0), np.sort(energy, axis=0))


class Atomic(Zero):
    """Zero with atomic energies 0, 1, 2, ... along the rows of a frame."""

    def predicted(self, coord, atype, cell=None, atomic=False, **inputs):
        out = super().predicted(coord, atype, cell, **inputs)
        if atomic:
            out["atom_energy"] = np.tile(np.arange(atype.shape[1])[None, :, None], (len(coord), 1, 1)).astype(float)
        return out


def test_atomic_energies(tmp_path):
    write_system(tmp_path / "a", n_frame=2, types=(1, 0, 1))
    labels = np.array([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    np.save(tmp_path / "a" / "set.000" / "atom_ener.npy", labels)
    assert "atomic_energy" not in testing.test_model(Atomic(), tmp_path).errors
    report = testing.test_model(Atomic(), tmp_path, atomic=True)
    comparison = report.systems[0].comparisons["atomic_energy"]
    assert np.array_equal(comparison.reference[:, 0], labels.ravel())
    assert np.array_equal(comparison.prediction[:, 0], [1, 0, 2, 1, 0, 2])  # the model sees the atoms sorted by type
    assert (tmp_path / "x.ae.out") in report.write_details(tmp_path / "x")
    without_oxygen = testing.test_model(Atomic(silent=(0,)), tmp_path, atomic=True).systems[0].comparisons
    assert np.array_equal(without_oxygen["atomic_energy"].reference[:, 0], labels[:, [0, 2]].ravel())
    assert len(without_oxygen["force"].reference) == 2 * 3


def test_missing_atomic_energies_are_named(tmp_path):
    write_system(tmp_path / "a")
    with pytest.raises(
        DataError, match=r"atom_ener.npy \(or atomic_ener.npy\) is missing.*without the values of the atoms"
    ):
        testing.test_model(Zero(), tmp_path, atomic=True)


class Curved(Zero):
    """Zero with a Hessian whose entries are the product of its two coordinates' values in a list of numbers."""

    def predicted(self, coord, atype, cell=None, hessian=False, **inputs):
        out = super().predicted(coord, atype, cell, **inputs)
        if hessian:
            out["hessian"] = np.einsum("fi,fj->fij", *2 * [coord.reshape(len(coord), -1)])
        return out


def test_hessians_are_compared_where_data_have_them(tmp_path):
    """Atoms are sorted by type inside, on both axes, and back in the order of the file in the details."""
    written = write_system(tmp_path / "a", n_frame=2, types=(1, 0, 1))
    labels = np.random.default_rng(1).normal(size=(2, 81))
    np.save(tmp_path / "a" / "set.000" / "hessian.npy", labels)
    write_system(tmp_path / "b")
    report = testing.test_model(Curved(), tmp_path)
    want = np.einsum("fi,fj->fij", *2 * [written["coord"]]).reshape(-1)
    assert report.errors["hessian"].rmse == pytest.approx(np.sqrt(np.mean((labels.reshape(-1) - want) ** 2)), rel=1e-12)
    [path] = [p for p in report.write_details(tmp_path / "x") if p.name == "x.h.out"]
    np.testing.assert_allclose(np.loadtxt(path), np.stack([labels.reshape(-1), want], axis=1), rtol=1e-12)
    assert "hessian" not in report.systems[1].errors


def test_hessians_of_placeholders_do_not_count():
    real = np.array([[True, False, True], [True, True, True]])
    [quantity] = [q for q in testing.quantities_of(ENERGY, atomic=False) if q.name == "hessian"]
    values = np.arange(2 * 81.0).reshape(2, 81)
    rows = quantity.rows(values, testing.Structures(real, real, real, None))
    kept = np.repeat(real[0], 3)
    assert rows.shape == (36 + 81, 1)
    np.testing.assert_array_equal(rows[:36, 0], values[0].reshape(9, 9)[kept][:, kept].ravel())
