"""Weight map of the ``property`` fitting: DeePMD-kit's ``Fitting`` tree, version 6, both ways."""

from __future__ import annotations

from typing import Any

from dpjax.config.fittings import PropertyFittingConfig
from dpjax.interop import fitting
from dpjax.interop.fitting import Surroundings, read_variables, select_types

Tree = dict[str, Any]
_VERSION = 6

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    return fitting.read_section(tree, _VERSION, ("trainable",)) | {
        "property_name": tree["var_name"],
        "task_dim": tree["task_dim"],
        "intensive": tree["intensive"],
        "distinguish_types": tree.get("distinguish_types", False),  # older trees have one bias for all types
    }


def write_tree(config: PropertyFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting."""
    options = {"version": _VERSION, "var_name": config.property_name, "width": config.task_dim}
    return fitting.write_tree(config, around, params, stats, **options) | {
        "type": "property",
        "dim_out": config.task_dim,
        "atom_ener": None,
        "task_dim": config.task_dim,
        "intensive": config.intensive,
        "distinguish_types": config.distinguish_types,
    }
