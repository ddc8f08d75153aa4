"""What a checkpoint says about its own arrays, so that a damaged one is noticed instead of trained on.

The manifest is the tree of the arrays with ``[dtype, shape, crc32]`` in the place of each array.  It also keeps what the array
storage cannot: empty sub-trees and arrays without elements.
"""

from __future__ import annotations

import zlib
from typing import Any

import ml_dtypes  # noqa: F401  gives numpy the names of the small floats, e.g. bfloat16
import numpy as np

Tree = dict[str, Any]  # nested dictionaries of arrays


def describe(tree: Tree) -> Tree:
    """The manifest of a tree of numpy arrays."""
    return {key: describe(item) if isinstance(item, dict) else _entry(item) for key, item in tree.items()}


def storable(tree: Tree) -> Tree:
    """The tree without arrays that have no elements and without sub-trees that hold nothing else."""
    out = {}
    for key, item in tree.items():
        if isinstance(item, dict):
            item = storable(item)
            if item:
                out[key] = item
        elif item.size:
            out[key] = item
    return out


def rebuild(stored: Tree, manifest: Tree, path: str = "") -> Tree:
    """The tree as it was saved.

    Raises:
        ValueError: an array is missing, has another shape or dtype, or other bytes than those that were saved.
    """
    out = {}
    for key, entry in manifest.items():
        here = f"{path}.{key}" if path else key
        if isinstance(entry, dict):
            out[key] = rebuild(stored.get(key, {}), entry, here)
        else:
            out[key] = _checked(stored.get(key), entry, here)
    return out


def _entry(array: np.ndarray) -> list[Any]:
    return [array.dtype.name, list(array.shape), zlib.crc32(np.ascontiguousarray(array).tobytes())]


def _checked(array: np.ndarray | None, entry: list[Any], path: str) -> np.ndarray:
    dtype, shape, _ = entry
    if array is None and 0 in shape:
        return np.zeros(shape, np.dtype(dtype))
    if array is None or _entry(np.asarray(array)) != entry:
        raise ValueError(f"array {path} is missing or not what was saved")
    return np.asarray(array)
