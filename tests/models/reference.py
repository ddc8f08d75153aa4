"""Reference models: their situations as one ragged call, and the comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SITUATIONS = ("ortho", "triclinic", "cluster")
INPUTS = {"coord", "box", "atype", "fparam", "aparam", "charge_spin", "spin"}
TOLERANCE = {
    "force": 1e-9,
    "virial": 1e-9,
    "atom_virial": 1e-9,
    "force_mag": 1e-9,
}  # relative to the largest number of the array, at least 1
OTHERS = 1e-10


class Reference:
    """Inputs and outputs of one reference model; frames of all situations in a row."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.arrays = dict(np.load(folder / "ref.npz"))
        self.frames = [(s, i) for s in SITUATIONS for i in range(len(self.arrays[f"{s}/coord"]))]

    def arguments(self) -> dict:
        """Keyword arguments of ``Potential.evaluate`` for all frames at once."""
        inputs = {
            "coord": self._each("coord"),
            "atype": [self.arrays[f"{s}/atype"] for s, _ in self.frames],
            "cell": self._each("box"),
        }
        optional = {name: self._each(name) for name in ("fparam", "aparam", "charge_spin", "spin")}
        return inputs | {name: rows for name, rows in optional.items() if rows[0] is not None}

    def outputs(self) -> list[str]:
        """Names of what the model predicts, derivatives and the mask included."""
        situation = SITUATIONS[0]
        return sorted({name.partition("/")[2] for name in self.arrays if name.startswith(f"{situation}/")} - INPUTS)

    def _each(self, name: str) -> list:
        return [self.arrays[f"{s}/{name}"][i] if f"{s}/{name}" in self.arrays else None for s, i in self.frames]

    def compare(self, out: dict) -> float:
        """Assert that every output agrees; the largest error relative to its tolerance."""
        worst = 0.0
        for name in self.outputs():
            for (situation, i), got in zip(self.frames, out[name], strict=True):
                want = self.arrays[f"{situation}/{name}"]
                assert got.shape == want[i].shape, name
                error = np.abs(got - 1.0 * want[i]).max() / max(1.0, np.abs(want).max())
                limit = TOLERANCE.get(name, OTHERS)
                assert error <= limit, f"{name} of {situation}, frame {i}: off by {error:.2e}, allowed {limit:.0e}"
                worst = max(worst, error / limit)
        return worst
