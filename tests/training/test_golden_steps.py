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
from dpjax.train_state import TrainState
from dpjax.training.setup import model_needs
from dpjax.training.source import BatchSource
from dpjax.training.step import loss_of, make_train_step
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
    rows = json.loads((folder / "train_step.json").read_text())["batches"]
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


@pytest.mark.parametrize("case", ["train_step", "train_step_clipped"])
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
    loss_fn = loss_of(model, losses.from_config(spec["loss"], start_lr=start_lr), True, None)
    step = make_train_step(loss_fn, tx, schedule)
    gradient = jax.jit(jax.grad(loss_fn, has_aux=True))

    state = TrainState.create(jax.tree.map(jax.numpy.asarray, variables["params"]), tx)
    for row in spec["steps"]:
        data = batches[row["batch"]]
        raw, _ = gradient(state.params, stats, data, schedule(row["step"]))
        compare(arrays, f"grad/{row['step']}/", stored(config, raw, stats))
        state, metrics = step(state, stats, data)
        close(metrics["loss"], np.float64(row["loss"]))
        for name, value in row["metrics"].items():
            close(metrics[name], np.float64(value))
        compare(arrays, f"after/{row['step']}/", stored(config, state.params, stats))


def test_predictions_before_the_first_update_equal_the_reference(folder, batches):
    config, variables = read_model(read_model_tree(folder / "train_step.dp"))
    arrays = np.load(folder / "train_step.npz")
    out = jax.jit(lambda b: predict(build_model(config), variables, b))(batches[0].batch)
    np.testing.assert_allclose(out["energy"], arrays["energy/0"], rtol=1e-12)
    batch = batches[0].batch
    force = np.stack([np.asarray(out["force"])[(batch.frame == f) & (batch.atype >= 0)] for f in range(2)])
    close(force, arrays["force/0"], 1e-9)
