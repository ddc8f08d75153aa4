"""Weight map of the ``standard`` model and the table of the parts' maps; models made of others are in ``parts.py``."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from dpjax.config import ModelConfig, parse_model, with_direct_forces
from dpjax.config.descriptors.dpa4 import DPA4_NAMES
from dpjax.config.fittings import FITTINGS as FITTING_NETS
from dpjax.descriptors import build_descriptor, has_one_fitting_net
from dpjax.errors import ModelError
from dpjax.interop import (
    dipole,
    direct_forces,
    dos,
    dpa2,
    dpa3,
    dpa4,
    dpa4_ener,
    ener,
    loc_frame,
    model_vectors,
    parts,
    polar,
    property,
    se_a_mask,
    se_atten,
    se_e2_a,
    se_e2_r,
    se_e3,
    se_e3_tebd,
    spin,
)
from dpjax.interop.branches import aliases
from dpjax.interop.fitting import Surroundings
from dpjax.interop.hybrid import HybridMap
from dpjax.interop.model_vectors import WITH_VECTORS, read_model_vectors, stored_type, write_model_vectors

Tree = dict[str, Any]
DESCRIPTORS = {"se_e2_a": se_e2_a, "se_e2_r": se_e2_r, "se_r": se_e2_r, "se_e3": se_e3, "se_e3_tebd": se_e3_tebd}
FITTINGS = {"ener": ener, "dpa4_ener": dpa4_ener, "dos": dos, "property": property, "polar": polar, "dipole": dipole}
DESCRIPTORS |= {name: se_atten for name in ("se_atten", "dpa1", "se_atten_v2")}
DESCRIPTORS |= {name: model_vectors for name in (WITH_VECTORS, "se_a_ebd_v2", "se_a_tpe")}
DESCRIPTORS |= {"dpa2": dpa2, "dpa3": dpa3, "dpa4": dpa4}
DESCRIPTORS |= {"loc_frame": loc_frame, "se_a_mask": se_a_mask}
MODEL_OPTIONS = ("bridging_method", "bridging_r_inner", "bridging_r_outer")
DESCRIPTORS["hybrid"] = HybridMap(lambda name: _find(DESCRIPTORS, name, "descriptor"))


def tree_branches(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Names of the branches of a stored tree (the root of a ``.dp`` file) with their aliases; none of a single model."""
    stored = tree.get("model", tree).get("model_dict", tree.get("model_dict", {}))
    named = aliases(tree.get("model_def_script") or {})
    return {name: named.get(name, ()) for name in stored}


def branch_tree(tree: Tree, name: str) -> Tree:
    """The tree of one branch."""
    return tree.get("model", tree).get("model_dict", tree.get("model_dict", {}))[name]


def read_model(tree: Tree) -> tuple[ModelConfig, Tree]:
    """Configuration and variables of a stored model tree (the root of a ``.dp`` file or its ``model``).

    Of a tree of several branches give one (:func:`branch_tree`).

    Raises:
        ModelError: the tree is no model, or one that this version does not have.
    """
    model = tree.get("model", tree)
    branches = model.get("model_dict", tree.get("model_dict"))
    if branches is not None:
        raise ModelError(f"found a model with several branches ({', '.join(branches)}); give the tree of one of them")
    if model.get("type") in DPA4_NAMES and "atomic_model" in model:
        model = dpa4.unwrapped(model)
    if model.get("type") in parts.TYPES:
        return parts.read(model, tree.get("model_def_script") or {}, read_model)
    spins = None
    if model.get("type") == spin.TYPE:
        model, spins = spin.unwrapped(model)
    if "descriptor" not in model or "fitting" not in model:
        raise ModelError(
            f"model type {model.get('type', 'unknown')!r} is not built yet; this version reads standard single-task models"
        )
    descriptor, fitting = model["descriptor"], model["fitting"]
    descriptor_map = _find(DESCRIPTORS, descriptor.get("type"), "descriptor")
    fitting_map = _find(FITTINGS, fitting.get("type"), "fitting")
    section = {
        "type_map": list(model["type_map"]),
        "descriptor": descriptor_map.read_section(descriptor),
        "fitting_net": fitting_map.read_section(fitting),
        "pair_exclude_types": model.get("pair_exclude_types") or [],
        "atom_exclude_types": model.get("atom_exclude_types") or [],
    }
    section |= {key: model[key] for key in (*MODEL_OPTIONS, "type") if model.get(key) is not None}
    vectors = None
    if model.get("type_embedding") is not None:
        section["type_embedding"], vectors = read_model_vectors(model["type_embedding"])
    if model.get("preset_out_bias"):
        section["preset_out_bias"] = model["preset_out_bias"]
    outside = sorted(set(fitting.get("exclude_types") or []) - set(section["atom_exclude_types"]))
    if outside:
        section["fitting_net"] = fitting_map.select_types(section["fitting_net"], outside, len(section["type_map"]))
    config = parse_model(section) if spins is None else spin.read_config(section, spins)
    mixed = bool(fitting.get("mixed_types"))
    if mixed != has_one_fitting_net(config):
        need = "one fitting network for all types" if not mixed else "one fitting network for each type"
        raise ModelError(f"fitting: mixed_types is {str(mixed).lower()}, but this descriptor needs {need}")
    _check_frame(fitting, config)
    d_params, d_stats = descriptor_map.read_variables(descriptor)
    f_params, f_stats = fitting_map.read_variables(fitting)
    stats = {
        "descriptor": d_stats,
        "fitting_net": f_stats,
        "out_bias": np.asarray(model["@variables"]["out_bias"])[0],
        "out_std": np.asarray(model["@variables"]["out_std"])[0],
    }
    variables = {"params": {"descriptor": d_params, "fitting_net": f_params}, "stats": stats}
    if vectors is not None:
        variables["params"]["type_embedding"] = vectors
    return (config, variables) if model.get("dens_fitting") is None else _with_heads(config, variables, model)


