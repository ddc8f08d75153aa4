"""Mixed precision: rounded networks, whole parameters, and a loss scale that follows the gradients."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.errors import ConfigError
from dpjax.training.lcurve import read_lcurve
from dpjax.training.mixed_precision import FIRST_SCALE, PATIENCE, LossScale
from dpjax.training.programs import Programs, step_functions
from dpjax.training.setup import prepare
from tests.training import tiny
from tests.training.test_restart import same

SINGLE = {"model/descriptor/precision": "float32", "model/fitting_net/precision": "float32", "training/disp_freq": 1}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("data") / "system")


def inputs(system, compute=None, edits=None) -> dict:
    mixed = {} if compute is None else {"training/mixed_precision": {"compute_prec": compute}}
    return tiny.config([system], tiny.ENERGY_ONLY | SINGLE | mixed | (edits or {}))


@pytest.mark.slow
@pytest.mark.parametrize("compute", [pytest.param("bfloat16", marks=pytest.mark.slow), "float16"])
def test_errors_are_those_of_rounded_networks(system, tmp_path, compute):
    """Near those of float32, but not the same; parameters stay float32 and move on by less than their rounding."""
    exact = dpjax.train(inputs(system), tmp_path / "exact")
    mixed = dpjax.train(inputs(system, compute), tmp_path / compute)
    curves = [read_lcurve(run.checkpoint.parent / "lcurve.out")["rmse_e_trn"] for run in (exact, mixed)]
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.2)
    arrays = load_checkpoint(mixed.checkpoint)[0]
    matrix = np.asarray(jax.tree.leaves(arrays["params"]["fitting_net"])[0])
    assert matrix.dtype == np.float32 and not np.array_equal(matrix, matrix.astype(jnp.dtype(compute)))
    assert ("scale" in arrays) == (compute == "float16")
    again = dpjax.train(inputs(system, compute), tmp_path / "again", restart=mixed.checkpoint.parent / "model.ckpt-3")
    assert same(arrays, load_checkpoint(again.checkpoint)[0])


DPA4 = {  # very small
    "model/type": "dpa4", "model/fitting_net": {"type": "dpa4_ener", "neuron": [4]}, "model/descriptor": {
        "type": "dpa4", "sel": 20, "rcut": 3.0, "channels": 4, "lmax": 1, "n_blocks": 1, "so2_layers": 1, "n_radial": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("training", "validating", "own"),
    [
        (False, True, {}),
        (True, False, {}),
        pytest.param(False, False, DPA4 | {"model/enable_tf32": True}, marks=pytest.mark.slow),
    ],
)
def test_products_have_all_digits_unless_tf32_is_asked_for(system, training, validating, own):
    """Accelerators would leave some out; the wish stands in each product of the program, also in those of the gradient."""
    edits = own | {"training/enable_tf32": training, "validating/tf32_infer": validating}
    training = training or own.get("model/enable_tf32", False)  # a dpa4 model may say it, too
    for tf32, program in zip((training, validating), steps(system, edits), strict=True):
        found = re.findall(r"precision = \[(\w+), (\w+)\].*tensor<\S*f32>", program)
        assert found and set(found) == {("HIGH", "HIGH") if tf32 else ("HIGHEST", "HIGHEST")}


@pytest.mark.parametrize("asked", [True, False])
def test_blocks_of_dpa4_multiply_in_bfloat16_in_training_on_a_gpu(system, monkeypatch, asked):
    """And nowhere else; the rest keeps all digits."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    training, validating = steps(system, DPA4 | {"model/descriptor/use_amp": asked})
    rounded = "lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32"
    assert (training.count(rounded) > 20) == asked and rounded not in validating
    assert len(re.findall(r"precision = \[HIGH\w*, HIGH\w*\]", training)) > 20


def steps(system, edits: dict) -> tuple[str, str]:
    """The programs of a training step and of a validation, before XLA sees them."""
    setup = prepare(load(inputs(system, None, edits)))
    one, state = setup.one, setup.initial_state()
    data = setup.training.source.batch(((0, np.arange(2)),), n_device=1 if setup.mesh is None else setup.mesh.size)
    train_step, eval_step = step_functions(setup)
    training = train_step.lower(state, one["stats"], data, None)
    return training.as_text(), eval_step.lower(one["params"], one["stats"], data, 0, None).as_text()


def test_a_gradient_that_overflows_makes_no_update(system):
    """The scale is halved until the gradient is finite again; optimizer and averages wait for it."""
    setup = prepare(load(inputs(system, "float16", {"training/enable_ema": True})))
    programs, state = Programs(setup), setup.initial_state()
    data = setup.training.source.batch(((0, np.arange(2)),), n_device=1 if setup.mesh is None else setup.mesh.size)
    before = jax.device_get((state.params, state.opt_state, state.ema))
    state = state.replace(scale=LossScale(jnp.float32(np.inf), jnp.int32(7)))
    state, metrics = programs.update(state, data)
    assert np.isfinite(metrics["loss"]) and int(state.step) == 1 and int(state.scale.good) == 0
    assert same(jax.device_get((state.params, state.opt_state, state.ema)), before)
    state = state.replace(scale=LossScale.first())
    state, _ = programs.update(state, data)
    assert float(state.scale.factor) <= FIRST_SCALE and int(state.step) == 2


def test_the_scale_grows_after_many_good_steps():
    scale = LossScale(jnp.float32(8.0), jnp.int32(PATIENCE - 1))
    grown, halved = scale.after(jnp.array(True)), scale.after(jnp.array(False))
    assert (float(grown.factor), int(grown.good)) == (16.0, 0)
    assert (float(halved.factor), int(halved.good)) == (4.0, 0)


def test_the_precision_of_the_parameters_must_be_named(system):
    with pytest.raises(ConfigError, match=r"model/descriptor/precision: found float64, but .*output_prec is float32"):
        load(inputs(system, "bfloat16", {"model/descriptor/precision": "default"}))
