"""``compress``: a potential whose embedding networks are tables."""

from __future__ import annotations

from typing import Any, TypeVar

import jax

from dpjax.compress.building import compressed
from dpjax.config.models.compress import Compression

P = TypeVar("P")  # a dpjax.Potential, which this package does not know


def compress(pot: P, min_nbor_dist: float, *, step: float = 0.01, extrapolate: float = 5.0, frequency: int = -1) -> P:
    """The potential with tables in the place of its embedding networks.

    It is evaluated, exported (:func:`dpjax.export.save`) and loaded like any other, but not trained.

    Args:
        pot: a ``dpjax.Potential``.
        min_nbor_dist: smallest distance of two atoms in the data, angstrom (:func:`dpjax.neighbors.stat.neighbor_stat`).
        step: of the tables where data lie, in units of the networks' normalised input; ten times as much outside, and for
            descriptors of angles ten times both.
        extrapolate: the tables end at so many times the largest input that ``min_nbor_dist`` gives.
        frequency: every so many frames ``evaluate`` counts and reports the neighbours that are nearer than the tables reach; -1:
            never.

    Raises:
        ModelError: a model that has no such tables, with the reason; options out of range.
    """
    config, variables = _parts(pot)
    options = Compression(float(min_nbor_dist), float(step), float(extrapolate), int(frequency))
    config, variables = compressed(config, variables, options)
    return type(pot)(config, variables, conventions=pot.conventions, device=pot.device)


def _parts(pot: Any) -> tuple[Any, dict]:
    return pot.config, jax.device_get(pot.variables)
