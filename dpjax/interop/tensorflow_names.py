"""Names of weights in DeePMD-kit's TensorFlow graphs, for each array of a stored model tree."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

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
_NETWORK = re.compile(r"networks\.(\d+)\.layers\.(\d+)\.@variables\.(\w+)$")
_VECTORS = re.compile(r"embedding\.layers\.(\d+)\.@variables\.(\w+)$")
_ATTENTION = re.compile(r"attention_layers\.attention_layers\.(\d+)\.(?:attention_layer\.)?(\w+)\.@variables\.(\w)$")
_NORM = {"w": "gamma", "b": "beta"}
_PARTS = ("c_query", "c_key", "c_value")  # which are one layer here
_BOOKKEEPING = ("t_nei_type",)
_ROUNDED = ("rcut", "rcut_smth", "smin_alpha", "sw_rmin", "sw_rmax")  # lengths that its operations get as float32


def name_of(model: Tree, path: str) -> str | None:
    """The TensorFlow variable that holds the array at a path of a model tree; its shape may be another one.

    None where TensorFlow stores no such array, which is then never asked for.

    Raises:
        ModelError: the names of this descriptor or fitting are not known.
    """
    descriptor, fitting = model["descriptor"], model["fitting"]
    part, _, rest = path.partition(".")
    if part == "@variables":
        return f"model_attr/model_attr/t_{rest}"
    if part == "type_embedding":
        layer, leaf = _VECTORS.search(path).groups()
        return f"type_embed_net/{_LAYER[leaf]}_{int(layer) + 1}"
    if part == "descriptor" and descriptor["type"] in _DESCRIPTORS:
        return _descriptor_name(descriptor, rest)
    if part == "fitting" and fitting["type"] == "ener":
        return _fitting_name(fitting, rest)
    kind = descriptor["type"] if part == "descriptor" else fitting["type"]
    raise ModelError(
        f"TensorFlow names of {part} type {kind!r} are not built; this version has those of {', '.join(_DESCRIPTORS)} and ener. "
        "Convert the model with DeePMD-kit (dp convert-backend model.pb model.dp) and load that."
    )


def weights_only(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variables of a graph as the model tree has them: without bookkeeping, what attention makes of embeddings in one layer."""
    found = {name: np.asarray(value) for name, value in arrays.items() if name not in _BOOKKEEPING}
    for first in [name for name in found if f"/{_PARTS[0]}/" in name]:
        names = [first.replace(_PARTS[0], part) for part in _PARTS]
        if all(name in found for name in names):
            found[first.replace(_PARTS[0], "in_proj")] = np.concatenate([found.pop(name) for name in names], axis=-1)
    return found


def check_skips(tree: Tree) -> None:
    """Fitting nets of TensorFlow add a layer's input to its output between equal widths only, and never in the first layer.

    Raises:
        ModelError: in this model the other backends, and these networks, would add more.
    """
    networks = [own for own in tree["fitting"]["nets"]["networks"] if own]
    for number, layer in enumerate(networks[0]["layers"][:-1] if networks else ()):
        n_in, n_out = layer["@variables"]["w"].shape
        if n_out == 2 * n_in or (number == 0 and n_out == n_in):
            raise ModelError(
                f"fitting_net/neuron/{number}: layer {number + 1} makes {n_out} numbers of {n_in}; DeePMD-kit's TensorFlow backend "
                "adds no input to its output there, as its other backends and this version do. Such a network is not read; its "
                "energies would be others."
            )


def as_built(section: Mapping[str, Any], conventions: str) -> Tree:
    """The section of the model that the TensorFlow backend builds: other defaults, and type vectors that belong to the model.

    With conventions ``"reference"`` cut-offs are rounded to single precision, as they reach its kernels.
    """
    built = copy.deepcopy(dict(section))
    descriptor = built.get("descriptor")
    if not isinstance(descriptor, dict):
        return built
    attends = str(descriptor.get("type")).startswith(("se_atten", "dpa1"))
    if attends:
        built.setdefault("type_embedding", {"activation_function": "none"})
        descriptor["temperature"] = 1.0  # whatever the input says
        descriptor["ln_eps"] = 1e-3 if descriptor.get("ln_eps") is None else descriptor["ln_eps"]
    return in_single_precision(built) if conventions == "reference" else built


def in_single_precision(section: Any) -> Any:
    """A section whose lengths are numbers of float32, as TensorFlow's operations get them; it moves results by about 1e-8."""
    if isinstance(section, dict):
        return {
            key: float(np.float32(value))
            if key in _ROUNDED and isinstance(value, (int, float))
            else in_single_precision(value)
            for key, value in section.items()
        }
    return [in_single_precision(item) for item in section] if isinstance(section, list) else copy.deepcopy(section)


def _descriptor_name(tree: Tree, path: str) -> str | None:
    if path.startswith("@variables."):
        return {"davg": "descrpt_attr/t_avg", "dstd": "descrpt_attr/t_std"}[path.removeprefix("@variables.")]
    if path.startswith("attention_layers."):
        return _attention_name(path)
    if path.startswith("amplify."):
        return f"filter_type_all_amplify/{_LAYER[path.rpartition('.')[2]]}"
    if path.startswith("type_layers."):
        _, _, layer, *_, leaf = path.split(".")
        return f"type_embed_layer_{layer}/{_LAYER[leaf]}"
    network, layer, leaf = _network(path)
    name = _DESCRIPTORS[tree["type"]](tree, path, network, f"{_LAYER[leaf]}_{layer + 1}")
    return name and f"filter_type_{name}"


def _attention_name(path: str) -> str:
    layer, part, leaf = _ATTENTION.search(path).groups()
    if part == "attn_layer_norm":
        return f"attention_layer_{layer}/layer_normalization/{_NORM[leaf]}"
    return f"attention_layer_{layer}/{'c_out' if part == 'out_proj' else part}/{_LAYER[leaf]}"


def _by_type(tree: Tree, path: str, network: int, leaf: str) -> str | None:
    """Of networks for each type of neighbour, or pair of types."""
    n_type = len(tree["sel"])
    centre, neighbour = ("all", network) if tree["type_one_side"] else (network % n_type, network // n_type)
    if centre != "all" and _excluded(tree, centre, neighbour):
        return None  # TensorFlow has no networks of excluded pairs, which nothing asks for
    return f"{centre}/{leaf}_{neighbour}"


def _by_neighbours(tree: Tree, path: str, network: int, leaf: str) -> str | None:
    """Of networks for each pair of neighbour types, which stand in one order only."""
    first, second = network % len(tree["sel"]), network // len(tree["sel"])
    return f"all/{leaf}_{first}_{second}" if first <= second else None


def _for_all(tree: Tree, path: str, network: int, leaf: str) -> str:
    """Of networks that are told types by vectors."""
    own = f"_{'one' if tree['type_one_side'] else 'two'}_side_ebd" if path.startswith("embeddings_strip") else ""
    return f"all/{leaf}{own}"


_DESCRIPTORS = dict.fromkeys(("se_e2_a", "se_r", "loc_frame", "se_a_mask"), _by_type)  # by stored type
_DESCRIPTORS |= {"se_e3": _by_neighbours}
_DESCRIPTORS |= {name: _for_all for name in ("se_e2_a_vectors", "se_a_ebd_v2", "se_a_tpe", "dpa1", "se_atten_v2")}


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
