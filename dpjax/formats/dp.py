"""DeePMD-kit's backend-independent model file.

``.dp`` is an HDF5 file: its attribute ``json`` holds the tree of the model, where every array below a key ``@variables`` is
replaced by the name of a dataset.  ``.yaml`` (``.yml``) is the same tree as text with the arrays written out.  Trees returned here
are nested dicts and lists with NumPy arrays in place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from dpjax.errors import ModelError, OutputError

Tree = dict[str, Any]
HDF5_SUFFIXES = (".dp", ".hlo")
YAML_SUFFIXES = (".yaml", ".yml")


def _map_variables(node: Any, fn: Callable[[Any], Any], inside: bool = False) -> Any:
    """A copy of the tree with ``fn`` applied to every leaf below an ``@variables`` key; None stays None."""
    if isinstance(node, dict) and not node.get("@is_variable"):
        return {key: _map_variables(value, fn, inside or key == "@variables") for key, value in node.items()}
    if isinstance(node, (list, tuple)) and not (inside and isinstance(node, np.ndarray)):
        return [_map_variables(value, fn, inside) for value in node]
    return fn(node) if inside and node is not None else node


def _check_suffix(path: Path) -> str:
    if path.suffix not in HDF5_SUFFIXES + YAML_SUFFIXES:
        known = ", ".join(HDF5_SUFFIXES + YAML_SUFFIXES)
        raise ModelError(f"{path}: unknown model format {path.suffix!r}; the name must end in one of {known}")
    return path.suffix


def read_model_tree(path: str | os.PathLike) -> Tree:
    """The tree of a ``.dp`` or ``.yaml`` model file.

    Raises:
        ModelError: the file is missing, truncated, or not such a model.
    """
    path = Path(path)
    suffix = _check_suffix(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        return _read_hdf5(path) if suffix in HDF5_SUFFIXES else _read_yaml(path)
    except (OSError, KeyError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path}: not a readable DeePMD-kit model ({reason}). Expected an HDF5 file with the attribute 'json' (.dp) or a YAML "
            "tree (.yaml); if a copy was interrupted, copy the file again."
        ) from error


def _read_hdf5(path: Path) -> Tree:
    with h5py.File(path, "r") as file:
        tree = json.loads(file.attrs["json"])
        return _map_variables(tree, lambda name: file[name][()])


def _from_yaml(leaf: Any) -> Any:
    if isinstance(leaf, dict):
        return np.asarray(leaf["value"], dtype=leaf["dtype"])
    return leaf


def _read_yaml(path: Path) -> Tree:
    tree = yaml.safe_load(path.read_text())
    if not isinstance(tree, dict):
        raise ValueError("the file does not hold a mapping")
    return _map_variables(tree, _from_yaml)


def _to_yaml(array: np.ndarray) -> Tree:
    array = np.asarray(array)
    return {
        "@class": "np.ndarray",
        "@is_variable": True,
        "@version": 1,
        "dtype": array.dtype.name,
        "value": array.tolist(),
    }


def write_model_tree(path: str | os.PathLike, tree: Tree) -> None:
    """Write a tree to ``.dp`` or ``.yaml``; an existing file is replaced only once the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    suffix = _check_suffix(path)
    partial = path.with_name(f".{path.name}.partial{suffix}")
    try:
        if suffix in HDF5_SUFFIXES:
            _write_hdf5(partial, tree)
        else:
            partial.write_text(yaml.safe_dump(_map_variables(tree, _to_yaml)))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot write the model ({error}). Choose a writable folder with enough space."
        ) from error


def _write_hdf5(path: Path, tree: Tree) -> None:
    with h5py.File(path, "w") as file:
        names = iter(f"variable_{i:04d}" for i in range(10**9))
        written = _map_variables(tree, lambda array: file.create_dataset(next(names), data=np.asarray(array)).name)
        file.attrs["json"] = json.dumps(written, separators=(",", ":"))
