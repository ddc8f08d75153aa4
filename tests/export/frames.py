"""Structures and comparisons for the artifact tests."""

from __future__ import annotations

import numpy as np

import dpjax
from dpjax.batching.virtual import point_types, points
from dpjax.export import writer
from dpjax.export.program import absent_sections, entries
from dpjax.neighbors import search

SHEAR = np.array([[1.0, 0.0, 0.0], [0.12, 0.95, 0.0], [-0.1, 0.08, 1.05]])
THIN = np.array([[1.7, 0.0, 0.0], [0.5, 9.0, 0.0], [1.0, -2.0, 8.0]])  # far thinner than a cut-off of 3
SPACING = 2.2  # angstrom


def frame(
    n_atom: int,
    *,
    periodic: bool = True,
    seed: int = 0,
    fparam: int = 0,
    aparam: int = 0,
    charge_spin: int = 0,
    spin: int = 0,
) -> dict:
    """Keyword arguments of ``evaluate`` for one frame: points of a sheared grid, each moved a little, of two types."""
    rng = np.random.default_rng([n_atom, seed])
    edge = int(np.ceil(n_atom ** (1 / 3)))
    grid = np.stack(np.meshgrid(*3 * [np.arange(edge)], indexing="ij"), axis=-1).reshape(-1, 3)
    cell = SPACING * edge * SHEAR
    coord = rng.permutation(grid)[:n_atom] / edge @ cell + rng.uniform(-0.4, 0.4, (n_atom, 3))
    atype = (np.arange(n_atom) % 3 > 0).astype(int)
    out = {"coord": coord[None], "atype": rng.permutation(atype), "cell": cell[None] if periodic else None}
    if fparam:
        out["fparam"] = rng.normal(size=(1, fparam))
    if aparam:
        out["aparam"] = rng.normal(size=(1, n_atom, aparam))
    if charge_spin:
        out["charge_spin"] = np.array([[-1.0, 2.0 + seed]])
    if spin:
        out["spin"] = rng.normal(size=(1, n_atom, spin))
    return out


def thin_frame(**parameters) -> dict:
    """Three atoms in a thin triclinic cell, near each other and two of them given in other images of the cell."""
    near = np.array([[0.1, 0.2, 0.3], [1.0, 1.6, 1.1], [0.3, -1.4, 1.5]])
    coord = near + np.array([[0, 0, 0], [5, -1, 1], [-2, 1, 0]]) @ THIN
    return frame(3, **parameters) | {"coord": coord[None], "cell": THIN[None]}


def together(frames: list[dict]) -> dict:
    """Frames of any sizes as one ragged call of ``Potential.evaluate``: one compilation for all."""
    joined = {"coord": [f["coord"][0] for f in frames], "atype": [f["atype"] for f in frames]}
    joined["cell"] = [None if f["cell"] is None else f["cell"][0] for f in frames]
    for name in ("fparam", "charge_spin"):
        if name in frames[0]:
            joined[name] = np.concatenate([f[name] for f in frames])
    for name in ("aparam", "spin"):
        if name in frames[0]:
            joined[name] = [f[name][0] for f in frames]
    return joined


def expected(pot: dpjax.Potential, frames: list[dict]) -> list[dict]:
    """What dpjax itself says about each frame, arrays with one frame."""
    out = pot.evaluate(**together(frames), atomic=True)
    return [{name: rows[i][None] for name, rows in out.items()} for i in range(len(frames))]


def only_fullest(monkeypatch, config) -> None:
    """Of the entry points that take a neighbour list, artifacts get the one that gives most; this saves time."""
    listed = [entry for entry in entries(config) if not entry.search]
    monkeypatch.setattr(writer, "entries", lambda config, hessian: listed[-1:])


def padded_sizes(pot: dpjax.Potential, given: dict) -> tuple:
    """Places and neighbour slots of each section for a frame, from the rule in docs/artifact.md and dpjax's own search."""
    real = given["atype"] >= 0
    atype, n_type = given["atype"][real], len(pot.config.type_map)
    cell = None if given["cell"] is None else given["cell"][0]
    coord, kinds, scale = given["coord"][0][real], atype, pot.config.virtual_scale
    if scale:
        coord, kinds = points(coord, atype, given["spin"][0][real], scale), point_types(atype, scale)
    count = search(coord, kinds, n_type, pot.rcut, cell, partners=bool(scale)).count
    count = count if pot.model.passes_messages else count[: len(atype)]  # virtual atoms are centres only there
    number = np.bincount(atype, minlength=len(pot.type_map))
    if not pot.model.by_type:
        count, number = count.sum(axis=1, keepdims=True), number.sum(keepdims=True)
    atoms = [next(size for size in (16, 32, 64, 96, 128, 160, 192) if size >= n) for n in number]
    slots = [
        next(size for size in range(8, 800, 8) if size >= n) for n in count.max(axis=0)
    ]  # no step is skipped to 64
    sel = [0 if t in absent_sections(pot.model) else keep for t, keep in enumerate(pot.model.sel)]
    widths = [size if keep is None else min(size, keep) for size, keep in zip(slots, sel, strict=True)]
    return tuple(atoms), tuple(widths)


def assert_close(got: dict, want: dict, tolerance: float = 1e-12, where: str = "") -> None:
    """Equal names, shapes and, relative to the largest number of an array, values."""
    assert set(got) == set(want), where
    for name in want:
        assert got[name].shape == want[name].shape, f"{where} {name}"
        assert np.abs(want[name]).max() > 0, f"{where} {name}: nothing to compare"
        error = np.abs(np.subtract(got[name], want[name], dtype=float)).max() / np.abs(want[name]).max()
        assert error <= tolerance, f"{where} {name}: off by {error:.1e}"
