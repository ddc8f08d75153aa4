"""Whole steps of the layer-wise Kalman filter on real water against the reference, with the atoms that it drew."""

from __future__ import annotations

import json

import jax
import numpy as np

from dpjax import losses, schedules
from dpjax.config.optimizers import LkfConfig
from dpjax.formats import read_model_tree
from dpjax.interop import read_model
from dpjax.models import build_model
from dpjax.optimizers.lkf import kalman_filter
from dpjax.train_state import TrainState
from dpjax.training.kalman import KalmanStep, trained_order
from dpjax.training.step import UpdatePlan
from tests.shared import shared
from tests.training.test_golden_steps import close, labelled_batches, stored

TOLERANCE = 1e-9  # the reference's README asks for 1e-6


def test_kalman_steps_equal_the_reference():
    """Two steps of five updates."""
    folder = shared("golden", "training")
    index = json.loads((folder / "train_step.json").read_text())
    spec = next(c for c in index["cases"] if c["case"] == "train_step_lkf")
    arrays = np.load(folder / spec["arrays"])
    config, variables = read_model(read_model_tree(folder / spec["weights_file"]))
    order = trained_order(jax.tree.map(lambda _: True, variables["params"]))
    assert reference_names(config, variables, order) == spec["parameter_order"]

    cfg, n_step = LkfConfig(**spec["optimizer"]), spec["num_steps"]
    plan = UpdatePlan(schedules.from_config({"type": "exp", "start_lr": 1e-3}, n_step))
    step = jax.jit(KalmanStep(build_model(config), losses.from_config({"type": "ener"}), cfg, order, plan, n_step))
    state = TrainState.create(jax.tree.map(jax.numpy.asarray, variables["params"]), kalman_filter(cfg, order))
    assert sorted(p.shape[1] for p in state.opt_state.covariance) == sorted(set(spec["block_sizes"]))
    rows = index["batches"]
    batches = labelled_batches(config, [*rows, *rows])[len(rows) :]  # sizes only grow: now one layout fits all
    for number, groups in enumerate(spec["atom_groups_per_step"]):
        data = batches[spec["batch_of_step"][number]]
        atoms = np.broadcast_to(np.array(groups)[:, None], (4, data.batch.layout.frames, 6))
        state, metrics = step(state, variables["stats"], data, atoms)
        last = f"after/{5 * number + 4}/"
        after = stored(config, state.params, variables["stats"])
        names = [name.removeprefix(last) for name in arrays if name.startswith(last)]
        assert len(names) == len(order)
        for name in names:
            close(after[name], arrays[last + name], TOLERANCE)
        assert {"loss", "rmse", "rmse_e", "rmse_f"} <= metrics.keys()
    assert step._cache_size() == 1


def reference_names(config, variables, order) -> list[str]:
    """The reference's names of our parameters."""
    place = {name: float(i) for i, name in enumerate(order)}
    numbered = jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.full_like(leaf, place[jax.tree_util.keystr(path, simple=True, separator=".")]),
        variables["params"],
    )
    arrays = stored(config, numbered, variables["stats"])
    theirs = {
        array.flat[0]: name for name, array in arrays.items() if name.startswith(("descriptor.emb", "fitting.nets"))
    }
    return [theirs[float(i)] for i in range(len(order))]
