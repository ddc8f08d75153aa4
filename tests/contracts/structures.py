"""Small structures for tests and what symmetry does to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Structure:
    """One frame as a user has it."""

    coord: np.ndarray  # (n, 3) angstrom
    atype: np.ndarray  # (n,)
    cell: np.ndarray | None = None  # (3, 3) angstrom
    fparam: np.ndarray | None = None  # (k,)
    aparam: np.ndarray | None = None  # (n, k)
    charge_spin: np.ndarray | None = None  # (2,)
    spin: np.ndarray | None = None  # (n, 3)

    def replace(self, **changes) -> Structure:
        return dataclasses.replace(self, **changes)

    def take(self, order) -> Structure:
        """The atoms of ``order`` only, in that order."""
        own = {name: getattr(self, name) for name in ("coord", "atype", "aparam", "spin")}
        return self.replace(**{name: value if value is None else value[order] for name, value in own.items()})

    def strained(self, matrix: np.ndarray) -> Structure:
        """Coordinates and cell as row vectors times ``matrix``."""
        return self.replace(coord=self.coord @ matrix, cell=None if self.cell is None else self.cell @ matrix)

    def turned(self, matrix: np.ndarray) -> Structure:
        """The same under an orthogonal ``matrix``, with spins, which turn like any vector."""
        return self.strained(matrix).replace(spin=None if self.spin is None else self.spin @ matrix)

    def joined(self, other: Structure) -> Structure:
        """Atoms of both in the cell of this one."""
        names = [name for name in ("coord", "atype", "aparam", "spin") if getattr(self, name) is not None]
        return self.replace(**{name: np.concatenate([getattr(s, name) for s in (self, other)]) for name in names})


def scattered(n_atom: int, box: np.ndarray, rng: np.random.Generator, apart: float = 1.0) -> np.ndarray:
    """(n_atom, 3) random points in a cell, no two images nearer than ``apart``, angstrom."""
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ box
    points = np.zeros((0, 3))
    while len(points) < n_atom:
        point = rng.uniform(size=3) @ box
        gaps = np.linalg.norm(points[:, None] + images[None] - point, axis=-1)
        if not gaps.size or gaps.min() > apart:
            points = np.concatenate([points, point[None]])
    return points


def make(
    kind: str,
    *,
    numbers=(4, 7),
    fparam: int = 0,
    aparam: int = 0,
    charge_spin: int = 0,
    spin: int = 0,
    seed: int = 0,
) -> Structure:
    """A random structure of two types: ``crystal`` (triclinic cell thinner than twice a 3 angstrom cut-off) or ``cluster``."""
    rng = np.random.default_rng([seed, kind == "cluster"])
    box = np.array([[4.9, 0.0, 0.0], [0.8, 5.2, 0.0], [-0.6, 0.5, 5.0]])
    n_atom = sum(numbers)
    return Structure(
        coord=scattered(n_atom, box, rng),
        atype=rng.permutation(np.repeat(np.arange(len(numbers)), numbers)),
        cell=None if kind == "cluster" else box,
        fparam=rng.normal(size=fparam) if fparam else None,
        aparam=rng.normal(size=(n_atom, aparam)) if aparam else None,
        charge_spin=np.array([-1.0, 2.0]) if charge_spin else None,
        spin=rng.normal(size=(n_atom, spin)) if spin else None,
    )


def rotation(rng: np.random.Generator, proper: bool = False) -> np.ndarray:
    """A random orthogonal matrix (rotation or rotation with reflection; only the former if ``proper``)."""
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix)) if proper else matrix
