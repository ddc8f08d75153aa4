"""A small valid input and edits of it, shared by the tests of the input language."""

from __future__ import annotations

import copy
from typing import Any

WATER: dict[str, Any] = {
    "model": {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [46, 92],
            "rcut": 6.0,
            "rcut_smth": 0.5,
            "neuron": [25, 50, 100],
            "axis_neuron": 16,
        },
        "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True},
    },
    "learning_rate": {"type": "exp", "start_lr": 0.001, "stop_lr": 3.51e-8, "decay_steps": 5000},
    "loss": {"type": "ener", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1},
    "training": {
        "training_data": {"systems": ["data_0", "data_1"], "batch_size": 1},
        "validation_data": {"systems": "data_3", "numb_btch": 3},
        "numb_steps": 1000,
        "seed": 10,
    },
}

REMOVE = object()


def water(edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy of the input with values set (or removed) at slash-separated paths."""
    return edited(WATER, edits)


def edited(data: dict[str, Any], edits: dict[str, Any] | None) -> dict[str, Any]:
    """A copy with values set (or removed) at slash-separated paths."""
    data = copy.deepcopy(data)
    for path, value in (edits or {}).items():
        *parents, key = path.split("/")
        section = data
        for name in parents:
            section = section.setdefault(name, {})
        if value is REMOVE:
            del section[key]
        else:
            section[key] = value
    return data
