"""Whole training steps on real water against the reference: predictions, loss, gradients, updated parameters."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from dpjax import losses, optimizers, schedules
from dpjax.config import DataConfig, parse_model
from dpjax.data import label_requirements, load_systems
from dpjax.formats import read_model_tree
from dpjax.interop import flatten, read_model, write_model
from dpjax.models import build_model, predict
from dpjax.neighbors import NeighborCache
from dpjax.nn.blocks import AS_SUITS
from dpjax.train_state import TrainState
from dpjax.training.bias import shifted_bias
from dpjax.training.full_validation import error_sums, measured
from dpjax.training.sides import model_needs
from dpjax.training.source import BatchSource
from dpjax.training.step import UpdatePlan, loss_of, prediction_of, real_rows, train_step_of
from tests.shared import shared

TOLERANCE = 1e-7  # relative to the largest entry, as the reference's README asks for whole Adam steps


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared("golden", "training")


def adam_cases(folder: Path) -> dict:
    index = json.loads((folder / "train_step.json").read_text())
    return {c["case"]: c for c in index["cases"] if c["optimizer"]["type"] == "Adam"} | {"batches": index["batches"]}


@pytest.fixture(scope="module")
def batches(folder):
    config, _ = read_model(read_model_tree(folder / "train_step.dp"))
    return labelled_batches(config, json.loads((folder / "train_step.json").read_text())["batches"])


def labelled_batches(config, rows):
    """One batch of the frames of each row."""
    data = DataConfig(systems=tuple(str(shared("data", row["system"])) for row in rows))
    systems = load_systems(data, config.type_map, label_requirements(("energy", "force")))
    needs = model_needs(config)
    source = BatchSource(systems, NeighborCache(systems, needs.rcut, needs.n_type), needs, ("energy", "force"))
    return [source.batch([(i, row["frames"])]) for i, row in enumerate(rows)]


def close(actual, desired, tolerance=TOLERANCE):
    scale = max(1e-3, float(np.abs(desired).max()))
    np.testing.assert_allclose(np.asarray(actual) / scale, desired / scale, rtol=0, atol=tolerance)


def stored(config, params, stats) -> dict[str, np.ndarray]:
    """A tree of parameters (or gradients) under the reference's names."""
    return flatten(write_model(config, {"params": params, "stats": stats})["model"])


def compare(arrays, prefix: str, values: dict[str, np.ndarray]) -> None:
    names = [name for name in arrays if name.startswith(prefix)]
    assert names, prefix
    for name in names:
        close(values[name.removeprefix(prefix)], arrays[name])


@pytest.mark.parametrize("case", ["train_step", pytest.param("train_step_clipped", marks=pytest.mark.slow)])
def test_adam_steps_equal_the_reference(folder, batches, case):
    spec = adam_cases(folder)[case]
    arrays = np.load(folder / spec["arrays"])
    config, variables = read_model(read_model_tree(folder / spec["weights_file"]))
    assert parse_model(spec["model"]).descriptor.neuron == config.descriptor.neuron
    model, stats = build_model(config), variables["stats"]
    start_lr = spec["learning_rate"]["start_lr"]
    schedule = schedules.from_config(spec["learning_rate"], spec["num_steps_of_schedule"])
    clip = optimizers.clip_by_global_norm(spec["gradient_max_norm"])
    tx = optax.chain(clip, optimizers.from_config(spec["optimizer"], schedule))
    loss_fn = loss_of(prediction_of(model, True, AS_SUITS), losses.from_config(spec["loss"], start_lr=start_lr))
    decay = spec.get("ema_decay")
    step = jax.jit(train_step_of(loss_fn, tx, UpdatePlan(schedule, ema_decay=decay)), donate_argnums=0)
    gradient = jax.jit(jax.grad(loss_fn, has_aux=True))

    state = TrainState.create(jax.tree.map(jax.numpy.asarray, variables["params"]), tx, average=decay is not None)
    for row in spec["steps"]:
        data = batches[row["batch"]]
        raw, _ = gradient(state.params, stats, data, schedule(row["step"]))
        compare(arrays, f"grad/{row['step']}/", stored(config, raw, stats))
        state, metrics = step(state, stats, data)
        close(metrics["loss"], np.float64(row["loss"]))
        for name, value in row["metrics"].items():
            close(metrics[name], np.float64(value))
        compare(arrays, f"after/{row['step']}/", stored(config, state.params, stats))
        if decay is not None:
            compare(arrays, f"ema/{row['step']}/", stored(config, state.ema, stats))


def test_predictions_before_the_first_update_equal_the_reference(folder, batches):
    config, variables = read_model(read_model_tree(folder / "train_step.dp"))
    arrays = np.load(folder / "train_step.npz")
    out = jax.jit(lambda b: predict(build_model(config), variables, b))(batches[0].batch)
    np.testing.assert_allclose(out["energy"], arrays["energy/0"], rtol=1e-12)
    batch = batches[0].batch
    force = np.stack([np.asarray(out["force"])[(batch.frame == f) & (batch.atype >= 0)] for f in range(2)])
    close(force, arrays["force/0"], 1e-9)


@pytest.mark.slow
def test_the_changed_bias_and_the_full_validation_equal_the_reference(folder, batches):
    """Both with the parameters after the last update; the second with the bias of the first."""
    spec = adam_cases(folder)["train_step"]
    config, variables = read_model(read_model_tree(folder / "train_step.dp"))
    arrays = np.load(folder / spec["arrays"])
    tree = write_model(config, variables)
    for name in (n for n in arrays if n.startswith("after/2/")):
        place = tree["model"]
        *parents, leaf = name.removeprefix("after/2/").split(".")
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        place[leaf] = arrays[name].reshape(place[leaf].shape)
    config, variables = read_model(tree)
    model = build_model(config)
    totals = jax.jit(lambda variables, batch: predict(model, variables, batch, force=False)["energy"])
    change = spec["change_bias_after_training"]
    before = np.asarray(change["bias_before"][0])
    np.testing.assert_allclose(variables["stats"]["out_bias"], before, rtol=0, atol=1e-12)
    bias = shifted_bias(config, before, batches, lambda data: totals(variables, data.batch))
    np.testing.assert_allclose(bias, change["bias_after"][0], rtol=1e-9)

    variables["stats"] = variables["stats"] | {"out_bias": bias}
    expected = spec["full_validation_of_final_weights"]
    rows = expected["per_system_value_and_weight"]
    run = jax.jit(lambda batch: predict(model, variables, batch))

    def sums(data):
        rows = real_rows(data.batch, lambda tree: tree)
        return error_sums(run(data.batch), data.label, rows.natoms, rows.atom_weight, rows.frame_weight)

    metrics = measured(((batch, {"E", "F"}) for batch in labelled_batches(config, rows)), sums)
    for name, value in expected["aggregated"].items():
        measure, quantity = name.split("_")[:2]
        assert metrics[f"{quantity.upper()}:{measure.upper()}"] == pytest.approx(value, rel=1e-8)
    assert np.isnan(metrics["V:MAE"])
