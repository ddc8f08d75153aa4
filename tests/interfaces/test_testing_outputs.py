"""Errors of models of dipoles, polarizabilities, densities of states and properties, with a model whose values are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.config.fittings import DipoleFittingConfig, DosFittingConfig, PolarFittingConfig, PropertyFittingConfig
from dpjax.errors import DataError, NonFiniteError
from dpjax.interfaces.testing import test_model as run  # not a test case
from tests.interfaces.stacking import bare_config, on_arrays
from tests.interfaces.test_testing import write_system

TYPES = (1, 0, 1, 1)  # H O H H
FITTINGS = {
    "dipole": DipoleFittingConfig(),
    "polar": PolarFittingConfig(),
    "dos": DosFittingConfig(numb_dos=5),
    "property": PropertyFittingConfig(property_name="band_gap", task_dim=2),
    "intensive": PropertyFittingConfig(property_name="band_gap", task_dim=2, intensive=True),
}
EVERY = pytest.mark.parametrize("fitting", FITTINGS.values(), ids=FITTINGS)


class Linear:
    """A model whose atoms have values linear in their coordinates, and none where their type is silent."""

    type_map = ("O", "H")

    def __init__(self, fitting, silent=(), factor=1.0):
        self.config = bare_config(fitting, silent)
        self.silent, self.factor = silent, factor

    @on_arrays
    def evaluate(self, coord, atype, cell=None, **inputs):
        assert not inputs  # derivatives are not asked for
        output = self.config.fitting_net.output
        atoms = self.values(coord, atype)
        counted = (atype >= 0) & ~np.isin(atype, self.silent)
        total = atoms.sum(1) / (counted.sum(1)[:, None] if output.intensive else 1)
        return {
            output.total: total.reshape(-1, *output.total_shape),
            output.atomic: atoms.reshape(*atype.shape, *output.total_shape),
        }

    def values(self, coord, atype):
        """(frame, atom, number) in the order of ``coord``."""
        size = self.config.fitting_net.output.size
        matrix = self.factor * np.random.default_rng(5).normal(size=(3, size))
        counted = (atype >= 0) & ~np.isin(atype, self.silent)
        return coord.reshape(*atype.shape, 3) @ matrix * counted[..., None]


def write_labels(path, fitting, n_frame=3, types=TYPES, atomic=True, stem=None, seed=0):
    """A system with random labels of the model's output; returns coord, labels of frames, labels of atoms."""
    output = fitting.output
    coord = write_system(path, n_frame=n_frame, types=types, labels=(), seed=seed)["coord"]
    rng = np.random.default_rng(seed + 100)
    total = rng.normal(size=(n_frame, output.size))
    atoms = rng.normal(size=(n_frame, len(types), output.size))
    np.save(path / "set.000" / f"{output.label}.npy", total)
    if atomic:
        np.save(path / "set.000" / f"{stem or output.atom_label}.npy", atoms.reshape(n_frame, -1))
    return coord, total, atoms


def rmse(difference):
    return pytest.approx(np.sqrt(np.mean(np.square(difference))), rel=1e-12)


@EVERY
def test_errors_of_frames_and_atoms(tmp_path, fitting):
    coord, total, atoms = write_labels(tmp_path / "a", fitting)
    pot, output = Linear(fitting), fitting.output
    own = pot.values(coord, np.tile(TYPES, (3, 1)))
    whole = own.mean(1) if output.intensive else own.sum(1)
    errors = run(pot, tmp_path, atomic=True).errors
    assert errors[output.label].rmse == rmse(whole - total)
    assert errors[output.label].mae == pytest.approx(np.mean(np.abs(whole - total)))
    assert errors[f"atomic_{output.label}"].rmse == rmse(own - atoms)
    assert errors[f"atomic_{output.label}"].count == own.size
    assert f"atomic_{output.label}" not in run(pot, tmp_path).errors


@EVERY
def test_padding_atoms_of_mixed_systems_do_not_count(tmp_path, fitting):
    coord, _, atoms = write_labels(tmp_path / "a", fitting, n_frame=2)
    types = np.array([[0, 1, 1, -1], [1, 0, -1, -1]])
    np.save(tmp_path / "a" / "set.000" / "real_atom_types.npy", types)
    comparison = run(Linear(fitting), tmp_path, atomic=True).comparison(f"atomic_{fitting.output.label}")
    assert np.array_equal(comparison.reference, atoms[types >= 0])
    assert np.allclose(comparison.prediction, Linear(fitting).values(coord, types)[types >= 0])


