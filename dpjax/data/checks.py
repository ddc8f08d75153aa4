"""Checks of values, made whenever frames are read: no NaN, no infinity, nothing out of its range, no cell without volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dpjax.config.charge_spin import within
from dpjax.data.labels import BOX, LabelSpec
from dpjax.errors import DataError

if TYPE_CHECKING:
    from dpjax.data.reader import SystemReader

FLAT_CELL = 1e-6
"""Volume over product of edge lengths below which a cell counts as singular."""


def check_finite(reader: SystemReader, spec: LabelSpec, frames: np.ndarray, values: np.ndarray) -> None:
    """Raises DataError naming file, frame and atom of the first value that is not finite.

    Args:
        reader: where ``values`` come from.
        spec: which array it is.
        frames: (f,) frame numbers.
        values: (f, width), atoms in file order.
    """
    if np.isfinite(values).all():
        return
    row, column = np.argwhere(~np.isfinite(values))[0]
    file, frame = reader.locate(spec, int(frames[row]))
    if spec.atom_pair:
        place = f", atom {column // (9 * reader.n_atom)}"
    elif spec.per_atom:
        place = f", atom {column // spec.size}"
    else:
        place = f", component {column}"
    raise DataError(
        f"{file}: frame {frame}{place} (counting from 0, in file order) holds {values[row, column]}; expected a finite "
        "number. Remove the frame from all files of the set, or calculate it again."
    )


def check_ranges(reader: SystemReader, spec: LabelSpec, frames: np.ndarray, values: np.ndarray) -> None:
    """Raises DataError naming file, frame and number of the first value out of its range; arguments as for `check_finite`."""
    found = out_of_range(spec, values)
    if found is not None:
        row, text = found
        file, frame = reader.locate(spec, int(frames[row]))
        raise DataError(
            f"{file}: frame {frame} (counting from 0, in file order): {text}. Correct it, or remove the frame from all files of "
            "the set."
        )


def out_of_range(spec: LabelSpec, values: np.ndarray) -> tuple[int, str] | None:
    """The first of some frames, (f, size), with a number out of the ranges of an array, and what is wrong; None without any."""
    outside = [~within(values[:, i], least, most) for i, (_, least, most) in enumerate(spec.ranges)]
    if not np.any(outside):
        return None
    row, column = np.argwhere(np.transpose(outside))[0]
    name, least, most = spec.ranges[column]
    return int(row), f"the {name} is {values[row, column]:g}; expected {least} to {most}"


def check_cells(reader: SystemReader, frames: np.ndarray, boxes: np.ndarray) -> None:
    """Raises DataError naming file and frame of the first cell whose vectors (nearly) lie in a plane.

    Args:
        reader: where ``boxes`` come from.
        frames: (f,) frame numbers.
        boxes: (f, 9) cell vectors as rows.
    """
    flat = flat_cells(boxes)
    if flat.any():
        row = int(np.argmax(flat))
        cell = boxes[row].reshape(3, 3)
        file, frame = reader.locate(BOX, int(frames[row]))
        kind = "singular" if boxes[row].any() else "zero"
        raise DataError(
            f"{file}: frame {frame} has a {kind} cell (volume {abs(np.linalg.det(cell)):.3g} A^3, vectors {cell.tolist()}); "
            "expected three independent vectors. Correct it, or create an "
            "empty file `nopbc` beside type.raw if the system is not periodic."
        )


def flat_cells(boxes: np.ndarray) -> np.ndarray:
    """Whether the vectors of each cell, (f, 9), (nearly) lie in a plane: (f,) bool."""
    cells = boxes.reshape(-1, 3, 3)
    edges = np.prod(np.linalg.norm(cells, axis=-1), axis=-1)
    return np.abs(np.linalg.det(cells)) <= FLAT_CELL * edges


def without_virtual(types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
    """Types of the atoms of a frame with -1 for virtual ones, as placeholders have it.

    Args:
        types: (n,) of all atoms.
        aparam: (n, 1) atomic parameters: 1 for real atoms, 0 for virtual ones; digits after the point do not count.

    Raises:
        DataError: another number among them.
    """
    mask = aparam[:, 0]
    bad = np.flatnonzero(~within(mask, 0, 1) & (types >= 0))
    if len(bad):
        raise DataError(
            f"aparam of atom {bad[0]} is {mask[bad[0]]:g}; expected 1 for a real or 0 for a virtual atom, which is what the "
            "descriptor 'se_a_mask' takes it for"
        )
    return np.where(mask >= 1.0, types, -1).astype(types.dtype)
