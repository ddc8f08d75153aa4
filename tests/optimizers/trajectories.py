"""Trajectories of DeePMD-kit's optimizers on given gradients, from the repository and from the larger set."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dpjax import optimizers
from dpjax.config import parse_optimizer
from tests.shared import golden, shared_root

LARGER = shared_root() / "golden" / "training" / "optimizers"


@dataclass(frozen=True)
class Case:
    """One trajectory and the inputs of all."""

    name: str
    section: dict[str, Any]
    rates: np.ndarray  # one of each update
    params: dict[str, np.ndarray]
    gradients: list[dict[str, np.ndarray]]  # one tree of each update
    results: dict[str, dict[int, dict[str, np.ndarray]]]  # kind of arithmetic -> step -> parameters after it


@functools.cache
def stored_cases() -> dict[str, Case]:
    """The cases in the repository: some of the parameters, after some of the steps."""
    index = json.loads(golden("optimizers", "matrices.json").read_text())
    arrays = np.load(golden("optimizers", "matrices.npz"))
    shapes = {name: tuple(index["shapes"][name]) for name in index["names"]}
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])

    def tree(values: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(values, ends[:-1])
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    def case(row: dict) -> Case:
        results = {
            kind: {
                step: tree(values) for step, values in zip(index["steps"], arrays[f"{row['case']}/{kind}"], strict=True)
            }
            for kind in row["results"]
        }
        gradients = [tree(values) for values in arrays["grad"]]
        return Case(row["case"], row["optimizer"], arrays["lr"], tree(arrays["param"]), gradients, results)

    return {row["case"]: case(row) for row in index["cases"]}


@functools.cache
def larger_cases() -> dict[str, Case]:
    """All cases, with all parameters and steps; empty where the larger set is not there."""
    if not LARGER.exists():
        return {}
    index = json.loads((LARGER / "index.json").read_text())
    names, steps = index["parameter_order"], range(index["num_steps"])
    inputs = np.load(LARGER / "inputs.npz")

    def tree(arrays: Any, prefix: str) -> dict[str, np.ndarray]:
        return {name: arrays[f"{prefix}/{name}"] for name in names}

    def case(row: dict) -> Case:
        arrays = np.load(LARGER / row["file"])
        kinds = {name.split("/")[0] for name in arrays.files}
        results = {kind: {step: tree(arrays, f"{kind}/{step}") for step in steps} for kind in kinds}
        gradients = [tree(inputs, f"grad/{step}") for step in steps]
        return Case(row["case"], row["optimizer"], inputs["lr"], tree(inputs, "param"), gradients, results)

    return {row["case"]: case(row) for row in index["cases"]}


def configured(section: dict[str, Any], precision: str) -> Any:
    """The dataclass of an optimizer, which rounds as told if it rounds at all."""
    cfg = parse_optimizer(section)
    return dataclasses.replace(cfg, precision=precision) if hasattr(cfg, "precision") else cfg


def trajectory(case: Case, precision: str) -> Iterator[dict[str, jax.Array]]:
    """The parameters after each update of our optimizer."""
    rates = jnp.asarray(case.rates)
    tx = optimizers.from_config(configured(case.section, precision), lambda step: rates[step])
    params = jax.tree.map(jnp.asarray, case.params)
    state = jax.jit(tx.init)(params)

    @jax.jit
    def step(gradient, state, params):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for gradient in case.gradients:
        params, state = step(gradient, state, params)
        yield params


def differences(case: Case, precision: str, kind: str) -> np.ndarray:
    """Of all values after all stored steps, in no particular order."""
    ours = dict(enumerate(trajectory(case, precision)))
    apart = [
        np.ravel(ours[step][name] - value) for step, tree in case.results[kind].items() for name, value in tree.items()
    ]
    return np.abs(np.concatenate(apart))
