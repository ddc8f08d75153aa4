"""Weight map of the ``dos`` fitting: DeePMD-kit's ``Fitting`` tree, version 4, both ways."""

from __future__ import annotations

from typing import Any

from dpjax.config.fittings import DosFittingConfig
from dpjax.interop import fitting
from dpjax.interop.fitting import Surroundings, read_variables, select_types

Tree = dict[str, Any]
_VERSION = 4

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    return fitting.read_section(tree, _VERSION, ("rcond", "trainable")) | {"numb_dos": tree["dim_out"]}


def write_tree(config: DosFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting."""
    options = {"version": _VERSION, "var_name": "dos", "width": config.numb_dos}
    return fitting.write_tree(config, around, params, stats, **options) | {
        "type": "dos",
        "dim_out": config.numb_dos,
        "atom_ener": None,
    }
