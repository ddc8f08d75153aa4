"""Damaged, foreign and too new artifacts: refused with the member and what to do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.export import Artifact, ArtifactError, runtime


def rewritten(path: Path, out: Path, changes: dict) -> Path:
    """A copy with members changed by functions of their bytes; None leaves the member out."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            change = changes.get(name, lambda data: data)
            if change is not None:
                target.writestr(name, change(source.read(name)))
    return out


def with_manifest(path: Path, out: Path, **entries) -> Path:
    """A copy whose manifest says something else."""
    return rewritten(path, out, {runtime.MANIFEST: lambda data: json.dumps(json.loads(data) | entries).encode()})


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def test_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="no such file; expected an artifact"):
        Artifact(tmp_path / "model.dpx")


def test_not_a_zip(tmp_path):
    path = tmp_path / "model.dpx"
    path.write_text("model")
    with pytest.raises(ArtifactError, match="model.dpx: not an artifact"):
        Artifact(path)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_cut_short(plain, tmp_path, part):
    data = plain.read_bytes()
    path = tmp_path / "model.dpx"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ArtifactError, match=r"model.dpx: the end of the file is missing.*copy the artifact again"):
        Artifact(path)


def test_flipped_bit_on_disk(plain, tmp_path):
    with zipfile.ZipFile(plain) as archive:
        info = archive.getinfo(runtime.WEIGHTS)
    data = bytearray(plain.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 8
    path = tmp_path / "model.dpx"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model.dpx: weights.npz is damaged"):
        Artifact(path)


@pytest.mark.parametrize("member", ["weights.npz", "programs/atomic.bin", "runtime.py"])
def test_changed_member(plain, tmp_path, member):
    path = rewritten(plain, tmp_path / "model.dpx", {member: flipped})
    with pytest.raises(ArtifactError, match=f"{member} does not match its checksum"):
        Artifact(path)
    with pytest.raises(ModelError, match=f"{member} does not match its checksum"):
        dpjax.load(path)


def test_missing_member(plain, tmp_path):
    path = rewritten(plain, tmp_path / "model.dpx", {"programs/energy.bin": None})
    with pytest.raises(ArtifactError, match="programs/energy.bin is missing"):
        Artifact(path)


def test_zip_of_something_else(plain, tmp_path):
    path = rewritten(plain, tmp_path / "model.dpx", {runtime.MANIFEST: None})
    with pytest.raises(ArtifactError, match=r"without manifest.json, so no artifact"):
        Artifact(path)
    path = rewritten(plain, tmp_path / "other.dpx", {runtime.MANIFEST: lambda _: b"{}"})
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        Artifact(path)
    path = with_manifest(plain, tmp_path / "foreign.dpx", format="something")
    with pytest.raises(ArtifactError, match="found format 'something', expected 'dpjax-artifact'"):
        Artifact(path)


def test_newer_format(plain, tmp_path):
    path = with_manifest(plain, tmp_path / "model.dpx", format_version=runtime.FORMAT_VERSION + 1)
    with pytest.raises(
        ArtifactError,
        match=rf"format version {runtime.FORMAT_VERSION + 1}, written by dpjax .* unzip model.dpx runtime.py",
    ):
        Artifact(path)


@pytest.mark.parametrize(("number", "advice"), [(99, "install jax .* or newer"), (1, "freeze the model again")])
def test_calling_convention_of_another_jax(plain, tmp_path, number, advice):
    path = with_manifest(plain, tmp_path / "model.dpx", calling_convention_version=number)
    with pytest.raises(ArtifactError, match=rf"calling convention {number} .*jax {jax.__version__}.*{advice}"):
        Artifact(path)


def test_platform_it_was_not_made_for(plain, tmp_path):
    path = with_manifest(plain, tmp_path / "model.dpx", platforms=["cuda", "tpu"])
    with pytest.raises(ArtifactError, match=r"made for cuda, tpu, not for cpu"):
        Artifact(path)


def test_back_into_dpjax(potentials, plain):
    pot, back = potentials["plain"], dpjax.load(plain)
    assert (back.type_map, back.rcut, back.conventions) == (pot.type_map, pot.rcut, pot.conventions)
    assert back.config == pot.config
    assert jax.tree.all(jax.tree.map(np.array_equal, back.variables["params"], pot.variables["params"]))
    assert jax.tree.all(jax.tree.map(np.array_equal, back.variables["stats"], pot.variables["stats"]))
    with pytest.raises(ModelError, match="no such file"):
        dpjax.load(plain.with_name("absent.dpx"))
