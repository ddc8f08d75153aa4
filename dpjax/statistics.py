"""Statistics of the training data that a model is normalised with, in float64, streaming over frames.

Environment statistics give ``davg`` and ``dstd`` of the environment matrix per centre type: radial mean, zero angular mean, one
spread for the radial and one for the three angular columns.  Empty neighbour places count as zeros, because they are zero rows of
the same matrix.  The output bias is a least-squares fit of total energies to the numbers of atoms of each type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dpjax.neighbors import NeighborTable

SMALLEST_SPREAD = 0.01  # spreads below it are replaced by it
ABSENT_SPREAD = 0.1  # spread of a type without atoms


@dataclass(frozen=True)
class EnvironmentView:
    """What a descriptor sees of a frame: its own cut-off, truncation and exclusions."""

    rcut: float  # angstrom
    rcut_smth: float  # angstrom
    sel: tuple[int, ...]  # one number for each neighbour type, or one for all
    protection: float = 0.0  # angstrom
    exclude_types: frozenset[tuple[int, int]] = frozenset()  # zero rows that keep counting
    pair_exclude: frozenset[tuple[int, int]] = frozenset()  # pairs that do not count at all
    n_type: int | None = None  # None: as many as ``sel`` has entries
    by_type: bool = True  # whether ``sel`` counts each type apart


@dataclass(frozen=True)
class Moments:
    """Running count, sum and sum of squares per centre type, radial and angular columns apart; arrays (n_type,)."""

    number: np.ndarray  # rows of the environment matrix
    radial: np.ndarray
    radial_sq: np.ndarray
    angular: np.ndarray
    angular_sq: np.ndarray

    @classmethod
    def zero(cls, n_type: int) -> Moments:
        return cls(*np.zeros((5, n_type)))

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(a + b for a, b in zip(self._fields(), other._fields(), strict=True)))

    def scaled(self, weight: float) -> Moments:
        """These moments as if every row counted so often."""
        return Moments(*(weight * values for values in self._fields()))

    def _fields(self) -> tuple[np.ndarray, ...]:
        return self.number, self.radial, self.radial_sq, self.angular, self.angular_sq

    def davg(self, zero: bool = False) -> np.ndarray:
        """(n_type, 4) mean: radial, 0, 0, 0; all zero if ``zero`` (``set_davg_zero``)."""
        mean = _ratio(self.radial, self.number)
        return np.zeros((len(mean), 4)) if zero else np.stack([mean, 0 * mean, 0 * mean, 0 * mean], axis=1)

    def dstd(self) -> np.ndarray:
        """(n_type, 4) spread around the true mean: radial, then the pooled angular one three times."""
        spread = np.stack(
            [
                _spread(self.number, self.radial, self.radial_sq),
                *[_spread(3 * self.number, self.angular, self.angular_sq)] * 3,
            ],
            axis=1,
        )
        return spread


def _ratio(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.divide(total, number, out=np.zeros_like(total), where=number > 0)


def _spread(number: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    variance = np.maximum(_ratio(squares, number) - _ratio(total, number) ** 2, 0.0)
    spread = np.maximum(np.sqrt(variance), SMALLEST_SPREAD)
    return np.where(number > 0, spread, ABSENT_SPREAD)


def frame_moments(
    coord: np.ndarray, cell: np.ndarray | None, atype: np.ndarray, table: NeighborTable, view: EnvironmentView
) -> Moments:
    """Moments of the environment matrix of one frame.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (3, 3) or None.
        atype: (n_atom,) types, -1 for placeholders.
        table: neighbours within at least ``view.rcut``.
        view: the descriptor's view.
    """
    n_type = view.n_type or len(view.sel)
    centre, disp = table.centre(), table.displacements(coord, cell)
    kind = atype[table.index]
    dist = np.linalg.norm(disp, axis=1)
    keep = (dist < view.rcut) & truncation_mask(table.count, centre, kind, dist, view)
    pairs = n_type * atype[centre] + kind
    silent = np.isin(pairs, _codes(view.exclude_types | view.pair_exclude, n_type))
    dropped = keep & np.isin(pairs, _codes(view.pair_exclude, n_type))

    radial = np.where(keep & ~silent, switch(dist, view.rcut_smth, view.rcut) / (dist + view.protection), 0.0)
    angular = (radial / (dist + view.protection))[:, None] * disp
    of = atype[centre]

    def per_type(values: np.ndarray) -> np.ndarray:
        return np.bincount(of, values, n_type)[:n_type].astype(np.float64)  # integers where there is no edge

    number = np.bincount(atype[atype >= 0], minlength=n_type) * float(sum(view.sel)) - per_type(dropped.astype(float))
    return Moments(
        number, per_type(radial), per_type(radial**2), per_type(angular.sum(axis=1)), per_type((angular**2).sum(axis=1))
    )


def truncation_mask(
    count: np.ndarray, centre: np.ndarray, kind: np.ndarray, dist: np.ndarray, view: EnvironmentView
) -> np.ndarray:
    """Edges that the two-step rule keeps: the nearest ``sum(sel)`` of any type, then the nearest ``sel[t]`` of each."""
    if not view.by_type:
        count, kind = count.sum(axis=1, keepdims=True), np.zeros_like(kind)
    if np.all(count <= np.asarray(view.sel)):
        return np.ones(len(dist), bool)
    among_all = _rank(centre, dist)
    keep = among_all < sum(view.sel)
    group = centre * len(view.sel) + kind
    within = np.full(len(dist), np.iinfo(np.int64).max)
    within[keep] = _rank(group[keep], dist[keep])
    return keep & (within < np.asarray(view.sel)[kind])


def _rank(group: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Position of each entry within its group when sorted by ``key``."""
    order = np.lexsort((key, group))
    ordered = group[order]
    first = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - first
    return rank