def _with_heads(config: ModelConfig, variables: Tree, model: Tree) -> tuple[ModelConfig, Tree]:
    """The model with the heads that give its forces, which are stored beside its fitting net."""
    params, stats = direct_forces.read_variables(model["dens_fitting"])
    spread = np.asarray(model["@variables"]["dens_force_rmsd"], np.float64).reshape(())
    return with_direct_forces(config), {
        "params": variables["params"] | {direct_forces.PREFIX: params},
        "stats": variables["stats"] | {direct_forces.PREFIX: stats, "dens_force_rmsd": spread},
    }


def _check_frame(fitting: Tree, config: ModelConfig) -> None:
    """A stored fitting of tensors must fit to the descriptor's frame."""
    width = fitting.get("embedding_width")
    if width is None:
        return
    dim_frame = build_descriptor(config).dim_frame
    if width != dim_frame:
        raise ModelError(
            f"fitting/embedding_width: found {width}, but the descriptor's frame has {dim_frame} vectors; a tensor needs a "
            "descriptor whose parts all have one (se_e2_a, se_atten)"
        )


def _find(table: dict, name: str | None, kind: str):
    if name not in table:
        raise ModelError(f"{kind} type {name!r} is not built yet; this version has: {', '.join(table)}")
    return table[name]


def write_model(config: ModelConfig, variables: Tree) -> Tree:
    """The tree that DeePMD-kit reads for this model."""
    variables = jax.tree.map(np.asarray, variables)
    model = parts.write(config, variables, _standard_tree) or _standard_tree(config, variables)
    return {"backend": "dpjax", "model": model, "model_def_script": config.raw, "@variables": {}}


def _standard_tree(config: ModelConfig, variables: Tree) -> Tree:
    """The tree of a model with one descriptor and one fitting net."""
    params, stats = variables["params"], variables["stats"]
    descriptor_map = _find(DESCRIPTORS, stored_type(config.descriptor, params["descriptor"]), "descriptor")
    descriptor = descriptor_map.write_tree(
        config.descriptor, config.type_map, params["descriptor"], stats["descriptor"]
    )
    module, vectors = build_descriptor(config), config.type_embedding
    dim_inputs = module.dim_out + (0 if vectors is None else vectors.neuron[-1])
    around = Surroundings(config.type_map, dim_inputs, module.dim_frame)
    fitting_map = _find(FITTINGS, FITTING_NETS.name_of(config.fitting_net), "fitting")
    fitting = fitting_map.write_tree(config.fitting_net, around, params["fitting_net"], stats["fitting_net"])
    fitting["exclude_types"] = list(config.silent_types)
    model = {
        "type_map": list(config.type_map),
        "atom_exclude_types": list(config.silent_types),
        "pair_exclude_types": [list(pair) for pair in config.pair_exclude_types],
        "rcond": fitting["rcond"],
        "preset_out_bias": _preset(config),
        "@variables": {"out_bias": stats["out_bias"][None], "out_std": stats["out_std"][None]},
        "@class": "Model",
        "@version": 2,
        "type": config.type,
        "descriptor": descriptor,
        "fitting": fitting,
        **{key: getattr(config, key) for key in MODEL_OPTIONS if config.bridge},
    }
    if vectors is not None:
        model["type_embedding"] = write_model_vectors(vectors, config.type_map, params["type_embedding"])
    if config.direct_forces:
        model["dens_fitting"] = direct_forces.write_tree(params[direct_forces.PREFIX], stats[direct_forces.PREFIX])
        model["@variables"]["dens_force_rmsd"] = stats["dens_force_rmsd"]
    return spin.wrapped(model, config) if config.virtual_scale else model


def _preset(config: ModelConfig) -> Tree | None:
    if not config.preset_out_bias:
        return None
    given, virtual = config.raw["preset_out_bias"], [None] * len(config.virtual_scale)
    return {name: [*values, *virtual] for name, values in given.items()}


def flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Every stored array under its dotted path, as in ``descriptor.embeddings.networks.0.layers.0.@variables.w``."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {prefix: tree} if isinstance(tree, np.ndarray) else {}
    out: dict[str, np.ndarray] = {}
    for key, value in items:
        out.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return out
