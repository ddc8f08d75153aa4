"""Weight map of the ``dpa4_ener`` fitting: a fitting's options, and its weights under DeePMD-kit's names."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from dpjax.config.fittings import Dpa4EnerFittingConfig
from dpjax.fittings.layers import trainable_layers
from dpjax.fittings.widths import with_widths
from dpjax.interop import ener, fitting
from dpjax.interop.fitting import Surroundings, select_types
from dpjax.interop.networks import collection, common_precision, networks_of

Tree = dict[str, Any]
_VERSION = 4

__all__ = ["read_section", "read_variables", "select_types", "write_tree"]


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored fitting.

    Raises:
        ModelError: the stored fitting uses something this version does not have.
    """
    return ener.read_section(tree) | {"type": "dpa4_ener", "case_film_embd": bool(tree.get("case_film_embd"))}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored fitting.

    A bias of the output layer, which some models have and inputs cannot ask for, becomes a part of the energies of the types.
    """
    (network,) = networks_of(tree["nets"], 1, "fitting/nets")
    params = jax.tree.map(np.asarray, network["@variables"])
    stats = fitting.read_statistics(tree)
    bias = params["output_layer"].pop("bias", None)
    if bias is not None and not tree.get(
        "atom_ener"
    ):  # which takes the network of an atom alone away, and this with it
        stats["bias_atom_e"] = stats["bias_atom_e"] + bias
    return {"net_all": params}, stats


def write_tree(config: Dpa4EnerFittingConfig, around: Surroundings, params: Tree, stats: Tree) -> Tree:
    """The ``Fitting`` tree of our fitting."""
    config = with_widths(config, around.dim_descriptor)
    common = {
        "neuron": list(config.neuron),
        "activation_function": config.activation_function,
        "resnet_dt": config.resnet_dt,
        "precision": common_precision(config.precision),
        "dim_case_embd": config.dim_case_embd,
        "case_film_embd": config.case_film_embd,
    }
    network = {"@class": "GLUFittingNet", "@version": 1, "out_dim": 1, "bias_out": False, **common}
    network["@variables"] = jax.tree.map(np.asarray, params["net_all"])
    return fitting.common_tree(config, around, stats, version=_VERSION, var_name="energy", mixed=True) | {
        **common,
        "type": "dpa4_ener",
        "dim_out": 1,
        "atom_ener": list(config.atom_ener) if any(e is not None for e in config.atom_ener) else None,
        "nets": collection("sezm_fitting_network", [network], 0, around.n_type),
        "trainable": trainable_layers(config),
    }
