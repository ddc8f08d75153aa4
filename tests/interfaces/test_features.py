"""Descriptors and the last hidden layer: what they are for the prediction, symmetries, shapes, files, and the commands."""

from __future__ import annotations

import copy

import h5py
import jax
import numpy as np
import pytest

import dpjax
from dpjax.batching import choose_layout, pack
from dpjax.cli.main import main
from dpjax.errors import DataError, ModelError, OutputError
from dpjax.interfaces.feature_files import write_feature_files
from dpjax.models import predict
from tests.contracts.cases import CASES, model, potential, se_atten, se_e2_a
from tests.contracts.structures import Structure, make, rotation
from tests.training import tiny

QUICK = ("se_e2_a-two-side-exclusions", "se_atten")
ALSO = ("se_e2_r", "hybrid", "se_e3", "se_e3_tebd", "se_atten_v2")
KINDS = [
    pytest.param(case, id=case.name, marks=[] if case.name in QUICK else pytest.mark.slow)
    for case in CASES
    if case.name in QUICK + ALSO
]
A, B = make("crystal", seed=1), make("cluster", numbers=(2, 3), seed=2)
SILENT = model(se_e2_a(), fitting={"numb_fparam": 2, "numb_aparam": 1}, atom_exclude_types=[1])


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(model(se_e2_a()))


def both(pot: dpjax.Potential, s: Structure) -> dict[str, np.ndarray]:
    return {name: values[0] for name, values in pot.features(s.coord[None], s.atype, s.cell[None]).items()}


def energies(pot: dpjax.Potential, s: Structure) -> np.ndarray:
    """(n_atom,) as ``evaluate`` gives them, without the derivatives, which take long to compile."""
    frames = pot.frames(s.coord[None], s.atype, s.cell[None])
    layout = choose_layout(frames, pot.model.n_section, pot.model.sel)
    batch, [places] = pack(frames, layout)
    with jax.enable_x64(True):
        out = jax.jit(lambda variables, batch: predict(pot.model, variables, batch, force=False))(pot.variables, batch)
    return np.asarray(out["atom_energy"])[places]


@pytest.mark.parametrize("case", KINDS)
def test_what_the_networks_make_of_them(case):
    """The output layer turns the last hidden layer into the energy; neither feels rotations or the order of the atoms."""
    section = copy.deepcopy(case.section)
    section["fitting_net"].pop("atom_ener", None)  # which would take off what the networks give of an isolated atom
    pot = potential(section)
    own = both(pot, A)
    assert own["descriptor"].shape == (11, pot.feature_width("descriptor"))
    nets = pot.variables["params"]["fitting_net"]
    stats, atype = pot.variables["stats"], A.atype
    energy = np.zeros(11)
    for t in range(2):
        last = nets.get("net_all", nets.get(f"net_{t}"))["layers_2"]
        values = own["fitting_last_layer"] @ last["matrix"] + last["bias"] + stats["fitting_net"]["bias_atom_e"][t]
        energy = np.where(atype == t, (values + stats["out_bias"][t])[:, 0], energy)
    want = energies(pot, A)
    np.testing.assert_allclose(energy, want, rtol=0, atol=1e-12 * np.abs(want).max())
    order = np.random.default_rng(0).permutation(11)
    moved = both(pot, A.turned(rotation(np.random.default_rng(1))).take(order))
    for name, values in own.items():
        np.testing.assert_allclose(moved[name], values[order], rtol=0, atol=1e-11 * max(1.0, np.abs(values).max()))


def test_excluded_types_have_features_and_parameters_enter_the_last_layer_only():
    pot = potential(SILENT)
    where = A.coord[None], A.atype, A.cell[None]
    assert np.abs(pot.descriptor(*where)).max(axis=2).all()
    aparam = np.ones((1, 11, 1))
    first, second = (pot.fitting_last_layer(*where, np.array([[x, 0.0]]), aparam) for x in (0.0, 1.0))
    assert (np.abs(first - second).max(axis=2) > 0).all()
    with pytest.raises(ModelError, match=r"needs fparam of shape"):
        pot.fitting_last_layer(*where)
    with pytest.raises(ModelError, match="expected any of descriptor, fitting_last_layer"):
        pot.features(*where, names=("descriptors",))
    with pytest.raises(ModelError, match="'se_e2_a' has none"):
        pot.type_vectors()


def test_shapes_lists_and_placeholders(pot):
    coord = np.concatenate([A.coord[:3], np.zeros((1, 3)), A.coord[3:]])[None]
    atype = np.insert(A.atype, 3, -1)
    one = pot.descriptor(coord, atype, A.cell[None])
    assert not one[0, 3].any() and one.shape == (1, 12, 16)
    ragged = pot.descriptor([A.coord, B.coord], [A.atype, B.atype], [A.cell, None])
    assert [part.shape for part in ragged] == [(11, 16), (5, 16)]
    np.testing.assert_allclose(ragged[0], np.delete(one[0], 3, axis=0), rtol=0, atol=1e-12)
    assert pot.descriptor(np.zeros((0, 4, 3)), np.zeros(4, int)).shape == (0, 4, 16)
    with pytest.raises(DataError, match="coord of frame 0|found shape"):
        pot.descriptor(A.coord, A.atype)


@pytest.mark.slow
def test_precision():
    section = model(se_e2_a(precision="float32"), fitting={"precision": "float32"})
    found = potential(section).features(A.coord[None], A.atype, A.cell[None])
    assert [found[name].dtype for name in ("descriptor", "fitting_last_layer")] == [np.float64, np.float32]


