"""Weight map of the ``ener`` fitting: DeePMD-kit's ``Fitting`` tree, version 4, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config import EnerFittingConfig
from dpjax.interop import fitting
from dpjax.interop.fitting import Surroundings, read_variables, select_types

Tree = dict[str, Any]
_VERSION = 4
_OPTIONS = ("rcond", "trainable", "use_aparam_as_mask", "atom_ener")

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    section = fitting.read_section(tree, _VERSION, _OPTIONS)
    if tree.get("atom_ener"):
        section["atom_ener"] = [None if e is None else float(np.reshape(e, ())) for e in tree["atom_ener"]]
    return section


def write_tree(config: EnerFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting."""
    options = {"version": _VERSION, "var_name": "energy", "width": 1}
    return fitting.write_tree(config, around, params, stats, **options) | {
        "type": "ener",
        "dim_out": 1,
        "atom_ener": list(config.atom_ener) if any(e is not None for e in config.atom_ener) else None,
    }
