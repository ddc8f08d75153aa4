#!/usr/bin/env python3
"""Make the data set in ``examples/spin``: a magnetic crystal in the caesium chloride structure, labelled with a classical model.

The crystal has magnetic atoms M, which carry a spin, and X, which do not.  Its energy is a sum over pairs and over spins::

    E = sum_pairs D_ab (exp(-2 a (r - r_ab)) - 2 exp(-a (r - r_ab))) w(r)       bonds: Morse, of each pair of types
      - sum_pairs of M  J exp(-(r - r_MM) / l) w(r) S_i . S_j                   exchange: Heisenberg, weaker with distance
      + sum_M  A |S_i|^2 + B |S_i|^4                                            on-site: Landau, which gives spins their length
      w(r) = (1 - r^2 / R^2)^3 below R, else 0, with two continuous derivatives

Every pair is counted once, periodic images are atoms like others.  So forces know of spins and magnetic forces of distances,
which is what a model with spins has to learn.  The numbers are no material's.

    python scripts/make_spin_data.py --output examples/spin

Units: angstrom, eV, Bohr magnetons for the spins, eV/angstrom for forces, eV per Bohr magneton for magnetic forces.  It needs NumPy
only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

TYPE_MAP = ("M", "X")
LATTICE = 3.2  # angstrom, edge of the cubic cell of one M and one X
CELLS = (2, 2, 1)  # of the crystal in a frame
RANGE = 4.2  # R, angstrom: M-X are 2.77, M-M and X-X 3.2 angstrom apart, and the next of these 4.5
DEPTH = np.array([[0.40, 0.60], [0.60, 0.40]])  # D, eV
BOND = np.array([[3.1, 2.7], [2.7, 3.1]])  # r_ab, angstrom
STEEPNESS = 1.5  # a, 1/angstrom
EXCHANGE, DECAY = 0.5, 0.8  # J, eV per Bohr magneton^2, at r_MM; l, angstrom
LANDAU = (-0.20, 0.05)  # A, B: eV per Bohr magneton^2 and ^4; by itself a spin would be sqrt(2) long
FRAMES = {"train": 440, "valid": 40}
SHAKE = 0.08  # angstrom, standard deviation of each coordinate
STRAIN = 0.02  # largest component of the random strain of a cell
SPIN_LENGTH = (1.7, 0.1)  # Bohr magnetons, mean and standard deviation
ORDER = 3.0  # spins are random unit vectors plus up to so many times one direction: from disorder to a ferromagnet


def switch(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w(r) and its derivative by r."""
    rest = np.where(r < RANGE, 1.0 - (r / RANGE) ** 2, 0.0)
    return rest**3, -6.0 * r / RANGE**2 * rest**2


