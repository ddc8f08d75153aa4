"""Weight map of ``dpa4``: a descriptor's options, and its weights under the names that DeePMD-kit's SeZM has for them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
import numpy as np

from dpjax.config.descriptors import Dpa4Config
from dpjax.errors import ModelError
from dpjax.interop.networks import common_precision

Tree = dict[str, Any]
NAMES = {"pytorch": {"@variables": ""}, "jax": {"@variables": ""}}
VERSION = 1.1  # in which radial functions carry the weight of an edge
_UNSTORED = ("sel", "precision")  # written by themselves
_DERIVED = ("ntypes", "type_map", "inner_clamp_r_inner", "inner_clamp_r_outer", "use_spin")  # by DeePMD-kit


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: it is of a version whose mathematics differ.
    """
    version = float(tree.get("@version", VERSION))
    if version < VERSION:
        raise ModelError(
            f"descriptor: found version {version} of dpa4, in which distances act otherwise than from version {VERSION} on. "
            "Train it further with a newer DeePMD-kit, which writes the newer form."
        )
    config = {key: value for key, value in tree["config"].items() if key not in _DERIVED and value is not None}
    if "mixing_layers" in config:
        config["so2_layers"] = config.pop("mixing_layers")
    return {"type": "dpa4", **config}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    return jax.tree.map(np.asarray, tree["@variables"]), {}


def write_tree(config: Dpa4Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The tree of our descriptor."""
    own = {field.name: _plain(getattr(config, field.name)) for field in fields(config)}
    return {
        "@class": "Descriptor",
        "type": "dpa4",
        "@version": VERSION,
        "config": own
        | {"ntypes": len(type_map), "type_map": list(type_map), "precision": common_precision(config.precision)},
        "@variables": jax.tree.map(np.asarray, params),
    }


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
