"""Systems of a few atoms and an input for them: a whole training takes about a second."""

from __future__ import annotations

import atexit
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.config.inputs import REMOVE as REMOVE  # as the value of an edit: take the key away
from tests.config.inputs import edited

TYPE_MAP = ("O", "H")
CELL = np.array([[5.2, 0.0, 0.0], [0.4, 5.6, 0.0], [0.1, -0.3, 6.1]])
ENERGY_ONLY = {  # compiles in half the time
    "loss/start_pref_f": 0, "loss/limit_pref_f": 0, "loss/start_pref_v": 0, "loss/limit_pref_v": 0,
}  # fmt: skip


def positions(n_atom: int, n_frame: int, seed: int) -> np.ndarray:
    """(n_frame, n_atom, 3) angstrom: grid points of the cell, each moved a little, so that no two atoms meet."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*3 * [np.arange(3) / 3], indexing="ij"), axis=-1).reshape(-1, 3)
    fractions = np.stack([rng.permutation(grid)[:n_atom] for _ in range(n_frame)])
    return (fractions + rng.uniform(-0.07, 0.07, fractions.shape)) @ CELL


def arrays(types: np.ndarray, n_frame: int, seed: int, virial: bool = True) -> dict[str, np.ndarray]:
    """Arrays of one set: coord, box, energy, force and, if asked for, virial; labels are smooth numbers of no meaning."""
    rng = np.random.default_rng(seed + 100)
    n_atom = len(types)
    coord = positions(n_atom, n_frame, seed)
    labels = {
        "coord": coord.reshape(n_frame, -1),
        "box": np.tile(CELL.ravel(), (n_frame, 1)),
        "energy": np.where(types == 0, -4.0, -1.5).sum() + 0.1 * rng.normal(size=n_frame),
        "force": 0.5 * rng.normal(size=(n_frame, 3 * n_atom)),
    }
    return labels | ({"virial": rng.normal(size=(n_frame, 9))} if virial else {})


def write(folder: Path, types: np.ndarray, sets: list[dict[str, np.ndarray]], nopbc: bool = False) -> Path:
    """Writes a deepmd/npy system and returns its folder."""
    folder.mkdir(parents=True)
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (folder / "type_map.raw").write_text("\n".join(TYPE_MAP) + "\n")
    if nopbc:
        (folder / "nopbc").touch()
    for number, values in enumerate(sets):
        part = folder / f"set.{number:03d}"
        part.mkdir()
        for name, array in values.items():
            np.save(part / f"{name}.npy", array)
    return folder


def system(folder: Path, n_atom: int = 6, n_frame: int = 4, seed: int = 0, virial: bool = True) -> Path:
    """A periodic system; every third atom is O."""
    types = np.where(np.arange(n_atom) % 3 == 1, 0, 1)
    return write(folder, types, [arrays(types, n_frame, seed, virial)])


def mixed_system(folder: Path, seed: int = 7) -> Path:
    """A system of the mixed layout: three frames of 6, 4 and 5 atoms in 6 places, each with types of its own."""
    values = arrays(np.array([0, 1, 1, 0, 1, 1]), 3, seed)
    values["real_atom_types"] = np.array([[0, 1, 1, 0, 1, 1], [1, 0, 1, 1, -1, -1], [1, 1, 1, 1, 0, -1]])
    values["force"] = values["force"] * np.repeat(values["real_atom_types"] >= 0, 3, axis=1)
    return write(folder, np.zeros(6, int), [values])


def config(systems: list[Path] | list[str], edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """An input that trains a very small model for 6 steps, with values set (or removed) at slash-separated paths."""
    data = {
        "model": {
            "type_map": list(TYPE_MAP),
            "descriptor": {
                "type": "se_e2_a", "rcut": 3.0, "rcut_smth": 1.0, "sel": [12, 20], "neuron": [4, 8],
                "axis_neuron": 3, "type_one_side": True, "seed": 1,
            },
            "fitting_net": {"neuron": [6, 6], "seed": 1},
        },
        "learning_rate": {"type": "exp", "start_lr": 0.01, "stop_lr": 1e-4, "decay_steps": 2},
        "loss": {
            "type": "ener", "start_pref_e": 0.1, "limit_pref_e": 1, "start_pref_f": 10, "limit_pref_f": 1,
            "start_pref_v": 0.1, "limit_pref_v": 0.1,
        },
        "training": {
            "training_data": {"systems": [str(s) for s in systems], "batch_size": 2},
            "numb_steps": 6, "disp_freq": 2, "save_freq": 3, "seed": 3,
        },
        "dpjax": {"progress": "none", "compilation_cache": programs_folder()},
    }  # fmt: skip
    return edited(data, edits)


@functools.cache
def programs_folder() -> str:
    """A folder for compiled programs, gone when the tests end: runs that differ only in their data compile once."""
    folder = tempfile.TemporaryDirectory(prefix="dpjax-test-programs-")
    atexit.register(folder.cleanup)
    return folder.name
