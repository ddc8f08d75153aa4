"""Quantised models: what holds to the last bit, what holds to a step of the numbers, and what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config.nvnmd import in_form
from dpjax.errors import ModelError
from dpjax.export import Artifact, save
from dpjax.interop.nvnmd import with_tables
from tests.contracts.cases import model, nvnmd, potential, se_atten, se_e2_a
from tests.export.frames import frame, together

SECTIONS = {
    0: model(se_e2_a()),
    1: model(se_atten(attn_layer=0, tebd_input_mode="strip", smooth_type_embedding=False)),
}


def quantized(version: int) -> tuple[dpjax.Potential, dpjax.Potential]:
    """A small model with random statistics, quantised and continuous."""
    smooth = potential(SECTIONS[version], form=nvnmd(version))
    config = in_form(smooth.config, nvnmd(version, quantized=True))
    with jax.enable_x64(True):
        variables = with_tables(config, smooth.variables, 0.7)
    return dpjax.Potential(config, variables), smooth


@pytest.fixture(scope="module", params=[pytest.param(version, marks=pytest.mark.slow) for version in (0, 1)])
def case(request) -> tuple[dpjax.Potential, dict, dict]:
    """The quantised model, and what it and the continuous one say about a frame, the frame permuted, and two others."""
    pot, smooth = quantized(request.param)
    first = frame(8)
    order = np.random.default_rng(0).permutation(8)
    permuted = first | {"coord": first["coord"][:, order], "atype": first["atype"][order]}
    frames = [first, permuted, frame(5, periodic=False, seed=1), frame(8, seed=3)]
    out, near = pot.evaluate(**together(frames), atomic=True), smooth.evaluate(**together(frames[:1]), atomic=True)
    return pot, {"order": order, "alone": pot.evaluate(**frames[2], atomic=True), **out}, near


def test_order_and_company_change_no_bit(case):
    _, out, _ = case
    np.testing.assert_array_equal(out["atom_energy"][1], out["atom_energy"][0][out["order"]])
    np.testing.assert_array_equal(out["atom_energy"][2], out["alone"]["atom_energy"][0])


def test_energies_are_fixed_point_numbers(case):
    pot, out, _ = case
    bias = pot.variables["stats"]
    atype = frame(8)["atype"]
    shift = (np.asarray(bias["fitting_net"]["bias_atom_e"]) + np.asarray(bias["out_bias"]))[atype, 0]
    units = (np.asarray(out["atom_energy"][0]).reshape(-1) - shift) * 2.0**23
    np.testing.assert_allclose(units, np.round(units), rtol=0, atol=1e-6)


def test_they_are_near_the_continuous_ones(case):
    _, out, near = case
    for name, limit in (("energy", 2e-3), ("force", 5e-3), ("virial", 2e-2)):
        np.testing.assert_allclose(out[name][0], near[name][0], rtol=0, atol=limit)
    assert np.any(out["energy"][0] != near["energy"][0])


def test_forces_cancel(case):
    _, out, _ = case
    for i in range(4):
        np.testing.assert_allclose(np.sum(out["force"][i], axis=0), 0.0, atol=1e-12)


def test_what_steps_do_not_have(case, tmp_path):
    pot, _, _ = case
    with pytest.raises(ModelError, match="hessian: this model is quantised for the NVNMD hardware"):
        pot.evaluate(**frame(5), hessian=True)
    with pytest.raises(ModelError, match="DeePMD-kit cannot evaluate a model for the NVNMD hardware"):
        dpjax.save(pot, tmp_path / "model.dp")


@pytest.mark.slow
def test_an_artifact_holds_it_with_every_bit(case, tmp_path):
    pot, out, _ = case
    path = save(pot, tmp_path / "model.dpx", platforms=["cpu"])
    got = Artifact(path).evaluate(**frame(8), atomic=True)
    np.testing.assert_array_equal(got["atom_energy"][0], out["atom_energy"][0])
    np.testing.assert_allclose(got["force"][0], out["force"][0], atol=1e-12)
    again = dpjax.load(path)
    assert again.config.nvnmd == pot.config.nvnmd
    with pytest.raises(ModelError, match="dtype float32: numbers of a model that is quantised"):
        dpjax.load(path, dtype="float32")
