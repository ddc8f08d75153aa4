"""Atoms with spins and the virtual atoms that stand for them, as one set of points.  Plain NumPy.

A frame of n atoms has 2 n points: the atoms, then the virtual partner of each at ``r + scale * spin``, of type ``n_type + t``;
those of types without spin are placeholders (-1).  Points are what is searched for neighbours and what fills the places of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dpjax.batching.packing import Frame


def scale_of(atype: np.ndarray, scale: Sequence[float]) -> np.ndarray:
    """(..., n) angstrom per unit of spin for atoms of types (..., n); 0 for types without spin and for placeholders.

    Args:
        scale: (n_type,) of each type of the data.
    """
    atype = np.asarray(atype)
    return np.where(atype >= 0, np.asarray(scale, float)[np.maximum(atype, 0)], 0.0)


def point_types(atype: np.ndarray, scale: Sequence[float]) -> np.ndarray:
    """(..., 2 n) types of the points of atoms of types (..., n), -1 for placeholders; ``scale`` as for :func:`scale_of`."""
    atype = np.asarray(atype)
    partner = np.where(scale_of(atype, scale) != 0.0, atype + len(scale), -1)
    return np.concatenate([atype, partner], axis=-1).astype(atype.dtype)


def points(coord: np.ndarray, atype: np.ndarray, spin: np.ndarray, scale: Sequence[float]) -> np.ndarray:
    """(2 n, 3) angstrom, positions of the points of n atoms.

    Args:
        coord, atype, spin: (n, 3), (n,), (n, 3) of the atoms.
        scale: as for :func:`scale_of`.
    """
    coord, length = np.asarray(coord, float), scale_of(atype, scale)[:, None]
    return np.concatenate([coord, coord + np.where(length != 0.0, length * spin, 0.0)])


def with_virtual_atoms(frame: Frame, scale: Sequence[float]) -> Frame:
    """A frame of atoms with spins, whose neighbour table is of points already, as one of points.

    Args:
        scale: as for :func:`scale_of`.
    """
    return replace(
        frame,
        coord=points(frame.coord, frame.atype, frame.spin, scale),
        atype=point_types(frame.atype, scale),
        scale=scale_of(frame.atype, scale),
    )
