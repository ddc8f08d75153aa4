"""Weight map of ``loc_frame``.  No ``.dp`` file of DeePMD-kit holds it; the tree is our own, in the form of theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.descriptors import LocFrameConfig

Tree = dict[str, Any]
_KEYS = ("sel_a", "sel_r", "rcut", "axis_rule")


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor."""
    return {"type": "loc_frame", **{key: tree[key] for key in _KEYS}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params``, which is empty, and ``stats`` of the stored descriptor."""
    return {}, {key: np.asarray(tree["@variables"][key]) for key in ("davg", "dstd")}


def write_tree(config: LocFrameConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The tree of our descriptor; ``davg`` and ``dstd`` (n_type, n_number) are those of every number of an atom."""
    return {
        "@class": "Descriptor",
        "@version": 1,
        "type": "loc_frame",
        **{key: list(getattr(config, key)) if key != "rcut" else config.rcut for key in _KEYS},
        "type_map": list(type_map),
        "@variables": {key: np.asarray(stats[key]) for key in ("davg", "dstd")},
    }