def test_dos_per_atom_and_tensors_per_counted_atom(tmp_path):
    for name, silent, per_atom in (("dos", (0,), 4), ("dipole", (0,), 3), ("polar", (1,), 1)):
        fitting = FITTINGS[name]
        write_labels(tmp_path / name, fitting, atomic=False)
        errors = run(Linear(fitting, silent), tmp_path / name).errors
        label = fitting.output.label
        assert errors[f"{label}_per_atom"].rmse == pytest.approx(errors[label].rmse / per_atom)
        if name != "dos":
            assert errors[f"{label}_per_sqrt_atom"].mae == pytest.approx(errors[label].mae / np.sqrt(per_atom))


def test_frames_without_a_counted_atom(tmp_path):
    fitting = DipoleFittingConfig(sel_type=0)
    _, total, _ = write_labels(tmp_path / "a", fitting, types=(1, 1))
    errors = run(Linear(fitting, silent=(1,)), tmp_path, atomic=True).errors
    assert set(errors) == {"dipole"} and errors["dipole"].rmse == rmse(total)
    write_labels(tmp_path / "b", fitting, n_frame=2, seed=1)
    pooled = run(Linear(fitting, silent=(1,)), tmp_path, atomic=True).errors
    assert (pooled["dipole"].count, pooled["dipole_per_atom"].count, pooled["atomic_dipole"].count) == (15, 6, 6)


@pytest.mark.parametrize("sel_type", [0, (0,)])
def test_files_of_the_selected_atoms_alone(tmp_path, sel_type):
    fitting = DipoleFittingConfig(sel_type=sel_type)
    coord, _, atoms = write_labels(tmp_path / "a", fitting, atomic=False)
    np.save(tmp_path / "a" / "set.000" / "atomic_dipole.npy", atoms[:, 1])  # of the oxygen
    pot = Linear(fitting, silent=(1,))
    errors = run(pot, tmp_path, atomic=True).errors
    own = pot.values(coord, np.tile(TYPES, (3, 1)))[:, 1]
    assert errors["atomic_dipole"].rmse == rmse(own - atoms[:, 1])


def test_systems_are_pooled_by_their_size(tmp_path):
    fitting = FITTINGS["dos"]
    write_labels(tmp_path / "a", fitting, n_frame=2)
    write_labels(tmp_path / "b", fitting, n_frame=5, types=(0, 1), seed=1)
    report = run(Linear(fitting), tmp_path, atomic=True)
    for name in ("dos", "atomic_dos"):
        comparison = report.comparison(name)
        assert report.errors[name].rmse == rmse(comparison.prediction - comparison.reference)
    assert report.comparison("atomic_dos").reference.shape == (2 * 4 + 5 * 2, 5)


@pytest.mark.parametrize(
    "name, files, columns",
    [
        ("dipole", {"x.out": 3, "x.atomic.out": 12}, "data_x data_y data_z pred_x pred_y pred_z"),
        ("polar", {"x.out": 3, "x.atomic.out": 12}, "data_pxx data_pxy data_pxz data_pyx"),
        ("dos", {"x.dos.out": 15, "x.ados.out": 60}, "data_dos pred_dos"),
        ("property", {"x.property.out": 6, "x.aproperty.out": 24}, "data_property pred_property"),
    ],
)
def test_details(tmp_path, name, files, columns):
    fitting = FITTINGS[name]
    coord, total, atoms = write_labels(tmp_path / "a", fitting)
    pot = Linear(fitting)
    written = run(pot, tmp_path / "a", atomic=True).write_details(tmp_path / "x")
    assert [file.name for file in written] == list(files)
    own = pot.values(coord, np.tile(TYPES, (3, 1)))
    for file, label, guess in zip(written, (total, atoms), (own.sum(1), own), strict=True):
        rows = np.loadtxt(file)
        assert len(rows) == files[file.name]
        half = rows.shape[1] // 2
        assert np.allclose(rows[:, :half].ravel(), label.ravel())
        assert np.allclose(rows[:, half:].ravel(), guess.ravel())
    assert written[0].read_text().startswith(f"# {tmp_path / 'a'}: {columns}")


