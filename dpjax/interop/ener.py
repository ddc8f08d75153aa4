"""Weight map of the ``ener`` fitting: DeePMD-kit's ``Fitting`` tree, version 4, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config import EnerFittingConfig
from dpjax.errors import ModelError
from dpjax.fittings.ener import layer_owners, trainable_layers
from dpjax.fittings.types import network_names
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
    "rcond",
)
_STATS = ("bias_atom_e", "case_embd", "fparam_avg", "fparam_inv_std", "aparam_avg", "aparam_inv_std")


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    for key in ("tot_ener_zero", "spin"):
        if tree.get(key):
            raise ModelError(f"fitting: {key} is set, which is not built yet")
    section = {"type": "ener", **{key: tree[key] for key in _KEYS if key in tree}}
    for key in ("default_fparam", "use_aparam_as_mask", "trainable"):
        if tree.get(key) is not None:
            section[key] = tree[key]
    if tree.get("atom_ener"):
        section["atom_ener"] = [None if e is None else float(np.reshape(e, ())) for e in tree["atom_ener"]]
    return section


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored fitting."""
    names = network_names(tree["ntypes"], bool(tree.get("mixed_types")))
    networks = networks_of(tree["nets"], len(names), "fitting/nets")
    params = {f"net_{name}": read_stack(network) for name, network in zip(names, networks, strict=True)}
    variables = tree["@variables"]
    stats = {key: np.asarray(variables[key]) for key in _STATS if variables.get(key) is not None}
    return params, {key: value for key, value in stats.items() if value.size}


def write_tree(
    config: EnerFittingConfig, type_map: tuple[str, ...], dim_descriptor: int, params: Tree, stats: Tree
) -> Tree:
    """The ``Fitting`` tree of our fitting.  Shared layers (``layer_name``) are written out once for each place they are used."""
    n_type, precision = len(type_map), common_precision(config.precision)
    mixed = "net_all" in params
    names = network_names(n_type, mixed)
    trainable = trainable_layers(config)
    dim_in = dim_descriptor + config.numb_fparam + config.dim_case_embd
    dim_in += 0 if config.use_aparam_as_mask else config.numb_aparam
    common = {"activation_function": config.activation_function, "precision": precision}

    def network(weights: Tree) -> Tree:
        owner = layer_owners(config)
        hidden = [
            write_layer(weights[f"layers_{owner[i]}"], resnet=True, trainable=trainable[i], **common)
            for i in range(len(config.neuron))
        ]
        last = write_layer(
            weights[f"layers_{owner[-1]}"],
            resnet=False,
            trainable=trainable[-1],
            precision=precision,
            activation_function="none",
        )
        return {
            "@class": "FittingNetwork",
            "@version": 1,
            "in_dim": dim_in,
            "out_dim": 1,
            "neuron": list(config.neuron),
            "resnet_dt": config.resnet_dt,
            "bias_out": True,
            **common,
            "layers": [*hidden, last],
        }

    return {
        "@class": "Fitting",
        "@version": 4,
        "var_name": "energy",
        "ntypes": n_type,
        "dim_descrpt": dim_descriptor,
        "neuron": list(config.neuron),
        "resnet_dt": config.resnet_dt,
        "numb_fparam": config.numb_fparam,
        "numb_aparam": config.numb_aparam,
        "dim_case_embd": config.dim_case_embd,
        "default_fparam": None if config.default_fparam is None else list(config.default_fparam),
        **common,
        "mixed_types": mixed,
        "nets": collection(
            "fitting_network", [network(params[f"net_{name}"]) for name in names], 0 if mixed else 1, n_type
        ),
        "rcond": config.rcond,
        "exclude_types": [],
        "@variables": {key: np.asarray(stats[key]) if key in stats else None for key in _STATS},
        "type_map": list(type_map),
        "tot_ener_zero": False,
        "trainable": trainable,
        "layer_name": None,
        "use_aparam_as_mask": config.use_aparam_as_mask,
        "spin": None,
        "type": "ener",
        "dim_out": 1,
        "atom_ener": list(config.atom_ener) if any(e is not None for e in config.atom_ener) else None,
    }
