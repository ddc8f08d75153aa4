"""Names of weights in DeePMD-kit's TensorFlow graphs, for each array of a stored model tree."""

from __future__ import annotations

import re
from typing import Any

from dpjax.errors import ModelError

Tree = dict[str, Any]
_LAYER = {"w": "matrix", "b": "bias", "idt": "idt"}
_STATISTICS = {
    "bias_atom_e": "t_bias_atom_e",
    "fparam_avg": "t_fparam_avg",
    "fparam_inv_std": "t_fparam_istd",
    "aparam_avg": "t_aparam_avg",
    "aparam_inv_std": "t_aparam_istd",
}
_DESCRIPTORS = ("se_e2_a", "se_r", "loc_frame", "se_a_mask")  # stored types
_NETWORK = re.compile(r"networks\.(\d+)\.layers\.(\d+)\.@variables\.(\w+)$")


def name_of(model: Tree, path: str) -> str | None:
    """The TensorFlow variable that holds the array at a path of a model tree; its shape may be another one.  None: there is none.

    Raises:
        ModelError: the names of this descriptor or fitting are not known.
    """
    descriptor, fitting = model["descriptor"], model["fitting"]
    part, _, rest = path.partition(".")
    if part == "@variables":
        return f"model_attr/model_attr/t_{rest}"
    if part == "descriptor" and descriptor["type"] in _DESCRIPTORS:
        return _descriptor_name(descriptor, rest)
    if part == "fitting" and fitting["type"] == "ener":
        return _fitting_name(fitting, rest)
    kind = descriptor["type"] if part == "descriptor" else fitting["type"]
    raise ModelError(
        f"TensorFlow names of {part} type {kind!r} are not built; this version has those of se_e2_a, se_e2_r, loc_frame, "
        "se_a_mask and ener. Convert the model with DeePMD-kit (dp convert-backend model.pb model.dp) and load that."
    )


def _descriptor_name(tree: Tree, path: str) -> str | None:
    if path.startswith("@variables."):
        return {"davg": "descrpt_attr/t_avg", "dstd": "descrpt_attr/t_std"}[path.removeprefix("@variables.")]
    network, layer, leaf = _network(path)
    n_type = len(tree["sel"])
    centre, neighbour = ("all", network) if tree["type_one_side"] else (network % n_type, network // n_type)
    if centre != "all" and _excluded(tree, centre, neighbour):
        return None  # TensorFlow has no networks of excluded pairs, which nothing asks for
    return f"filter_type_{centre}/{_LAYER[leaf]}_{layer + 1}_{neighbour}"


def _excluded(tree: Tree, centre: int, neighbour: int) -> bool:
    return any(tuple(pair) in ((centre, neighbour), (neighbour, centre)) for pair in tree["exclude_types"])


def _fitting_name(tree: Tree, path: str) -> str | None:
    own = path.removeprefix("@variables.")
    if own != path:
        if own.startswith("aparam") and tree.get("use_aparam_as_mask"):
            return None  # a mask is no input of the networks, and not normalised
        if own not in _STATISTICS:
            raise ModelError(f"fitting/{own}: DeePMD-kit's TensorFlow backend has no such array")
        return f"fitting_attr/{_STATISTICS[own]}"
    network, layer, leaf = _network(path)
    last = layer == len(tree["neuron"])
    shared = (tree.get("layer_name") or {layer: None})[layer]
    scope = f"share_{shared}" if shared else "final_layer" if last else f"layer_{layer}"
    return f"{scope}{'' if tree['mixed_types'] else f'_type_{network}'}/{_LAYER[leaf]}"


def _network(path: str) -> tuple[int, int, str]:
    """Network, layer and array that a path names."""
    network, layer, leaf = _NETWORK.search(path).groups()
    return int(network), int(layer), leaf
