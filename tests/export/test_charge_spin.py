"""Charge and spin of frames as an input of an artifact."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.export import Artifact, ArtifactError, save, writer
from dpjax.export.program import ENERGY_ENTRIES
from tests.contracts.cases import dpa3, model, potential, se_e2_a
from tests.export.frames import frame


def section(**options) -> dict:
    return model(dpa3({"nlayers": 1, "update_angle": False}, add_chg_spin_ebd=True, **options))


@pytest.fixture
def only_energies(monkeypatch):
    """The entry point that is used here, which saves time."""
    monkeypatch.setattr(writer, "entries", lambda output, hessian: ENERGY_ENTRIES[:1])


def test_given_or_left_to_the_default(only_energies, tmp_path):
    pot = potential(section(default_chg_spin=[1, 2]))
    artifact = Artifact(save(pot, tmp_path / "model.dpx", platforms=["cpu"]))
    assert artifact.manifest["format_version"] == 5
    assert artifact.manifest["inputs"]["charge_spin"] == ["float64", ["frames", 2]]
    assert artifact.manifest["charge_spin"]["default_chg_spin"] == [1.0, 2.0]
    one = frame(6)
    both = one | {name: np.concatenate([one[name]] * 2) for name in ("coord", "cell")}
    want = pot.evaluate(**both, charge_spin=[[-1, 3], [1, 2]])["energy"]
    got = artifact.evaluate(**both, charge_spin=[[-1.5, 3.5], [1, 2]], force=False)["energy"]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert abs(want[0, 0] - want[1, 0]) > 1e-6
    np.testing.assert_allclose(artifact.evaluate(**both, force=False)["energy"], got[[1, 1]], rtol=1e-12)
    for row, text in (([-101, 0], "the charge is -101; expected -100 to 99"), ([0, 100], "the spin is 100")):
        with pytest.raises(ArtifactError, match=f"charge_spin of frame 1: {text}"):
            artifact.evaluate(**both, charge_spin=[[0, 0], row], force=False)
    again = dpjax.load(tmp_path / "model.dpx")
    assert again.config.default_inputs == {"charge_spin": (1.0, 2.0)}


def test_missing_or_not_taken(only_energies, tmp_path):
    artifact = Artifact(save(potential(section()), tmp_path / "model.dpx", platforms=["cpu"]))
    with pytest.raises(ArtifactError, match=r"needs charge_spin of shape \(1, 2\)"):
        artifact.evaluate(**frame(3), force=False)
    plain = Artifact(save(potential(model(se_e2_a())), tmp_path / "plain.dpx", platforms=["cpu"]))
    with pytest.raises(ArtifactError, match="charge_spin was given but this model takes none"):
        plain.evaluate(**frame(3), charge_spin=[[0, 1]])
