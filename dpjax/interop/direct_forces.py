"""Weight map of the heads of ``dpa4`` that give forces directly: DeePMD-kit's ``dens_fitting`` tree and its names of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dpjax.descriptors.dpa4.parameters import nested

Tree = dict[str, Any]
PREFIX = "dens_fitting_net"  # of the names of weights
HEADS = ("force_embedding", "direct_force_head", "denoising_head")
_NETWORKS = ("filter_layers", "networks", "0")
_UNUSED = ("default_fparam_tensor", "bias_dos")  # of the class that DeePMD-kit's energy head is made of


def has_heads(names: Mapping[str, Any]) -> bool:
    """Whether weights of such names are those of a model that gives forces directly."""
    return any(f"{PREFIX}." in name for name in names)


def write_tree(params: Tree, stats: Tree) -> Tree:
    """The ``dens_fitting`` tree of our heads; what stands under dotted names in DeePMD-kit is nested."""
    energy = params["energy_head"]["net_all"]
    for key in reversed(_NETWORKS):
        energy = {key: energy}
    heads = {name: params[name] for name in HEADS}
    return {
        "@class": "SeZMDeNSFittingNet",
        "@version": 1,
        "@variables": jax.tree.map(np.asarray, {"energy_head": energy | stats["energy_head"], **heads}),
    }


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of stored heads, whose arrays are nested or under dotted names."""
    found = nested(tree["@variables"])
    head = dict(found["energy_head"])
    energy = dict(head.pop("filter_layers")["networks"]["0"])
    output = energy["output_layer"] = dict(energy["output_layer"])
    own = {name: np.asarray(value) for name, value in head.items() if name not in _UNUSED and np.size(value)}
    bias = output.pop("bias", None)
    if bias is not None:  # which inputs cannot ask for
        own["bias_atom_e"] = own["bias_atom_e"] + bias
    heads = {name: {"proj": _weights(found[name]["proj"])} for name in HEADS}
    params = {"energy_head": {"net_all": energy}, **heads}
    return jax.tree.map(np.asarray, params), {"energy_head": own}


def _weights(projection: Tree) -> Tree:
    """The trained arrays of a map between states."""
    return {name: projection[name] for name in ("weight", "bias") if name in projection}
