"""What the weight maps of all fittings have in common: DeePMD-kit's ``Fitting`` tree, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpjax.errors import ModelError
from dpjax.fittings.layers import layer_owners, trainable_layers
from dpjax.fittings.types import network_names
from dpjax.fittings.widths import with_widths
from dpjax.interop.networks import collection, common_precision, networks_of, read_stack, write_layer

Tree = dict[str, Any]
_KEYS = (
    "neuron",
    "activation_function",
    "resnet_dt",
    "numb_fparam",
    "numb_aparam",
    "dim_case_embd",
    "precision",
)
_STATS = ("bias_atom_e", "case_embd", "fparam_avg", "fparam_inv_std", "aparam_avg", "aparam_inv_std")
_OPTIONAL = ("rcond", "trainable", "use_aparam_as_mask", "atom_ener")  # not every fitting has these


@dataclass(frozen=True)
class Surroundings:
    """What a stored fitting repeats of the model around it.

    ``dim_descriptor`` and ``dim_frame`` are the lengths of an atom's descriptor and of its frame (vectors that turn with the
    structure).
    """

    type_map: tuple[str, ...]
    dim_descriptor: int
    dim_frame: int

    @property
    def n_type(self) -> int:
        """Number of atom types."""
        return len(self.type_map)


def read_section(tree: Tree, newest: int, options: Iterable[str] = ()) -> Tree:
    """The input section that describes the stored fitting, as far as all fittings have it.

    Args:
        tree: of the fitting.
        newest: version of the tree up to which it is known.
        options: those of ``rcond``, ``trainable``, ``use_aparam_as_mask`` and ``atom_ener`` that inputs have for this fitting;
            ``atom_ener`` is left to the caller.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    kind, version = tree["type"], tree.get("@version", 1)
    if version > newest:
        raise ModelError(f"fitting: found version {version} of {kind!r}; this version reads up to {newest}")
    for key in ("tot_ener_zero", "spin"):
        if tree.get(key):
            raise ModelError(f"fitting: {key} is set, which is not built yet")
    for key in set(_OPTIONAL) - set(options):
        if not _neutral(key, tree.get(key)):
            raise ModelError(f"fitting/{key}: found {tree[key]!r}, but inputs have no such option for type {kind!r}")
    section = {"type": kind, **{key: tree[key] for key in _KEYS if key in tree}}
    taken = ("default_fparam", *(key for key in options if key != "atom_ener"))
    return section | {key: tree[key] for key in taken if tree.get(key) is not None}


def _neutral(key: str, value: Any) -> bool:
    """Whether a stored option says the same as its absence."""
    if key == "trainable":
        return value is None or bool(np.all(value))
    if key == "atom_ener":
        return value is None or all(entry is None for entry in value)
    return value is None or value is False


def select_types(section: Tree, excluded: Sequence[int], n_type: int) -> Tree:
    """The section of a fitting that leaves out types on its own, which inputs of most fittings cannot say.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"fitting/exclude_types: types {list(excluded)} are excluded here but not by the model (atom_exclude_types); "
        "such a model cannot be described by an input file"
    )


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored fitting."""
    names = network_names(tree["ntypes"], bool(tree.get("mixed_types")))
    networks = networks_of(_completed(tree), len(names), "fitting/nets")
    params = {f"net_{name}": read_stack(network) for name, network in zip(names, networks, strict=True)}
    return params, read_statistics(tree)


def read_statistics(tree: Tree) -> Tree:
    """Collection ``stats`` of the stored fitting."""
    variables = tree["@variables"]
    stats = {key: np.asarray(variables[key]) for key in _STATS if variables.get(key) is not None}
    return {key: value for key, value in stats.items() if value.size}


def _completed(tree: Tree) -> Tree:
    """The networks, where those of excluded types, which files from TensorFlow lack, are like the others and zero."""
    networks, excluded = tree["nets"]["networks"], set(tree.get("exclude_types") or [])
    present = [network for network in networks if network is not None]
    if not present:
        return tree["nets"]
    silent = {"layers": [_zero_layer(layer) for layer in present[0]["layers"]]}
    full = [silent if network is None and t in excluded else network for t, network in enumerate(networks)]
    return tree["nets"] | {"networks": full}