def bonds(r: np.ndarray, kind: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Energy of pairs of types ``kind`` at distances ``r``, eV, and its derivative by r."""
    depth = DEPTH[kind]
    step = np.exp(-STEEPNESS * (r - BOND[kind]))
    value, slope = depth * (step**2 - 2.0 * step), -2.0 * STEEPNESS * depth * (step**2 - step)
    w, dw = switch(r)
    return value * w, slope * w + value * dw


def exchange(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor of -S_i . S_j at distances ``r``, eV per Bohr magneton^2, and its derivative by r."""
    value = EXCHANGE * np.exp(-(r - BOND[0, 0]) / DECAY)
    w, dw = switch(r)
    return value * w, value * (dw - w / DECAY)


def pairs(coord: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms i and j of all pairs nearer than :data:`RANGE`, images included, in both orders; and the vectors from i to j."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    steps = [np.arange(-n, n + 1) for n in np.ceil(RANGE / heights).astype(int) + 1]
    shifts = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    disp = coord[None, :, None] + shifts[None, None] - coord[:, None, None]  # (i, j, image, 3)
    square = np.sum(disp**2, axis=-1)
    i, j, image = np.nonzero((square < RANGE**2) & (square > 0.0))
    return i, j, disp[i, j, image]


def label(coord: np.ndarray, cell: np.ndarray, atype: np.ndarray, spin: np.ndarray) -> dict[str, np.ndarray]:
    """Energy and its derivatives, written out by hand.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (3, 3) angstrom, rows are the cell vectors.
        atype: (n_atom,) 0 for M, 1 for X.
        spin: (n_atom, 3) Bohr magnetons, zero for X.

    Returns:
        ``energy`` (), ``force`` (n_atom, 3), ``virial`` (9,), which is the sum of forces times positions at fixed spins, and
        ``force_mag`` (n_atom, 3), minus the derivative of the energy by the spins.
    """
    i, j, disp = pairs(coord, cell)
    r = np.linalg.norm(disp, axis=1)
    value, slope = bonds(r, (atype[i], atype[j]))
    magnetic = (atype[i] == 0) & (atype[j] == 0)
    coupling, change = (np.where(magnetic, part, 0.0) for part in exchange(r))
    product = np.sum(spin[i] * spin[j], axis=1)
    length = np.sum(spin**2, axis=1)
    energy = 0.5 * np.sum(value - coupling * product) + np.sum(LANDAU[0] * length + LANDAU[1] * length**2)
    pull = ((slope - change * product) / r)[:, None] * disp  # derivative of a pair's energy by where j is
    force = np.zeros_like(coord)
    np.add.at(force, i, pull)
    field = np.zeros_like(spin)
    np.add.at(field, i, coupling[:, None] * spin[j])
    force_mag = field - (2.0 * LANDAU[0] + 4.0 * LANDAU[1] * length)[:, None] * spin
    return {"energy": energy, "force": force, "virial": -0.5 * (pull.T @ disp).ravel(), "force_mag": force_mag}


def crystal() -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the cell of a frame (8, 3) and types (8,) of the caesium chloride structure."""
    corners = np.stack(np.meshgrid(*map(np.arange, CELLS), indexing="ij"), axis=-1).reshape(-1, 3)
    sites = np.concatenate([corners, corners + 0.5]) / CELLS
    return sites, np.repeat([0, 1], len(corners))


def sample(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Coordinates, cell and spins of one frame, as they are stored: the crystal strained and shaken, spins more or less ordered."""
    fraction, atype = crystal()
    cell = LATTICE * np.diag(CELLS) @ (np.eye(3) + rng.uniform(-STRAIN, STRAIN, (3, 3)))
    coord = fraction @ cell + rng.normal(size=fraction.shape) * SHAKE
    towards = unit(rng.normal(size=3)) * rng.uniform(0.0, ORDER)
    spin = unit(unit(rng.normal(size=coord.shape)) + towards) * rng.normal(*SPIN_LENGTH, size=(len(coord), 1))
    made = {"coord": coord, "box": cell, "spin": np.where((atype == 0)[:, None], spin, 0.0)}
    return {name: array.astype(np.float32) for name, array in made.items()}


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length 1."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def frames(part: str) -> list[dict[str, np.ndarray]]:
    """All frames of one part of the data, with labels."""
    rng = np.random.default_rng([20263, list(FRAMES).index(part)])
    drawn = [sample(rng) for _ in range(FRAMES[part])]
    return [frame | labels_of(frame) for frame in drawn]


def labels_of(frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """:func:`label` of a frame as :func:`sample` gives it."""
    coord, cell, spin = (frame[name].astype(np.float64) for name in ("coord", "box", "spin"))
    return label(coord, cell, crystal()[1], spin)


def write_system(folder: Path, rows: list[dict[str, np.ndarray]]) -> None:
    """Writes one deepmd/npy system; energies in float64, all else in float32."""
    (folder / "set.000").mkdir(parents=True, exist_ok=True)
    for name in rows[0]:
        array = np.stack([row[name].ravel() for row in rows])
        np.save(folder / "set.000" / f"{name}.npy", array if name == "energy" else array.astype(np.float32))
    (folder / "type.raw").write_text(" ".join(map(str, crystal()[1])) + "\n")
    (folder / "type_map.raw").write_text(" ".join(TYPE_MAP) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("examples/spin"))
    args = parser.parse_args()
    for part in FRAMES:
        write_system(args.output / part, frames(part))
        print(f"{args.output / part}: {FRAMES[part]} frames")


if __name__ == "__main__":
    main()
