"""Models made of others from the variables of DeePMD-kit's TensorFlow graphs: sums, DPRc models, pair tables.

There the scopes of the k-th part of a sum end in ``_model<k>``, but for layers with a name (``layer_name``), which all parts use;
those of a DPRc model end in ``_qm`` and ``_qmmm``.  Numbers that reach its compiled operations as attributes are rounded to
float32, which changes results by about 1e-8; so the section of an imported model has them as they were used.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dpjax.config import parse_model
from dpjax.config.models import DPRC_PARTS, completed_dprc
from dpjax.errors import ModelError
from dpjax.formats.pair_table import PairTable
from dpjax.interop.tensorflow_names import as_built, in_single_precision
from dpjax.models.linear import part_name
from dpjax.models.pair_table import NAME, table_stats
from dpjax.models.shared_layers import without_borrowed

Tree = dict[str, Any]
_INFO, _DATA = "model_attr/t_tab_info", "model_attr/t_tab_data"
_SHORT_RANGE = ("use_srtab", "smin_alpha", "sw_rmin", "sw_rmax", "srtab_add_bias")


def is_made_of_parts(section: Mapping[str, Any]) -> bool:
    """Whether a model section is one of those that are read here."""
    return section.get("type") in ("linear_ener", "pairwise_dprc", "pairtab") or section.get("use_srtab") is not None


def read(
    section: Mapping[str, Any], arrays: Mapping[str, np.ndarray], read_part: Callable, conventions: str
) -> tuple[Any, Tree]:
    """Configuration and variables.

    Args:
        section: the ``model`` section.
        arrays: variables of the graph by name.
        read_part: section, variables -> configuration and variables of a model that is not made of others.
        conventions: ``"reference"``: lengths are rounded as there.

    Raises:
        ModelError: a variable is missing or left over.
    """
    section = in_single_precision(dict(section)) if conventions == "reference" else copy.deepcopy(dict(section))
    if section.get("type") == "linear_ener":
        return _read_sum(section, arrays, read_part, conventions)
    if section.get("type") == "pairwise_dprc":
        return _read_fragments(section, arrays, read_part, conventions)
    if section.get("type") == "pairtab":
        return _read_table(section, arrays)
    alone = {key: value for key, value in section.items() if key not in _SHORT_RANGE}
    _, variables = read_part(alone, {name: array for name, array in arrays.items() if name not in (_INFO, _DATA)})
    config, stats = parse_model(section), variables["stats"]
    bias = (
        stats["fitting_net"]["bias_atom_e"] - stats["out_bias"]
        if config.srtab_add_bias
        else np.zeros_like(stats["out_bias"])
    )
    table = {NAME: table_stats(_table(arrays)), "table_bias": np.asarray(bias, np.float64)}
    return config, variables | {"stats": stats | table}


def _read_sum(
    section: Tree, arrays: Mapping[str, np.ndarray], read_part: Callable, conventions: str
) -> tuple[Any, Tree]:
    params: Tree = {}
    stats: Tree = {}
    models = section["models"]
    left, used = dict(arrays), set()
    for i, part in enumerate(models.values() if isinstance(models, dict) else models):
        own = {name: left.pop(name) for name in list(left) if f"_model{i}/" in name}
        own = {re.sub(rf"_model{i}(?=/)", "", name): array for name, array in own.items()}
        part = {"type_map": section.get("type_map"), **part}
        named = _named_layers(part, arrays)
        used |= named.keys()
        own |= named
        _, variables = read(part, own, read_part, conventions) if is_made_of_parts(part) else read_part(part, own)
        stats[part_name(i)] = variables["stats"]
        params |= {part_name(i): variables["params"]} if variables["params"] else {}
    left = sorted(set(left) - used)
    if left:
        raise ModelError(
            f"names that belong to no part of the sum, whose scopes end in _model<k>: {', '.join(left[:8])}"
        )
    config = parse_model(section)
    params = without_borrowed(config, params)
    return config, {"params": params, "stats": stats | _no_bias(len(config.type_map))}


def _named_layers(part: Tree, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Variables of the fitting layers of a part that have a name, whichever part's they are."""
    names = [name for name in part.get("fitting_net", {}).get("layer_name") or () if name is not None]
    scopes = re.compile(f"share_({'|'.join(map(re.escape, names))})(_type_[0-9]+)?/")
    return {name: array for name, array in arrays.items() if names and scopes.match(name)}


def _read_fragments(
    section: Tree, arrays: Mapping[str, np.ndarray], read_part: Callable, conventions: str
) -> tuple[Any, Tree]:
    """A DPRc model, whose parts have their type vectors in common."""
    completed_dprc(section)
    section |= {key: _without_vectors(as_built(section[key], conventions)) for key in DPRC_PARTS}
    shared = {name: array for name, array in arrays.items() if name.startswith("type_embed_net")}
    left = {name: array for name, array in arrays.items() if name not in shared}
    params, stats = {}, {}
    for i, key in enumerate(DPRC_PARTS):
        suffix = f"_{key.removesuffix('_model')}/"
        own = {name.replace(suffix, "/"): left.pop(name) for name in list(left) if suffix in name}
        part = {"type_map": section.get("type_map"), **section[key]}
        if is_made_of_parts(part):
            _, variables = read(part, own, read_part, conventions)
        else:
            _, variables = read_part(part | {"type_embedding": section["type_embedding"]}, own | shared)
        vectors = variables["params"].pop("type_embedding", None)
        params |= {} if vectors is None else {"type_embedding": vectors}
        params |= {part_name(i): variables["params"]} if variables["params"] else {}
        stats[part_name(i)] = variables["stats"]
    if left:
        raise ModelError(
            "names that belong to neither part of a pairwise_dprc model, whose scopes end in _qm and _qmmm: "
            f"{', '.join(sorted(left)[:8])}"
        )
    config = parse_model(section)
    return config, {"params": params, "stats": stats | _no_bias(len(config.type_map))}


def _without_vectors(part: Tree) -> Tree:
    """The section of a part whose type vectors are those of the whole."""
    return {key: value for key, value in part.items() if key != "type_embedding"}


def _read_table(section: Tree, arrays: Mapping[str, np.ndarray]) -> tuple[Any, Tree]:
    config = parse_model(section)
    return config, {"params": {}, "stats": {NAME: table_stats(_table(arrays)), **_no_bias(len(config.type_map))}}


def _no_bias(n_type: int) -> Tree:
    return {"out_bias": np.zeros((n_type, 1)), "out_std": np.ones((n_type, 1))}


def _table(arrays: Mapping[str, np.ndarray]) -> PairTable:
    missing = [name for name in (_INFO, _DATA) if name not in arrays]
    if missing:
        raise ModelError(f"the pair table is missing among the weights: {', '.join(missing)}")
    start, spacing, n_piece, n_type = np.asarray(arrays[_INFO], np.float64)
    shape = int(n_type), int(n_type), int(n_piece), 4
    return PairTable(float(start), float(spacing), np.asarray(arrays[_DATA], np.float64).reshape(shape))