@EVERY
def test_missing_labels_are_named(tmp_path, fitting):
    write_system(tmp_path / "a", types=TYPES, labels=("energy",))
    label, own = fitting.output.label, fitting.output.atom_label
    with pytest.raises(DataError, match=rf"a: found none of {label}\.npy in its sets"):
        run(Linear(fitting), tmp_path)
    other = own.replace("atom_", "atomic_")
    with pytest.raises(DataError, match=rf"{own}.npy \(or {other}.npy\) is missing.*without the values of the atoms"):
        run(Linear(fitting), tmp_path, atomic=True)


def test_labels_of_atoms_alone(tmp_path):
    fitting = FITTINGS["polar"]
    write_labels(tmp_path / "a", fitting, stem="atomic_polarizability")
    (tmp_path / "a" / "set.000" / "polarizability.npy").unlink()
    assert set(run(Linear(fitting), tmp_path, atomic=True).errors) == {"atomic_polarizability"}


def test_predictions_must_be_finite(tmp_path):
    write_labels(tmp_path / "a", FITTINGS["dos"])
    with pytest.raises(NonFiniteError, match="frame 0: the predicted dos"):
        run(Linear(FITTINGS["dos"], factor=np.nan), tmp_path)


@EVERY
def test_the_command_prints_and_draws(tmp_path, monkeypatch, capsys, fitting):
    monkeypatch.setattr(dpjax, "load", lambda path: Linear(fitting), raising=False)
    _, total, _ = write_labels(tmp_path / "a", fitting)
    write_labels(tmp_path / "b", fitting, seed=1)
    prefix = str(tmp_path / "out" / "x")
    argv = ["test", "-m", "model.dp", "-s", str(tmp_path), "-a", "-d", prefix, "--plot", prefix, "-o", f"{prefix}.json"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "x.json").read_text())["weighted"]
    for name in (fitting.output.label, f"atomic_{fitting.output.label}"):
        assert f"{content[f'rmse_{name}']:.4e} {content[f'mae_{name}']:12.4e} (unit of the label)" in out
    for picture in ("parity", "errors"):
        assert (tmp_path / "out" / f"x.{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_titles_are_aligned(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dpjax, "load", lambda path: Linear(FITTINGS["polar"]), raising=False)
    write_labels(tmp_path / "a", FITTINGS["polar"])
    assert main(["test", "-m", "model.dp", "-s", str(tmp_path), "-a"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split("  ")[1] for row in rows] == [
        "Polarizability",
        "Polarizability per √atoms",
        "Polarizability per atom",
        "Atomic polarizability",
    ]
    assert {row.index(row.split()[-6]) + len(row.split()[-6]) for row in rows} == {head.index("RMSE") + 4}


MODEL = {
    "type_map": ["O", "H"],
    "descriptor": {"type": "se_atten", "sel": 8, "rcut": 4.0, "rcut_smth": 0.5, "neuron": [4, 8], "axis_neuron": 2}
    | {"attn_layer": 0},
    "atom_exclude_types": [1],
}
NETS = {
    "dipole": {"type": "dipole", "sel_type": [0]},
    "polar": {"type": "polar", "shift_diag": False},
    "dos": {"type": "dos", "numb_dos": 5},
    "property": {"type": "property", "property_name": "band_gap", "task_dim": 2, "intensive": True},
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_a_model_against_its_own_predictions(tmp_path, net):
    pot = dpjax.build(MODEL | {"fitting_net": net | {"neuron": [8, 8], "seed": 1}})
    output = pot.config.fitting_net.output
    coord, _, _ = write_labels(tmp_path / "a", pot.config.fitting_net)
    cell = np.tile(np.diag([10.0, 11.0, 12.0]), (3, 1, 1))
    out = pot.evaluate(coord.reshape(3, 4, 3), np.array(TYPES), cell)
    assert np.abs(out[output.total]).max() > 1e-6
    np.save(tmp_path / "a" / "set.000" / f"{output.label}.npy", out[output.total].reshape(3, -1) + 0.5)
    atoms = (
        out[output.atomic].reshape(3, 4, -1) + np.array([9.0, 0.25, 9.0, 9.0])[:, None]
    )  # 9 where atoms are excluded
    np.save(tmp_path / "a" / "set.000" / f"{output.atom_label}.npy", atoms.reshape(3, -1))
    errors = run(pot, tmp_path, atomic=True).errors
    assert errors[output.label].rmse == pytest.approx(0.5, rel=1e-9)
    assert errors[f"atomic_{output.label}"].mae == pytest.approx(0.25, rel=1e-9)
    assert errors[f"atomic_{output.label}"].count == 3 * output.size
