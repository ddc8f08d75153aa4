"""Weight map of models with spins: a standard model over all types, virtual partners included, and which types have spins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dpjax.config import ModelConfig, parse_model
from dpjax.config.descriptors import SeE2AConfig
from dpjax.config.models.virtual_atoms import SUFFIX, without_partners
from dpjax.errors import ModelError

Tree = dict[str, Any]
TYPE = "spin_ener"
_PREFIX = re.compile(r"(^|\.)backbone_model\.")  # of weights in checkpoints
_TABLES = re.compile(r"(^|\.)(virtual_scale_mask|spin_mask)$")  # there, which follow from the definition
_TYPED = re.compile(r"(.*_type_)(\d+)(/.*)")  # TensorFlow's scopes of fitting networks
_EMBEDDED = re.compile(r"(filter_type_all/.*_)(\d+)")  # and of embedding networks


def unwrapped(tree: Tree) -> tuple[Tree, Tree]:
    """The standard model in a stored one with spins, and its ``spin``.

    Raises:
        ModelError: something is missing, or the types are not real ones and as many virtual ones.
    """
    missing = [key for key in ("backbone_model", "spin") if not isinstance(tree.get(key), dict)]
    if missing:
        raise ModelError(f"{missing[0]}: missing in a model of type {TYPE!r}; the file is damaged")
    backbone, spin = tree["backbone_model"], tree["spin"]
    if spin.get("virtual_scale") is None:
        raise ModelError(
            "spin/virtual_scale: missing; models whose spins are vectors in the descriptor are not built yet"
        )
    found, expected = len(backbone.get("type_map", ())), 2 * len(spin["use_spin"])
    if found != expected:
        text = f"found {found} types, expected {expected}: those of spin/use_spin and as many virtual ones"
        raise ModelError(f"backbone_model/type_map: {text}")
    return backbone, {
        "use_spin": list(map(bool, spin["use_spin"])),
        "virtual_scale": list(map(float, spin["virtual_scale"])),
    }


def as_in_input(section: Tree) -> Tree:
    """A stored definition as in an input; frozen models have that of the standard model inside, with twice the types."""
    spin, names = section.get("spin"), section.get("type_map", ())
    n_type = len(names) // 2
    doubled = n_type and list(names[n_type:]) == [name + SUFFIX for name in names[:n_type]]
    return without_partners(section, spin) if isinstance(spin, dict) and doubled else section


def read_config(section: Tree, spin: Tree) -> ModelConfig:
    """The configuration of a stored model, whose standard model has this section.

    Raises:
        ModelError: it is not what DeePMD-kit makes of any input.
    """
    config, stored = parse_model(without_partners(section, spin)), parse_model(section)
    for name in ("type_map", "pair_exclude_types", "atom_exclude_types"):
        ours, theirs = (set(getattr(own, name)) for own in (config, stored))
        if ours != theirs:
            raise ModelError(f"backbone_model/{name}: found {sorted(theirs)}, expected {sorted(ours)} with these spins")
    return replace(stored, spin=config.spin, virtual_scale=config.virtual_scale, raw=config.raw)


def wrapped(tree: Tree, config: ModelConfig) -> Tree:
    """The stored model whose standard model is ``tree``."""
    carriers = config.spin.carriers(config.data_types)
    return {
        "type": TYPE,
        "backbone_model": tree,
        "spin": {"use_spin": list(carriers), "virtual_scale": list(config.virtual_scale)},
    }


def backbone_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of a checkpoint by the names that the standard model in it has."""
    return {_PREFIX.sub(r"\1", name): value for name, value in arrays.items() if not _TABLES.search(name)}


def as_in_tensorflow(config: ModelConfig) -> ModelConfig:
    """The model of DeePMD-kit's TensorFlow backend: no places for partners that are not there, and distances as they are.

    Raises:
        ModelError: another descriptor than ``se_e2_a`` with one network for each neighbour type, or types with spin behind others.
    """
    descriptor, carriers = config.descriptor, config.spin.carriers(config.data_types)
    if not isinstance(descriptor, SeE2AConfig) or not descriptor.type_one_side:
        raise ModelError("weights with TensorFlow's names and spins are read for se_e2_a with type_one_side true only")
    if sorted(carriers, reverse=True) != list(carriers):
        raise ModelError("spin/use_spin: in models of the TensorFlow backend types with spin come before the others")
    own = descriptor.sel[: len(carriers)]
    sel = (*own, *(n if on else 0 for n, on in zip(own, carriers, strict=True)))
    protection = config.raw["descriptor"].get("env_protection", 0.0)
    return replace(config, descriptor=replace(descriptor, sel=sel, env_protection=protection))


def filled_up(arrays: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """TensorFlow's weights of a model with spins, and zeros for what only the others store: all that knows of virtual types alone.

    There, virtual atoms have no fitting networks and no energies, and types without spin no partners.
    """
    n_type, n_spin = len(config.data_types), sum(config.spin.carriers(config.data_types))
    absent = range(n_type + n_spin, 2 * n_type)
    out = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in [*out.items()]:
        if (found := _TYPED.fullmatch(name)) and found[2] == "0":
            out |= {f"{found[1]}{t}{found[3]}": np.zeros_like(value) for t in range(n_type, 2 * n_type)}
        if (found := _EMBEDDED.fullmatch(name)) and found[2] == "0":
            out |= {f"{found[1]}{t}": np.zeros_like(value) for t in absent}
    for name, rest in (("descrpt_attr/t_avg", 0.0), ("descrpt_attr/t_std", 1.0)):
        if name in out and len(out[name]) == n_type + n_spin:
            out[name] = np.concatenate([out[name], np.full((len(absent), *out[name].shape[1:]), rest)])
    bias = out.get("fitting_attr/t_bias_atom_e")
    if bias is not None:
        bias, virtual = bias[:n_type].copy(), bias[n_type:]
        bias[: len(virtual)] += virtual  # of an atom and its virtual atom
        out["fitting_attr/t_bias_atom_e"] = np.concatenate([bias, np.zeros(n_type)])
    for name, value in (("out_bias", 0.0), ("out_std", 1.0)):
        out.setdefault(f"model_attr/model_attr/t_{name}", np.full((1, 2 * n_type, 1), value))
    return out
