"""Weight maps of models that are made of others: ``linear``, ``pairtab`` and ``zbl`` trees of DeePMD-kit, both ways.

A ``zbl`` tree is a standard model with a pair table (``use_srtab``): its networks and its table are two models there, each with a
bias of its own, and a third one is added to what they give together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dpjax.config import parse_model
from dpjax.config.models import LinearEnergyConfig, PairTableConfig
from dpjax.descriptors import cutoff, is_by_type, kept, listed_neighbors, members
from dpjax.errors import ModelError
from dpjax.formats.pair_table import PairTable
from dpjax.models.linear import part_name
from dpjax.models.pair_table import NAME, table_of, table_stats
from dpjax.models.shared_layers import completed

Tree = dict[str, Any]
TYPES = ("linear", "linear_ener", "pairtab", "zbl")  # of stored models
STORED = "(stored in the model)"  # in the place of a file's name that a tree does not tell
_OUTSIDE = ("type_map", "atom_exclude_types", "pair_exclude_types", "preset_out_bias")
_SWITCH = ("smin_alpha", "sw_rmin", "sw_rmax")


def read(model: Tree, definition: Tree, read_part: Callable[[Tree], tuple[Any, Tree]]) -> tuple[Any, Tree]:
    """Configuration and variables of a stored model of one of :data:`TYPES`.

    Args:
        model: its tree.
        definition: the section that it was made from, for names of files; may be empty.
        read_part: of the tree of a model that is not made of others.

    Raises:
        ModelError: it is damaged, or has what this version has not.
    """
    if model["type"] == "pairtab":
        return _read_table(model, definition)
    return (_read_zbl if model["type"] == "zbl" else _read_linear)(model, definition, read_part)


def _outer(model: Tree) -> Tree:
    """What a section says of the whole model."""
    return {key: model[key] for key in _OUTSIDE if model.get(key)} | {"type_map": list(model["type_map"])}


def _biases(model: Tree) -> Tree:
    """(n_type, 1) each."""
    return {name: np.asarray(model["@variables"][name])[0] for name in ("out_bias", "out_std")}


def _read_linear(model: Tree, definition: Tree, read_part: Callable) -> tuple[Any, Tree]:
    trees, given = model["models"], definition.get("models") or []
    scripts = given if len(given) == len(trees) and isinstance(given, list) else [{}] * len(trees)
    parts = [
        _read_table(tree, script) if tree["type"] == "pairtab" else read_part(tree)
        for tree, script in zip(trees, scripts, strict=True)
    ]
    sections = [config.raw | {"type_map": list(config.type_map)} for config, _ in parts]
    section = _outer(model) | {"type": "linear_ener", "weights": _weights(model["weights"]), "models": sections}
    named = [(part_name(i), own) for i, (_, own) in enumerate(parts)]
    return parse_model(section), {
        "params": {name: own["params"] for name, own in named if own["params"]},
        "stats": {name: own["stats"] for name, own in named} | _biases(model),
    }


def _weights(stored: Any) -> Any:
    return stored if isinstance(stored, str) else [float(weight) for weight in stored]


def _read_table(model: Tree, definition: Tree) -> tuple[PairTableConfig, Tree]:
    sel = model["sel"]
    section = _outer(model) | {
        "type": "pairtab",
        "tab_file": definition.get("tab_file") or STORED,
        "rcut": float(model["rcut"]),
        "sel": int(sel) if np.ndim(sel) == 0 else [int(n) for n in sel],
    }
    return parse_model(section), {"params": {}, "stats": {NAME: table_stats(_table(model))} | _biases(model)}


def _table(model: Tree) -> PairTable:
    start, spacing, n_piece, n_type = np.asarray(model["tab"]["@variables"]["tab_info"], float)
    pieces = np.asarray(model["tab"]["@variables"]["tab_data"], np.float64)
    shape = int(n_type), int(n_type), int(n_piece), 4
    if pieces.size != np.prod(shape) or shape[0] != len(model["type_map"]):
        raise ModelError(
            f"tab: found {pieces.size} coefficients for {shape[2]} pieces and {shape[0]} types; the model has "
            f"{len(model['type_map'])} types. The file is damaged."
        )
    return PairTable(float(start), float(spacing), pieces.reshape(shape))


def _read_zbl(model: Tree, definition: Tree, read_part: Callable) -> tuple[Any, Tree]:
    networks, table = model["models"]
    inner, variables = read_part(networks)
    for tree in (networks, table):
        if tree.get("atom_exclude_types") or tree.get("pair_exclude_types"):
            raise ModelError(
                "models: a part of a zbl model excludes types for itself; this version has that of the whole only"
            )
        if list(tree["type_map"]) != list(model["type_map"]):
            raise ModelError(
                f"models: the parts of a zbl model must have its types, {list(model['type_map'])}, in this order"
            )
    reach = cutoff(inner.descriptor), listed_neighbors(inner.descriptor)
    own = float(table["rcut"]), int(np.sum(table["sel"]))
    if own != reach:
        raise ModelError(
            f"models: the table has rcut {own[0]:g} and sel {own[1]}, the descriptor {reach[0]:g} and {reach[1]}; this version has "
            "tables with the neighbours of the descriptor"
        )
    switch = {key: float(model[key]) for key in _SWITCH}
    name = {"use_srtab": definition.get("use_srtab") or STORED}
    config = parse_model(inner.raw | {"preset_out_bias": None} | _outer(model) | name | switch)
    whole, net, own = _biases(model), variables["stats"]["out_bias"], _biases(table)["out_bias"]
    stats = variables["stats"] | {
        "out_bias": whole["out_bias"] + net,
        "out_std": whole["out_std"],
        "table_bias": own - net,
        NAME: table_stats(_table(table)),
    }
    return config, variables | {"stats": stats}


def write(config: Any, variables: Tree, write_part: Callable[[Any, Tree], Tree]) -> Tree | None:
    """The tree of a model that is made of others; None of one that is not.

    Args:
        config: of the model.
        variables: arrays of NumPy.
        write_part: gives the tree of a model that is not.
    """
    if isinstance(config, PairTableConfig):  # DeePMD-kit has it only as a part
        none = np.zeros((len(config.type_map), 1))
        inner = _table_tree(config, variables["stats"] | {"out_bias": none, "out_std": none + 1.0})
        return _linear_tree(config, variables["stats"], [inner], "sum")
    if isinstance(config, LinearEnergyConfig):
        return _linear_tree(config, variables["stats"], list(_parts(config, variables, write_part)), config.weights)
    return None if config.use_srtab is None else _zbl_tree(config, variables, write_part)


def _parts(config: LinearEnergyConfig, variables: Tree, write_part: Callable):
    params = completed(config, variables["params"])
    for i, (_, part) in enumerate(config.named):
        own = {"params": params.get(part_name(i), {}), "stats": variables["stats"].get(part_name(i), {})}
        if isinstance(part, PairTableConfig):
            yield _table_tree(part, own["stats"])
        else:
            yield write_part(replace(part, conventions=config.conventions), own)


def _base(config: Any, stats: Tree, version: int) -> Tree:
    """What the trees of all models have."""
    return {
        "type_map": list(config.type_map),
        "atom_exclude_types": list(config.silent_types),
        "pair_exclude_types": [list(pair) for pair in config.pair_exclude_types],
        "rcond": None,
        "preset_out_bias": dict(config.raw["preset_out_bias"]) if config.preset_out_bias else None,
        "@variables": {"out_bias": stats["out_bias"][None], "out_std": stats["out_std"][None]},
        "@class": "Model",
        "@version": version,
    }


def _linear_tree(config: Any, stats: Tree, parts: Sequence[Tree], weights: Any) -> Tree:
    return (
        _base(config, stats, 3)
        | {
            "type": "linear_ener",  # DeePMD-kit writes "linear" here, a name by which it finds only the inner part of the model
            "models": list(parts),
            "weights": weights if isinstance(weights, str) else list(weights),
        }
    )


def _table_tree(config: PairTableConfig, stats: Tree) -> Tree:
    return _base(config, stats, 2) | {
        "type": "pairtab",
        "tab": _tab(table_of(stats[NAME]), config.rcut),
        "rcut": config.rcut,
        "sel": kept(config)[0],
    }


def _tab(table: PairTable, rcut: float) -> Tree:
    n_type, _, n_piece, _ = table.pieces.shape
    rows = table.rows()
    return {
        "@class": "PairTab",
        "@version": 1,
        "rmin": table.start,
        "rmax": float(rows[-1, 0]),
        "hh": table.spacing,
        "ntypes": n_type,
        "rcut": rcut,
        "nspline": n_piece,
        "@variables": {
            "vdata": rows,
            "tab_info": np.array([table.start, table.spacing, n_piece, n_type]),
            "tab_data": table.pieces.ravel(),
        },
    }


def _zbl_tree(config: Any, variables: Tree, write_part: Callable) -> Tree:
    """The bias of the data is that of the whole where the table has it, too, else that of the networks."""
    stats = variables["stats"]
    none = np.zeros_like(stats["out_bias"])
    whole, net = (stats["out_bias"], none) if config.srtab_add_bias else (none, stats["out_bias"])
    alone = replace(config, use_srtab=None, atom_exclude_types=(), pair_exclude_types=(), preset_out_bias=None)
    inner = {key: own for key, own in stats.items() if key not in (NAME, "table_bias")} | {"out_bias": net}
    section = config.descriptor
    table = PairTableConfig(
        type_map=config.type_map, tab_file=STORED, rcut=cutoff(section), sel=listed_neighbors(section)
    )
    return _base(config, stats | {"out_bias": whole}, 2) | {
        "type": "zbl",
        "models": [
            write_part(alone, variables | {"stats": inner}),
            _table_tree(table, stats | {"out_bias": stats["table_bias"], "out_std": none + 1.0}),
        ],
        "weights": "mean",
        **{key: getattr(config, key) for key in _SWITCH},
    }


def check_readable(config: Any) -> None:
    """Raise if DeePMD-kit refuses a model because of the parts that it is made of.

    Raises:
        ModelError: with what to do about it.
    """
    advice = "Write the model as an artifact: dpjax.export.save(pot, 'model.dpx')."
    section = config.descriptor
    if (isinstance(config, LinearEnergyConfig) or config.use_srtab is not None) and is_by_type(section):
        raise ModelError(
            "DeePMD-kit cannot evaluate sums of models, or pair tables beside networks, where a descriptor has networks for each "
            f"type; it takes those that tell types apart by vectors (se_atten, se_e3_tebd, dpa2, dpa3). {advice}"
        )
    if not isinstance(config, LinearEnergyConfig):
        return
    for name, part in config.named:
        if part.use_srtab is not None:
            raise ModelError(
                f"model/models/{name}/use_srtab: DeePMD-kit has no such table in a part of a sum. {advice}"
            )
    lists = sorted((sum(kept(own)), own.rcut) for own in members(section))
    if any(after[1] < before[1] for before, after in zip(lists, lists[1:], strict=False)):
        raise ModelError(
            "model/models: DeePMD-kit does not read a sum where a part with a shorter cut-off keeps more neighbours (sel) than "
            f"another. {advice}"
        )
