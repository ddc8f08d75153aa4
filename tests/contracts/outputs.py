"""What tests know of the outputs of a model: which belong to atoms, what adds up, what turns with the frame.

It all follows from the model's ``AtomicOutput``, so a new fitting needs a case and nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpjax.config.fittings import AtomicOutput
from tests.contracts.cases import Case

Outputs = dict[str, np.ndarray]


def only(output: Callable[[AtomicOutput], bool] = lambda _: True, case: Callable[[Case], bool] = lambda _: True):
    """Decorator: the test runs on cases for which both hold, of which it says something."""

    def mark(test):
        test.applies = lambda given: output(given.output) and case(given)
        return test

    return mark


def has_force(output: AtomicOutput) -> bool:
    """Whether derivatives are among the outputs."""
    return output.differentiated


def per_atom(output: AtomicOutput) -> tuple[str, ...]:
    """Outputs with a row for each atom."""
    return (output.atomic, "force", "force_mag", "mask_mag", "atom_virial", "mask")


def of_frames(output: AtomicOutput) -> tuple[str, ...]:
    """Outputs that are sums, or means, over a frame."""
    return (output.total, "virial", "counted")


def summed(output: AtomicOutput, out: Outputs) -> np.ndarray:
    """The sum of the values of a frame's atoms, from the frame's value: both are the same but for intensive quantities."""
    return out[output.total] * out["counted"] if output.intensive else out[output.total]


def rank(output: AtomicOutput, name: str) -> int:
    """Axes of an output that turn with the frame, which are its last; the nine numbers of a virial count as two."""
    own = len(output.shape) if "tensor" in output.losses else 0
    ranks = {output.total: own, output.atomic: own, "force": own + 1, "virial": own + 2, "atom_virial": own + 2}
    return (ranks | {"force_mag": 1}).get(name, 0)


def with_axes(output: AtomicOutput, name: str, value: np.ndarray) -> np.ndarray:
    """An output with one axis for each that turns: virials (..., 9) as (..., 3, 3)."""
    return value.reshape(*value.shape[:-1], 3, 3) if name.endswith("virial") else value


def turned(output: AtomicOutput, out: Outputs, matrix: np.ndarray) -> Outputs:
    """What the outputs become when coordinates, as row vectors, are multiplied by an orthogonal ``matrix``."""
    result = {}
    for name, value in out.items():
        axes, new = rank(output, name), with_axes(output, name, value)
        for axis in range(-axes, 0):
            new = _multiplied(new, matrix, axis)
        result[name] = new.reshape(value.shape)
    return result


def turning(output: AtomicOutput, out: Outputs, generator: np.ndarray) -> np.ndarray:
    """Change of the frame's value per angle when coordinates turn by the antisymmetric ``generator``."""
    value = out[output.total]
    change = [_multiplied(value, generator, axis) for axis in range(-rank(output, output.total), 0)]
    return np.sum(change, axis=0) if change else np.zeros_like(value)


def _multiplied(value: np.ndarray, matrix: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.moveaxis(value, axis, -1) @ matrix, -1, axis)


def repeated(output: AtomicOutput, out: Outputs, times: int) -> Outputs:
    """Outputs of a cell that is ``times`` as large and filled with copies, one copy after another."""
    atoms = {name: np.concatenate([out[name]] * times) for name in out if name in per_atom(output)}
    kept = (output.total,) if output.intensive else ()
    return atoms | {name: out[name] * (1 if name in kept else times) for name in out if name not in atoms}
