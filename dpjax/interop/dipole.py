"""Weight map of the ``dipole`` fitting: DeePMD-kit's ``Fitting`` tree, version 4, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpjax.config.fittings import DipoleFittingConfig
from dpjax.errors import ModelError
from dpjax.interop import fitting
from dpjax.interop.fitting import Surroundings, read_variables

Tree = dict[str, Any]
_VERSION = 4

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    for key in ("r_differentiable", "c_differentiable"):
        if not tree.get(key, True):
            raise ModelError(f"fitting/{key}: found false, but dipoles are always differentiated here")
    return fitting.read_section(tree, _VERSION)


def select_types(section: Tree, excluded: Sequence[int], n_type: int) -> Tree:
    """The section of a fitting that leaves out types on its own, as those from DeePMD-kit's TensorFlow backend do."""
    return section | {"sel_type": [t for t in range(n_type) if t not in excluded]}


def write_tree(config: DipoleFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting; ``sel_type`` is left to the model, which excludes the other types."""
    options = {"version": _VERSION, "var_name": "dipole", "width": around.dim_frame}
    return fitting.write_tree(config, around, params, stats, **options) | {
        "type": "dipole",
        "embedding_width": around.dim_frame,
        "r_differentiable": True,
        "c_differentiable": True,
    }
