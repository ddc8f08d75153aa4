"""Training steps with HybridMuon on real water against the reference, and which rule each parameter follows there."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpjax import losses, optimizers, schedules
from dpjax.formats import read_model_tree
from dpjax.interop import read_model
from dpjax.models import build_model
from dpjax.nn.blocks import AS_SUITS
from dpjax.optimizers.routing import ADAM, ADAM_DECAY, MUON, route, routes
from dpjax.training.step import loss_of, prediction_of
from tests.optimizers.trajectories import configured
from tests.shared import shared
from tests.training.test_golden_steps import close, labelled_batches, stored


class Reference:
    """The reference's numbers."""

    def __init__(self) -> None:
        self.folder = shared("golden", "training")
        index = json.loads((self.folder / "train_step.json").read_text())
        self.spec = next(case for case in index["cases"] if case["case"] == "train_step_hybridmuon")
        self.arrays = np.load(self.folder / self.spec["arrays"])
        self.batches = index["batches"]
        self.names = self.spec["parameter_names_in_reference_trainer"]  # name in files -> name in a training
        self.schedule = schedules.from_config(self.spec["learning_rate"], self.spec["num_steps_of_schedule"])

    def tree(self, prefix: str) -> dict[str, jax.Array]:
        """Values by the names of a training, which rule the routing."""
        return {trained_as: jnp.asarray(self.arrays[f"{prefix}/{name}"]) for name, trained_as in self.names.items()}

    def optimizer(self, precision: str) -> optax.GradientTransformationExtraArgs:
        return optimizers.from_config(configured(self.spec["optimizer"], precision), self.schedule)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="module")
def model(reference):
    return read_model(read_model_tree(reference.folder / reference.spec["weights_file"]))


def test_every_parameter_follows_the_rule_it_has_there(reference, model):
    codes = {ADAM: 1.0, ADAM_DECAY: 2.0, MUON: 3.0}
    config, variables = model
    params = variables["params"]
    ours = jax.tree.map(lambda rule, p: jnp.full(p.shape, codes[rule]), routes(params, "slice"), params)
    ours = stored(config, ours, variables["stats"])
    for name, trained_as in reference.names.items():
        rule = route(trained_as, reference.arrays[f"param/{name}"].shape, "slice")
        assert set(np.ravel(ours[name])) == {codes[rule]}, name


def test_updates_by_the_gradients_of_the_reference(reference):
    """The first update to rounding; then the square matrices, which no compiler has touched there, and what Adam moves.

    Of the others the reference itself has two versions, with and without compilation, that differ by 1e-4.
    """
    tx = reference.optimizer("reference")
    # sums that are rounded to short formats meet the reference's only with LLVM's optimizations, which `make test` leaves out
    params, update = reference.tree("param"), jax.jit(tx.update, compiler_options={"xla_backend_optimization_level": 3})
    state = tx.init(params)
    for row in reference.spec["steps"]:
        updates, state = update(reference.tree(f"grad/{row['step']}"), state, params)
        params = optax.apply_updates(params, updates)
        same, apart = reference.tree(f"after/{row['step']}"), reference.tree(f"after_uncompiled/{row['step']}")
        for name, value in params.items():
            wide = value.ndim == 2 and value.shape[0] != value.shape[1] and 1 not in value.shape
            np.testing.assert_allclose(value, same[name], rtol=0, atol=2e-4 if wide else 1e-9, err_msg=name)
            if row["step"] == 0:
                np.testing.assert_allclose(value, apart[name], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_whole_steps_without_rounding(reference, model):
    """Parameters move by 1e-3. The tolerance is that of the model: two atoms of these frames are so near the cut-off that the
    reference shortens the unit vector between them."""
    config, variables = model
    spec, stats = reference.spec, variables["stats"]
    batches = labelled_batches(config, reference.batches)
    loss = losses.from_config(spec["loss"], start_lr=spec["learning_rate"]["start_lr"])
    loss_fn = loss_of(prediction_of(build_model(config), True, AS_SUITS), loss)
    tx, schedule = reference.optimizer("full"), reference.schedule

    @jax.jit
    def step(params, state, data, rate):
        (value, _), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, data, rate)
        updates, state = tx.update(gradient, state, params)
        return value, optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.asarray, variables["params"])
    state = tx.init(params)
    for row, expected in zip(spec["steps"], spec["loss_all_float64"], strict=True):
        value, params, state = step(params, state, batches[row["batch"]], schedule(row["step"]))
        close(value, np.float64(expected), 1e-4)
        ours = stored(config, params, stats)
        for name in reference.names:
            array = reference.arrays[f"after_f64/{row['step']}/{name}"]
            np.testing.assert_allclose(ours[name], array, rtol=0, atol=3e-6, err_msg=name)
