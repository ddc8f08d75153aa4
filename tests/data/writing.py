"""Small systems written to a temporary folder, for tests that then spoil one file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

TYPE_MAP = ("O", "H")
TYPES = (1, 0, 1)  # unsorted on purpose: atom 1 is the oxygen


def random_set(n_frame: int, seed: int = 0, n_atom: int = len(TYPES)) -> dict[str, np.ndarray]:
    """Arrays of one set: coord, box, energy, force, virial."""
    rng = np.random.default_rng(seed)
    return {
        "coord": rng.uniform(0, 5, (n_frame, 3 * n_atom)),
        "box": np.tile(np.diag([5.0, 6.0, 7.0]).ravel(), (n_frame, 1)),
        "energy": rng.normal(size=n_frame),
        "force": rng.normal(size=(n_frame, 3 * n_atom)),
        "virial": rng.normal(size=(n_frame, 9)),
    }


def write_system(folder: Path, *sets: dict[str, np.ndarray], types=TYPES, type_map=TYPE_MAP, nopbc=False) -> Path:
    """Writes a deepmd/npy system; by default two sets of 3 and 2 frames."""
    folder.mkdir(parents=True)
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    if type_map:
        (folder / "type_map.raw").write_text("\n".join(type_map) + "\n")
    if nopbc:
        (folder / "nopbc").touch()
    for number, arrays in enumerate(sets or (random_set(3, 1), random_set(2, 2))):
        part = folder / f"set.{number:03d}"
        part.mkdir()
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", values)
    return folder


def data_section(systems, **changes) -> SimpleNamespace:
    """What loading and sampling need of a data section."""
    defaults = {"rglob_patterns": None, "batch_size": 1, "auto_prob": "prob_sys_size", "sys_probs": None}
    return SimpleNamespace(systems=systems, **(defaults | changes))