def _codes(pairs: Iterable[tuple[int, int]], n_type: int) -> np.ndarray:
    return np.array(sorted(n_type * a + b for a, b in pairs), dtype=np.int64)


def switch(dist: np.ndarray, r_on: float, r_off: float) -> np.ndarray:
    """The quintic switch of ``geometry.environment`` for NumPy arrays."""
    u = np.clip((dist - r_on) / (r_off - r_on), 0.0, 1.0)
    return u**3 * (u * (15.0 - 6.0 * u) - 10.0) + 1.0


def energy_bias(
    counts: np.ndarray,
    energy: np.ndarray,
    *,
    preset: Sequence[float | None] | None = None,
    exclude: Sequence[int] = (),
    rcond: float | None = None,
    intensive: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Energy per type by minimum-norm least squares of total energies on atom counts.

    Args:
        counts: (n_frame, n_type) atoms of each type.
        energy: (n_frame, n_out) labels, eV.
        preset: values that are kept as they are; None entries are fitted.
        exclude: types left out of the model; they count as zero atoms.
        rcond: relative cut-off of singular values; None: NumPy's default.
        intensive: the label is a mean over atoms, so counts are divided by their sum.

    Returns:
        bias (n_type, n_out) and the population spread of the residual, (n_type, n_out) with equal rows.
    """
    counts = np.array(counts, dtype=np.float64)
    counts[:, list(exclude)] = 0.0
    if intensive:
        counts = counts / counts.sum(axis=1, keepdims=True)
    n_type, n_out = counts.shape[1], energy.shape[1]
    fixed = np.array([p is not None for p in (preset or [None] * n_type)])
    given = np.zeros((n_type, n_out))
    for t in np.flatnonzero(fixed):
        given[t] = preset[t]
    fitted, *_ = np.linalg.lstsq(np.where(fixed[None], 0.0, counts), energy - counts @ given, rcond=rcond)
    bias = np.where(fixed[:, None], given, fitted)
    spread = (energy - counts @ bias).std(axis=0)
    return bias, np.repeat(spread[None], n_type, axis=0)


def common_bias(
    counts: np.ndarray, labels: np.ndarray, *, exclude: Sequence[int] = (), intensive: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population spread of labels (n_frame, n_out), the same for all types: 2 x (n_type, n_out).

    Args:
        counts: (n_frame, n_type) atoms of each type.
        labels: of the frames; divided by their numbers of atoms unless ``intensive``.
        exclude: types left out of the model; they do not count.
    """
    n_type = counts.shape[1]
    number = np.delete(counts, list(exclude), axis=1).sum(axis=1, keepdims=True)
    values = labels if intensive else labels / number
    return np.repeat(values.mean(axis=0)[None], n_type, axis=0), np.repeat(values.std(axis=0)[None], n_type, axis=0)


def atomic_bias(atype: np.ndarray, values: np.ndarray, n_type: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population spread per type of atomic labels: (n_atoms,), (n_atoms, n_out) -> 2 x (n_type, n_out); absent: NaN."""
    mean, spread = np.full((2, n_type, values.shape[1]), np.nan)
    for t in range(n_type):
        own = values[atype == t]
        if len(own):
            mean[t], spread[t] = own.mean(axis=0), own.std(axis=0)
    return mean, spread


def prefer_atomic(
    fitted: tuple[np.ndarray, np.ndarray], atomic: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Bias and spread (n_type, n_out) from atomic labels where a type has any, else from the fit."""
    return tuple(np.where(np.isnan(own), other, own) for own, other in zip(atomic, fitted, strict=True))


def parameter_normalisation(values: np.ndarray, protect: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and ``1/max(spread, protect)`` of frame or atomic parameters: (n, k) -> (k,), (k,)."""
    return values.mean(axis=0), 1.0 / np.maximum(values.std(axis=0), protect)
