"""Which inputs embedding networks get in data whose atoms are not nearer to each other than some distance.

The numbers are rounded to whole ones, away from the range, as DeePMD-kit has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dpjax.config.descriptors.kinds import ANGLES
from dpjax.descriptors.facts import is_one_of
from dpjax.geometry.environment import switch_weight

Statistics = dict[str, np.ndarray]


def weight_at(config: Any, distance: float) -> float:
    """The weight w(r)/(r + protection) of a neighbour, 1/angstrom."""
    return float(switch_weight(np.float64(distance), config.rcut_smth, config.rcut)) / (
        distance + config.env_protection
    )


def largest_inputs(config: Any, stats: Statistics, distance: float) -> np.ndarray:
    """(n_type,) largest input of a network, by type of the centre, that a neighbour at a distance in angstrom gives.

    For descriptors of angles it is a product of two rows of the environment matrix, which is largest where they are alike.
    """
    davg, dstd = np.asarray(stats["davg"], float), np.asarray(stats["dstd"], float)
    weight = weight_at(config, distance)
    if is_one_of(config, ANGLES):
        return np.max((weight / dstd[:, 1:4]) ** 2, axis=1)
    return (weight - davg[:, 0]) / dstd[:, 0]


def input_range(config: Any, stats: Statistics, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """(n_type,) smallest and largest input, by type of the centre; arguments as for :func:`largest_inputs`."""
    upper = largest_inputs(config, stats, distance)
    if is_one_of(config, ANGLES):
        lower = -upper
    else:
        lower = -np.asarray(stats["davg"], float)[:, 0] / np.asarray(stats["dstd"], float)[:, 0]
    return np.floor(lower), np.ceil(upper)


def nearest_covered(config: Any, stats: Statistics, reach: np.ndarray) -> np.ndarray:
    """(n_type,) distance in angstrom at which the input is ``reach`` (n_type,), by type of the centre; 0 where it never is."""

    def beyond(distance: float) -> np.ndarray:
        return largest_inputs(config, stats, distance) > reach

    return np.asarray([_bisected(lambda r, c=c: bool(beyond(r)[c]), config.rcut) for c in range(len(reach))])


def _bisected(beyond: Callable[[float], bool], rcut: float) -> float:
    """The distance below which ``beyond`` is true."""
    low, high = 1e-6, rcut
    if not beyond(low):
        return 0.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) else (low, middle)
    return high
