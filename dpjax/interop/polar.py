"""Weight map of the ``polar`` fitting: DeePMD-kit's ``Fitting`` tree, version 5, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.fittings import PolarFittingConfig
from dpjax.interop import fitting
from dpjax.interop.fitting import Surroundings, select_types

Tree = dict[str, Any]
_VERSION = 5

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    scale = np.asarray(tree["@variables"]["scale"], np.float64).reshape(-1).tolist()
    return fitting.read_section(tree, _VERSION) | {
        "fit_diag": tree["fit_diag"],
        "scale": scale[0] if len(set(scale)) == 1 else scale,
        "shift_diag": tree["shift_diag"],
    }


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored fitting."""
    params, stats = fitting.read_variables(tree)
    return params, stats | {"constant_matrix": np.asarray(tree["@variables"]["constant_matrix"])}


def write_tree(config: PolarFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting; ``sel_type`` is left to the model, which excludes the other types."""
    width = around.dim_frame if config.fit_diag else around.dim_frame**2
    tree = fitting.write_tree(config, around, params, stats, version=_VERSION, var_name="polar", width=width)
    scale = np.broadcast_to(np.asarray(config.scale, np.float64), around.n_type)
    tree["@variables"] |= {
        "scale": scale.reshape(-1, 1).copy(),
        "constant_matrix": np.asarray(stats["constant_matrix"]),
    }
    return tree | {
        "type": "polar",
        "embedding_width": around.dim_frame,
        "fit_diag": config.fit_diag,
        "shift_diag": config.shift_diag,
    }