def test_type_vectors():
    section = se_atten(tebd_dim=4)
    pot = potential(model({"type": "hybrid", "list": [section, se_e2_a(), section | {"tebd_dim": 3}]}))
    vectors = pot.type_vectors()
    assert vectors.shape == (3, 7) and not vectors[-1].any()
    with jax.enable_x64(True):
        layer = pot.variables["params"]["descriptor"]["members_0"]["type_embedding"]["layer"]["matrix"]
    np.testing.assert_allclose(vectors[:2, :4], np.eye(2) @ layer + np.tile(np.eye(2), 2), rtol=1e-12)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model, and two systems of one name whose files are not sorted by type."""
    folder = tmp_path_factory.mktemp("features")
    section = tiny.config(["none"], {})["model"]
    pot = dpjax.build(section | {"fitting_net": section["fitting_net"] | {"numb_fparam": 1}})
    dpjax.save(pot, folder / "model.dp")
    for part in ("a", "b"):
        own = tiny.system(folder / "data" / part / "water", seed=1 if part == "a" else 2)
        n_frame = len(np.load(own / "set.000" / "coord.npy"))
        np.save(own / "set.000" / "fparam.npy", np.linspace(0, 1, n_frame)[:, None])
    return folder


def given(system) -> tuple:
    part = system / "set.000"
    coord, box, fparam = (np.load(part / f"{name}.npy") for name in ("coord", "box", "fparam"))
    types = np.loadtxt(system / "type.raw", dtype=int)
    return coord.reshape(len(coord), -1, 3), types, box.reshape(-1, 3, 3), fparam


@pytest.fixture
def no_networks(monkeypatch):
    """Features that need no program: the descriptor of an atom is its coordinates and its type."""

    def features(self, coord, atype, cell, fparam=None, names=()):
        found = np.concatenate([coord, np.broadcast_to(atype[..., None], (*coord.shape[:2], 1))], axis=-1)
        return {name: found if fparam is None else found * fparam[:, None] for name in names}

    monkeypatch.setattr(dpjax.Potential, "features", features)
    monkeypatch.setattr(dpjax.Potential, "feature_width", lambda self, name: 4)


@pytest.mark.parametrize("atoms", [1, 12, 1000])
def test_eval_desc(files, no_networks, tmp_path, capsys, monkeypatch, atoms):
    """Files as DeePMD-kit names them, atoms in the order of the data; portions do not show; a name that is taken gets a number."""
    out = tmp_path / "deep" / "desc"
    monkeypatch.setattr("dpjax.interfaces.feature_files.ATOMS_PER_CHUNK", atoms)
    argv = ["eval-desc", "-m", str(files / "model.dp"), "-s", str(files / "data"), "-o", str(out)]
    assert main(argv) == 0
    assert sorted(path.name for path in out.iterdir()) == ["water.npy", "water_1.npy"]
    assert f"{files}/data/b/water: wrote {out}/water_1.npy, 4 frames x 6 atoms x 4" in capsys.readouterr().out
    for part, name in (("a", "water"), ("b", "water_1")):
        coord, atype, _, fparam = given(files / "data" / part / "water")
        found = np.load(out / f"{name}.npy")
        np.testing.assert_array_equal(found[..., :3], coord)
        np.testing.assert_array_equal(found[..., 3], np.broadcast_to(atype, coord.shape[:2]))
    assert main([*argv, "--last-layer", "--dtype", "fp32"]) == 0
    found = np.load(out / "water_1.npy")
    np.testing.assert_array_equal(found[..., :3], (coord * fparam[:, None]).astype(np.float32))


def test_embed(files, tmp_path, capsys):
    pot, out = dpjax.load(files / "model.dp"), tmp_path / "features.hdf5"
    (tmp_path / "systems").write_text(f"{files}/data/a/water\n")
    assert main(["embed", "-m", str(files / "model.dp"), "-f", str(tmp_path / "systems"), "-o", str(out)]) == 0
    coord, atype, cell, fparam = given(files / "data" / "a" / "water")
    want = pot.features(coord, atype, cell, fparam)
    with h5py.File(out) as file:
        assert list(file.attrs["type_map"]) == pot.type_map
        group = file["water"]
        assert group.attrs["nframes"] == len(coord) and group.attrs["system"] == f"{files}/data/a/water"
        arrays = {name: array[()] for name, array in group.items()}
    assert arrays["descriptor"].dtype == np.float32
    np.testing.assert_array_equal(arrays.pop("atom_types"), np.broadcast_to(atype, coord.shape[:2]))
    want = {"descriptor": want["descriptor"], "atomic_feature": want["fitting_last_layer"]}
    want["structural_feature"] = want["atomic_feature"].sum(axis=1)
    assert arrays.keys() == want.keys()
    for name, values in arrays.items():
        np.testing.assert_allclose(values, want[name], rtol=1e-5, atol=1e-6)


def test_nothing_half_is_left(files, no_networks, tmp_path, capsys):
    """A system that lacks what the last layer needs ends the command; its file, and the common one, are not there."""
    bare = tiny.system(tmp_path / "bare")
    argv = ["-m", str(files / "model.dp"), "-s", str(files / "data" / "a"), str(bare)]
    assert main(["eval-desc", *argv, "-o", str(tmp_path / "out"), "--last-layer"]) == 1
    assert "fparam.npy" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["water.npy"]
    assert main(["embed", *argv, "-o", str(tmp_path / "all.hdf5")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "out"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write features"):
        list(write_feature_files(dpjax.load(files / "model.dp"), bare, tmp_path / "file"))