def _zero_layer(layer: Tree) -> Tree:
    variables = layer["@variables"]
    return {"@variables": {key: None if value is None else np.zeros_like(value) for key, value in variables.items()}}


def write_tree(
    config: Any,
    around: Surroundings,
    params: Tree,
    stats: Tree,
    *,
    version: int,
    var_name: str,
    width: int,
) -> Tree:
    """The ``Fitting`` tree of our fitting without what only its type has, ``type`` included.

    Shared layers (``layer_name``) are written out once for each place they are used.

    Args:
        config: hyper-parameters of the fitting.
        around: the model around it.
        params: weights of its networks.
        stats: its statistics.
        version: of the tree.
        var_name: DeePMD-kit's name of what the fitting predicts.
        width: of the networks' output.
    """
    config = with_widths(config, around.dim_descriptor)
    mixed = "net_all" in params
    trainable = trainable_layers(config)
    names = network_names(around.n_type, mixed)
    common = {"activation_function": config.activation_function, "precision": common_precision(config.precision)}
    form = {"in_dim": around.dim_descriptor + _extra(config), "out_dim": width, "neuron": list(config.neuron)}
    form |= {"resnet_dt": config.resnet_dt, "bias_out": True, **common}
    networks = [_write_network(form, params[f"net_{name}"], layer_owners(config), trainable) for name in names]
    own = common_tree(config, around, stats, version=version, var_name=var_name, mixed=mixed)
    return own | {"nets": collection("fitting_network", networks, 0 if mixed else 1, around.n_type)}


def _extra(config: Any) -> int:
    """Inputs of a network beside the descriptor."""
    masked = getattr(config, "use_aparam_as_mask", False)
    return config.numb_fparam + config.dim_case_embd + (0 if masked else config.numb_aparam)


def common_tree(config: Any, around: Surroundings, stats: Tree, *, version: int, var_name: str, mixed: bool) -> Tree:
    """What all ``Fitting`` trees have beside their networks; arguments as for :func:`write_tree`."""
    return {
        "@class": "Fitting",
        "@version": version,
        "var_name": var_name,
        "ntypes": around.n_type,
        "dim_descrpt": around.dim_descriptor,
        "neuron": list(config.neuron),
        "resnet_dt": config.resnet_dt,
        "numb_fparam": config.numb_fparam,
        "numb_aparam": config.numb_aparam,
        "dim_case_embd": config.dim_case_embd,
        "default_fparam": None if config.default_fparam is None else list(config.default_fparam),
        "activation_function": config.activation_function,
        "precision": common_precision(config.precision),
        "mixed_types": mixed,
        "rcond": getattr(config, "rcond", None),
        "exclude_types": [],
        "@variables": {key: np.asarray(stats[key]) if key in stats else None for key in _STATS},
        "type_map": list(around.type_map),
        "tot_ener_zero": False,
        "trainable": trainable_layers(config),
        "layer_name": None,
        "use_aparam_as_mask": getattr(config, "use_aparam_as_mask", False),
        "spin": None,
    }


def _write_network(form: Tree, weights: Tree, owners: Sequence[int], trainable: list[bool]) -> Tree:
    """The ``FittingNetwork`` tree of one network; ``owners`` names for each layer the one whose weights it uses."""
    common = {key: form[key] for key in ("activation_function", "precision")}
    last = len(trainable) - 1
    layers = []
    for i, (owner, changes) in enumerate(zip(owners, trainable, strict=True)):
        own = common | {"activation_function": "none"} if i == last else common
        layers.append(write_layer(weights[f"layers_{owner}"], resnet=i < last, trainable=changes, **own))
    return {"@class": "FittingNetwork", "@version": 1, **form, "layers": layers}
