"""What ``save`` writes, and what it refuses."""

from __future__ import annotations

import json
import zipfile
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax import export

from dpjax.errors import ModelError, OutputError
from dpjax.export import save
from dpjax.export.program import ENERGY_ENTRIES, flat_weights
from dpjax.export.runtime import Container
from dpjax.interfaces.files import in_precision
from dpjax.interfaces.potential import Potential
from tests.contracts.cases import CASES, potential


def members(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def manifest(plain):
    return json.loads(members(plain)["manifest.json"])


@pytest.fixture
def without_programs(monkeypatch):
    """Nothing is lowered, which is what takes time."""
    monkeypatch.setattr("dpjax.export.writer._programs", lambda *_: ({}, 10))


def test_manifest_describes_the_model(manifest, potentials):
    pot = potentials["plain"]
    assert (manifest["format"], manifest["format_version"]) == ("dpjax-artifact", 1)
    assert manifest["type_map"] == pot.type_map
    assert manifest["rcut"] == pot.rcut
    assert manifest["sel"] == [20, 28] and manifest["by_type"]
    cut = {"part": "", "rcut": pot.rcut, "by_type": True, "sel": [20, 28], "angles": False}
    assert manifest["cuts"] == [cut] and not manifest["pairs"]
    assert manifest["units"]["energy"] == "eV" and "positive for repulsion" in manifest["units"]["meaning of virial"]
    assert manifest["precision"]["descriptor"] == pot.config.descriptor.precision
    assert manifest["conventions"] == "corrected"
    assert manifest["made_with"]["jax"] == jax.__version__
    assert set(manifest["entries"]) == {"energy", "energy_force_virial", "atomic", "from_coordinates"}
    assert manifest["model"]["descriptor"]["type"] == "se_e2_a"
    assert set(manifest["sha256"]) == {
        "weights.npz",
        "runtime.py",
        "programs/energy.bin",
        "programs/energy_force_virial.bin",
        "programs/atomic.bin",
        "programs/from_coordinates.bin",
    }


@pytest.mark.parametrize("entry", [entry.name for entry in ENERGY_ENTRIES])
def test_programs_are_for_all_platforms_and_sizes(plain, manifest, entry):
    """Made on a machine that has a CPU only; inputs and outputs are those that the manifest names."""
    program = export.deserialize(bytearray(Container(plain).program(entry)))
    assert program.platforms == ("cpu", "cuda", "tpu") == tuple(manifest["platforms"])
    assert program.calling_convention_version == manifest["calling_convention_version"]
    _, out = program.in_tree, jax.tree.unflatten(program.out_tree, program.out_avals)
    described = manifest["entries"][entry]["outputs"]
    assert set(out) == set(described)
    for name, value in out.items():
        assert value.dtype == described[name]["dtype"]
        assert len(value.shape) == len(described[name]["shape"])
        assert not isinstance(value.shape[0], int)
    assert str(out["atom_energy"].shape[0]) == "block_1*blocks_1 + block_0*blocks_0"
    assert "custom_call" not in program.mlir_module().replace("custom_call @shape_assertion", "")


@pytest.mark.slow
def test_weights_are_arguments(plain, manifest, tmp_path):
    """Another set of weights leaves every program as it is, to the byte; equal models give equal files."""
    other = members(save(potential(CASES[0].section, seed=5), tmp_path / "model.dpx"))
    first = members(plain)
    assert {name for name in first if first[name] != other[name]} == {"weights.npz", "manifest.json"}
    programs = [data for name, data in first.items() if name.startswith("programs/")]
    assert len(programs) == 4 and not any(b".py" in data for data in programs)  # no file names of the machine either
    described = manifest["weights"]["arrays"]
    assert described["params/fitting_net/net_0/layers_0/matrix"] == ["float64", [16, 6]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_keep_their_precision(potentials, tmp_path, precision, without_programs):
    pot = potentials["plain"]
    config, variables = in_precision(pot.config, pot.variables, precision)
    path = save(Potential(config, variables), tmp_path / "model.dpx", platforms=["cpu"])
    weights = Container(path).weights()
    for name, array in flat_weights(variables).items():
        assert weights[name].dtype == array.dtype and weights[name].shape == array.shape
        assert weights[name].tobytes() == array.tobytes()
    assert weights["params/fitting_net/net_0/layers_0/matrix"].dtype.name == precision


@pytest.mark.parametrize(
    ("platforms", "message"),
    [(["gpu"], r"found \['gpu'\].*say cuda or rocm"), ([], r"found \[\], expected some of cpu")],
)
def test_unknown_platforms(potentials, tmp_path, platforms, message):
    with pytest.raises(ModelError, match=message):
        save(potentials["plain"], tmp_path / "model.dpx", platforms=platforms)


def test_refuses_what_it_cannot_export(potentials, tmp_path):
    pot = potentials["plain"]
    with pytest.raises(ModelError, match=r"model.dp: an artifact's name ends in .dpx; `dpjax convert`"):
        save(pot, tmp_path / "model.dp")
    foreign = SimpleNamespace(model=object(), config=SimpleNamespace(type="linear"))
    with pytest.raises(ModelError, match="type 'linear' cannot be exported yet"):
        save(foreign, tmp_path / "model.dpx")
    broken = {**pot.variables, "stats": jax.tree.map(lambda x: x * np.nan, pot.variables["stats"])}
    with pytest.raises(ModelError, match=r"NaN or infinite are not exported: .*stats/out_bias"):
        save(Potential(pot.config, broken), tmp_path / "model.dpx")
    assert not list(tmp_path.iterdir())


def test_folder_that_is_missing(potentials, tmp_path, without_programs):
    with pytest.raises(OutputError, match=r"absent/model.dpx: the artifact could not be written \(No such file"):
        save(potentials["plain"], tmp_path / "absent" / "model.dpx")


def test_full_disk_leaves_the_file_that_was_there(potentials, tmp_path, monkeypatch, without_programs):
    path = tmp_path / "model.dpx"
    path.write_text("before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save(potentials["plain"], path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
