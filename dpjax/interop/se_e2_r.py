"""Weight map of ``se_e2_r``: DeePMD-kit's ``Descriptor`` tree, version 2, both ways."""

from __future__ import annotations

import logging
from typing import Any

from dpjax.config.descriptors import SeE2RConfig
from dpjax.interop.se_e2_a import read_common, refuse_unknown, write_common

Tree = dict[str, Any]
log = logging.getLogger(__name__)
_KEYS = ("rcut", "rcut_smth", "sel", "neuron", "activation_function", "resnet_dt", "type_one_side", "precision")
_KEYS += ("trainable", "exclude_types", "env_protection", "set_davg_zero")
NAMES = {
    "pytorch": {"embeddings": "filter_layers", "@variables.davg": "mean", "@variables.dstd": "stddev"},
    "jax": {"embeddings": "embeddings", "@variables.davg": "davg", "@variables.dstd": "dstd"},
}
CLASS_DEFAULTS = {"neuron": [25, 50, 100]}
FIXED = {
    "type_one_side": True
}  # whatever the definition says: these backends have one network for each type of neighbour


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor uses something this version does not have.
    """
    refuse_unknown(tree, "se_e2_r")
    return {"type": "se_e2_r", **{key: tree[key] for key in _KEYS}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    return read_common(tree, one_side=tree["type_one_side"])


def write_tree(config: SeE2RConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    if not config.type_one_side:
        log.warning(
            "se_e2_r with type_one_side false is known to DeePMD-kit's TensorFlow backend only; its PyTorch backend reads such "
            "a file, but takes some networks for others. Train with type_one_side true if the model must run there."
        )
    return {
        "type": "se_r",
        **write_common(config, type_map, params, stats, one_side=config.type_one_side),
        "type_one_side": config.type_one_side,
        "spin": None,
    }
