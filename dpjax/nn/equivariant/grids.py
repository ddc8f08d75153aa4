"""States as functions on the sphere: values at the points of a quadrature, and back.

Products of two functions of degree L, taken point by point and brought back, commute with rotations where the rule is exact for
degree 3 L.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from dpjax.nn.equivariant.packed import degrees, kept_rows, leaving
from dpjax.nn.equivariant.rotations import zonal

LEBEDEV = (*range(3, 33, 2), *range(35, 132, 6))  # degrees for which there are rules


class Points(NamedTuple):
    """A quadrature on the sphere."""

    directions: np.ndarray  # (n, 3) unit vectors
    weights: np.ndarray  # (n,), 1 in all


@cache
def lebedev(lmax: int) -> Points:
    """The smallest of Lebedev's rules that is exact for products of three functions of this degree."""
    from scipy.integrate import lebedev_rule  # here, as SciPy changes warning filters where it is loaded

    degree = next(d for d in LEBEDEV if d >= 3 * lmax)
    points, weights = lebedev_rule(degree)
    p1, p2, p3 = points  # (y, z, -x) of a direction
    return Points(np.stack([-p3, p1, p2], axis=1), weights / (4.0 * math.pi))


@cache
def angles(lmax: int, mmax: int, *, square: bool = False) -> Points:
    """Products of points in both angles, the grid of e3nn; ``square``: as many in one as in the other."""
    n_beta, n_alpha = 3 * lmax + 2 + lmax % 2, 2 * mmax + 4
    if square:
        n_beta = n_alpha = max(n_beta, n_alpha)
    beta = (np.arange(n_beta) + 0.5) * math.pi / n_beta
    odd = 2 * np.arange(n_beta // 2) + 1
    weight = 2.0 / n_beta * np.sin(beta) * np.sum(np.sin(odd * beta[:, None]) / odd, axis=1)
    alpha = 2.0 * math.pi * np.arange(n_alpha) / n_alpha
    b, a = (x.reshape(-1) for x in np.meshgrid(beta, alpha, indexing="ij"))
    directions = np.stack([-np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)], axis=1)
    return Points(directions, np.repeat(weight, n_alpha) / n_alpha)


def to_and_back(points: Points, lmax: int, mmax: int, *, framed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (n_point, n_row) from components to values at the points, and (n_row, n_point) back.

    Args:
        points: the quadrature.
        lmax, mmax: degree, and order up to which there are components.
        framed: components are those kept in the frame of an edge; else all of a state.
    """
    rows = kept_rows(lmax, mmax) if framed else np.arange((lmax + 1) ** 2)
    ell, values = degrees(lmax)[rows], zonal(points.directions, lmax)[:, rows]
    scale = leaving(lmax, mmax)[ell]
    to = values * scale / math.sqrt(lmax + 1)
    return to, (points.weights[:, None] * values * (2 * ell + 1) * math.sqrt(lmax + 1) * scale).T
