"""Frames of water of any size."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def first_frame(path: Path) -> dict:
    """Positions, cell and types (0 is O, 1 is H) of a system's first frame."""
    try:
        folder = sorted(path.glob("set.*"))[0]
        coord, cell = (np.load(folder / f"{name}.npy")[0].astype(np.float64) for name in ("coord", "box"))
        elements = (path / "type_map.raw").read_text().split()
        types = np.loadtxt(path / "type.raw", dtype=int, ndmin=1)
        atype = np.array([("O", "H").index(elements[t]) for t in types])
    except (OSError, IndexError, ValueError) as error:
        sys.exit(
            f"--data {path}: {error}; give a periodic system of O and H with set.*/coord.npy, box.npy and type_map.raw"
        )
    return {"coord": coord.reshape(-1, 3), "cell": cell.reshape(3, 3), "atype": atype}


def repetitions(copies: int) -> tuple[int, int, int]:
    """Three factors of a number, as equal as possible."""
    ways = [(a, b, copies // a // b) for a in range(1, copies + 1) if copies % a == 0
            for b in range(1, copies // a + 1) if copies // a % b == 0]  # fmt: skip
    return min(ways, key=sum)


def repeated(frame: dict, copies: tuple[int, int, int]) -> dict:
    """A frame repeated along its cell vectors."""
    shifts = np.stack(np.meshgrid(*map(np.arange, copies), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    coord = (frame["coord"] + shifts @ frame["cell"]).reshape(-1, 3)
    atype = np.tile(frame["atype"], len(shifts))
    return {"coord": coord, "cell": frame["cell"] * np.array(copies)[:, None], "atype": atype}
