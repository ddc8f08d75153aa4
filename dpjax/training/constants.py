"""Parts of a sum that a training leaves as they are in the file they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dpjax.models.linear import part_name
from dpjax.training.setup import TrainingSetup

Tree = dict[str, Any]


def with_constants(setup: TrainingSetup, constants: Mapping[str | int, Tree]) -> TrainingSetup:
    """The same training with the variables of models from files in the places of fresh ones.

    What these models say of single atoms, their biases, is taken out of the bias of the whole, which was fitted to the labels as if
    they gave nothing; where the input presets that, it stays.

    Args:
        setup: with fresh variables and the statistics of the training data.
        constants: variables by the name of the part.
    """
    config = setup.config.model
    params, stats = dict(setup.variables["params"]), dict(setup.variables["stats"])
    bias = np.array(stats["out_bias"], np.float64)
    preset = (config.preset_out_bias or {}).get("energy") or (None,) * len(bias)
    free = np.array([value is None for value in preset])
    for i, ((name, _), factor) in enumerate(zip(config.named, config.factors, strict=True)):
        if name not in constants:
            continue
        own, place = constants[name], part_name(i)
        params |= {place: _repeated(own["params"], setup.members)} if own["params"] else {}
        stats[place] = own["stats"]
        bias[free] -= factor * _bias_of(own["stats"])[free]
    return replace(setup, variables=setup.variables | {"params": params, "stats": stats | {"out_bias": bias}})


def _bias_of(stats: Tree) -> np.ndarray:
    """(n_type, 1) eV that a model adds for each type."""
    own = stats.get("fitting_net", {}).get("bias_atom_e", 0.0)
    return np.asarray(stats["out_bias"], np.float64) + np.asarray(own, np.float64)


def _repeated(params: Tree, members: int) -> Tree:
    """Parameters with an axis for the members of an ensemble, where there are several."""
    if members == 1:
        return params
    return {
        key: _repeated(own, members) if isinstance(own, dict) else np.stack([np.asarray(own)] * members)
        for key, own in params.items()
    }
