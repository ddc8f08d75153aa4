"""Weight map of ``se_e3``: DeePMD-kit's ``Descriptor`` tree, version 2, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.descriptors import SeE3Config
from dpjax.errors import ModelError
from dpjax.interop.se_e2_a import read_common, refuse_unknown, write_common

Tree = dict[str, Any]
_KEYS = ("rcut", "rcut_smth", "sel", "neuron", "activation_function", "resnet_dt", "precision")
_KEYS += ("trainable", "exclude_types", "env_protection", "set_davg_zero")
NAMES = {
    "pytorch": {"embeddings": "seat.filter_layers", "@variables.davg": "seat.mean", "@variables.dstd": "seat.stddev"},
    "jax": {"embeddings": "embeddings", "@variables.davg": "davg", "@variables.dstd": "dstd"},
}
CLASS_DEFAULTS = {"neuron": [24, 48, 96]}


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor uses something this version does not have.
    """
    refuse_unknown(tree, "se_e3")
    return {"type": "se_e3", **{key: tree[key] for key in _KEYS}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor.

    Raises:
        ModelError: the angular columns have a mean, with which the energy would depend on the orientation.
    """
    params, stats = read_common(tree, one_side=False)
    if np.any(stats["davg"][:, 1:]):
        raise ModelError(
            "descriptor/davg: an angular column has a mean other than zero, with which energies of se_e3 would change when the "
            "structure turns. No training of DeePMD-kit makes one; this file was edited or made by other means and cannot be read."
        )
    return params, stats


def write_tree(config: SeE3Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    return {"type": "se_e3", **write_common(config, type_map, params, stats, one_side=False)}
