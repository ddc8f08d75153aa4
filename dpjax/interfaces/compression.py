"""What ``dpjax compress`` needs beside tables: the smallest distance in data, and the difference between two models."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.config import load_any
from dpjax.config.loading import Tasks
from dpjax.data import System, find_systems, model_labels, open_systems
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.formats import read_model_tree
from dpjax.formats.dp import HDF5_SUFFIXES, YAML_SUFFIXES
from dpjax.interfaces.files import stored
from dpjax.interfaces.potential import Potential
from dpjax.neighbors.stat import neighbor_stat


@dataclass(frozen=True)
class Difference:
    """Of one output of two models over some frames, in its unit."""

    rmse: float
    largest: float
    magnitude: float  # root mean square of the output itself


def training_systems(source: str | dict, head: str | None = None) -> list[str]:
    """Paths of the training systems of an input; relative ones start from the current folder, as in training.

    Args:
        source: file, or the input itself.
        head: branch, where it is an input of several tasks.

    Raises:
        ConfigError: the input is not valid, or has no such branch.
    """
    config = load_any(source)
    if isinstance(config, Tasks):
        if head not in config.configs:
            raise ConfigError(
                f"head {head!r}: the input has several tasks; name one of {', '.join(config.configs)} with --head"
            )
        config = config.configs[head]
    data = config.training.training_data
    return [str(path) for path in find_systems(data.systems, data.rglob_patterns)]


def own_input(model: str | os.PathLike) -> dict[str, Any] | None:
    """The input that a checkpoint holds; None for other files."""
    return stored(Path(model))[1]["config"] if Path(model).is_dir() else None


def stored_distance(model: str | os.PathLike) -> float | None:
    """Smallest distance of two atoms in the training data, angstrom, that a ``.dp`` or ``.yaml`` file tells; None: none does."""
    if Path(model).suffix not in HDF5_SUFFIXES + YAML_SUFFIXES:
        return None
    tree = read_model_tree(model)
    found = tree.get("@variables", {}).get("min_nbor_dist", tree.get("min_nbor_dist"))
    return None if found is None else float(np.asarray(found))


def opened(pot: Potential, paths: Sequence[str]) -> list[System]:
    """The systems at some paths, with the inputs that a model takes."""
    specs = model_labels(pot.config)
    return [system for path in paths for system in open_systems(path, pot.type_map, specs, str(path))]


def smallest_distance(pot: Potential, systems: Sequence[System]) -> float:
    """Smallest distance of two atoms in data, angstrom.

    Raises:
        DataError: no two atoms are within the cut-off.
    """
    found = neighbor_stat(systems, pot.rcut, pot.type_map, mixed_type=True).min_nbor_dist
    if not math.isfinite(found):
        raise DataError(
            f"no two atoms of the data are within {pot.rcut:g} angstrom; give other data, or --min-nbor-dist"
        )
    return found


def differences(
    full: Potential, other: Potential, systems: Sequence[System], n_frames: int
) -> tuple[int, dict[str, Difference]]:
    """How far two models are apart on some frames.

    Args:
        full, other: the models.
        systems: from :func:`opened`.
        n_frames: in all, evenly spread; at least one of each system.

    Returns:
        The number of frames, and by output the difference of the second model from the first.

    Raises:
        ModelError: there are no frames.
    """
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    each, count = max(1, -(-n_frames // max(1, len(systems)))), 0
    for system in systems:
        frames = np.unique(np.linspace(0, system.n_frame - 1, min(each, system.n_frame)).astype(int))
        count += len(frames)
        arrays = system.arrays(frames, ["coord", "box", *system.inputs])
        types = np.stack([system.frame_types(i) for i in frames])
        cell = arrays["box"].reshape(-1, 3, 3) if system.periodic else None
        given = arrays["coord"], types, cell
        one, two = (pot.evaluate(*given, **{name: arrays[name] for name in system.inputs}) for pot in (full, other))
        for name, values in one.items():
            pairs.setdefault(name, []).append((values.ravel(), two[name].ravel()))
    if not count:
        raise ModelError("the data hold no frame to compare the models on")
    return count, {
        name: _difference(*(np.concatenate(side) for side in zip(*parts, strict=True))) for name, parts in pairs.items()
    }


def _difference(one: np.ndarray, two: np.ndarray) -> Difference:
    gap = two - one
    return Difference(float(np.sqrt(np.mean(gap**2))), float(np.abs(gap).max()), float(np.sqrt(np.mean(one**2))))
