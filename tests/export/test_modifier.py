"""Artifacts of models with a modifier: the dipole model and the sum over its charges are an artifact inside the artifact."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.export import Artifact, fixed_program, save
from dpjax.export.runtime import MODIFIER, ArtifactError
from tests.export.frames import assert_close
from tests.interfaces.test_jax_md import CELL, waters
from tests.models.corrected import corrected


@pytest.fixture(scope="module")
def pot():
    return corrected()


@pytest.fixture(scope="module")
def path(pot, tmp_path_factory):
    return save(pot, tmp_path_factory.mktemp("artifacts") / "model.dpx", ("cpu",))


@pytest.fixture(scope="module")
def artifact(path):
    return Artifact(path)


@pytest.fixture(scope="module")
def frames():
    """Coordinates, types and cells of two frames."""
    coord, atype = waters(4)
    atype = np.append(atype, -1)  # a placeholder
    coord = np.stack([np.append(coord + moved, np.full((1, 3), np.nan), axis=0) for moved in (0.0, 7.0)])
    return coord, atype, np.stack([CELL, 1.2 * CELL])


@pytest.fixture(scope="module")
def want(pot, frames):
    return pot.evaluate(*frames)


def test_energies_forces_and_virials_are_those_of_evaluate(artifact, frames, want):
    assert_close(artifact.evaluate(*frames), want)


@pytest.mark.slow
def test_neighbours_of_the_device_and_energies_alone(artifact, frames, want):
    assert_close(artifact.evaluate(*frames, search_on_device=True), want)
    alone = artifact.evaluate(*frames, force=False)
    assert "force" not in alone
    assert_close(alone, {name: want[name] for name in alone})


@pytest.mark.slow
def test_few_programs_serve_all_cells_and_sizes(pot, artifact):
    for n in (1, 2, 3, 4, 6, 8):
        for scale in (0.99, 1.0, 1.005):
            coord, atype = waters(n)
            cell = scale * 1.4 * CELL
            assert_close(
                artifact.evaluate(coord[None], atype, cell[None]), pot.evaluate(coord[None], atype, cell[None])
            )
    assert artifact.programs < 24


@pytest.mark.slow
def test_the_model_comes_back_with_its_dipole_model(pot, path):
    coord, atype = waters(4)
    again = dpjax.load(path)
    np.testing.assert_array_equal(
        again.evaluate(coord[None], atype, CELL[None])["force"], pot.evaluate(coord[None], atype, CELL[None])["force"]
    )


def test_the_file_says_what_it_holds(path):
    with zipfile.ZipFile(path) as archive:
        outer = json.loads(archive.read("manifest.json"))
        with zipfile.ZipFile(io.BytesIO(archive.read(MODIFIER))) as inner:
            dipole = json.loads(inner.read("manifest.json"))
    assert outer["format_version"] == 8 and "atomic" not in outer["entries"]
    assert outer["modifier"] == {"type": "dipole_charge", "member": MODIFIER, "types": [0, 1]}
    assert list(dipole["entries"]) == ["correction"]
    assert dipole["charges"]["beta"] == 0.4 and dipole["charges"]["spacing"] == 1.2
    assert dipole["predicts"]["atomic"] == "dipole"


def test_what_has_no_meaning_is_refused(pot, artifact, tmp_path):
    coord, atype = waters(2)
    with pytest.raises(ArtifactError, match="frame 0: this model has the modifier dipole_charge, .*Give it a cell"):
        artifact.evaluate(coord[None], atype)
    with pytest.raises(ArtifactError, match="atomic: this model has a modifier"):
        artifact.evaluate(coord[None], atype, CELL[None], atomic=True)
    with pytest.raises(ModelError, match="a program for second derivatives: not built for models with the modifier"):
        save(pot, tmp_path / "model.dpx", ("cpu",), hessian=True)
    with pytest.raises(ModelError, match="one program at fixed sizes: not built for models with the modifier"):
        fixed_program(pot, (32, 32), (16, 16), 8, (8, 8))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_charges_of_an_imported_model_keep_its_rounding(pot, tmp_path):
    own = dpjax.Potential(replace(pot.config, conventions="reference"), pot.variables, conventions="reference")
    coord, atype = waters(4)
    found = Artifact(save(own, tmp_path / "model.dpx", ("cpu",))).evaluate(coord[None], atype, CELL[None])
    assert_close(found, own.evaluate(coord[None], atype, CELL[None]))
    again = dpjax.load(tmp_path / "model.dpx")
    assert again.correction.charges == own.correction.charges
