"""Structures as callers of ``deepmd.infer`` hand them over: arrays flattened or not, parameters for all or for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dpjax.errors import DataError, ModelError


@dataclass(frozen=True)
class Inputs:
    """Frames of one size; every array has an axis of frames first."""

    coord: np.ndarray  # (n_frame, n_atom, 3) angstrom
    atype: np.ndarray  # (n_frame, n_atom)
    cell: np.ndarray | None  # (n_frame, 3, 3) angstrom
    parameters: dict[str, np.ndarray] = field(default_factory=dict)  # fparam, aparam, charge_spin, spin that were given

    @property
    def n_frame(self) -> int:
        return len(self.coord)

    @property
    def n_atom(self) -> int:
        return self.coord.shape[1]

    def portions(self, atoms: int | None) -> Iterator[Inputs]:
        """The frames in portions of at most so many atoms, or of one frame; None: all at once."""
        size = self.n_frame if atoms is None else max(1, atoms // max(1, self.n_atom))
        for start in range(0, max(1, self.n_frame), max(1, size)):
            take = slice(start, start + size)
            yield replace(
                self,
                coord=self.coord[take],
                atype=self.atype[take],
                cell=None if self.cell is None else self.cell[take],
                parameters={name: array[take] for name, array in self.parameters.items()},
            )


def read_inputs(
    coords: Any,
    cells: Any,
    atom_types: Any,
    mixed_type: bool,
    *,
    dim_fparam: int,
    dim_aparam: int,
    fparam: Any = None,
    aparam: Any = None,
    charge_spin: Any = None,
    spin: Any = None,
) -> Inputs:
    """Check and shape the arguments of an ``eval`` method.

    Args:
        coords: n_frame x n_atom x 3 numbers, in any shape with the frames first.
        cells: n_frame x 9 numbers; None for open boundaries.
        atom_types: (n_atom,), or with ``mixed_type`` (n_frame, n_atom); -1 is a placeholder.
        mixed_type: whether every frame has types of its own.
        dim_fparam, dim_aparam: numbers that the model takes for a frame, for an atom.
        fparam: (n_frame, dim_fparam), or (dim_fparam,) for all frames.
        aparam: (n_frame, n_atom, dim_aparam), or (n_atom, dim_aparam) for all frames, or (dim_aparam,) for all atoms.
        charge_spin: (n_frame, 2), or (2,) for all frames; handed on.
        spin: (n_frame, n_atom, 3); handed on.

    Raises:
        DataError: numbers that do not make up whole frames.
        ModelError: a parameter that the model does not take.
    """
    types = np.atleast_1d(np.asarray(atom_types))
    if types.size and not np.issubdtype(types.dtype, np.integer):
        raise DataError(f"atom_types: found {types.dtype}, expected integers")
    coord = np.asarray(coords, dtype=np.float64)
    n_atom, n_frame = _sizes(coord, types, mixed_type)
    types = np.broadcast_to(types.reshape(-1 if mixed_type else 1, n_atom), (n_frame, n_atom)).astype(np.int32)
    cell = None if cells is None else _shaped("cells", cells, (n_frame, 3, 3))
    given = {}
    if fparam is not None:
        given["fparam"] = _repeated("fparam", fparam, dim_fparam, (n_frame,))
    if aparam is not None:
        given["aparam"] = _repeated("aparam", aparam, dim_aparam, (n_frame, n_atom))
    if charge_spin is not None:
        given["charge_spin"] = _repeated("charge_spin", charge_spin, 2, (n_frame,))
    if spin is not None:
        given["spin"] = _shaped("spin", spin, (n_frame, n_atom, 3))
    return Inputs(coord.reshape(n_frame, n_atom, 3), types, cell, given)


def _sizes(coord: np.ndarray, types: np.ndarray, mixed_type: bool) -> tuple[int, int]:
    """Atoms of a frame, and frames."""
    if mixed_type and types.ndim != 2:
        raise DataError(f"atom_types: found shape {types.shape}, expected (n_frame, n_atom) with mixed_type")
    if not mixed_type and types.size != types.shape[-1]:
        raise DataError(
            f"atom_types: found shape {types.shape}, expected (n_atom,); types of every frame need mixed_type=True"
        )
    n_atom = types.shape[-1]
    if not n_atom:
        n_frame = len(coord) if coord.ndim else 0
    elif coord.size % (3 * n_atom):
        raise DataError(f"coords: found {coord.size} numbers, expected a multiple of {3 * n_atom} for {n_atom} atoms")
    else:
        n_frame = coord.size // (3 * n_atom)
    if mixed_type and len(types) != n_frame:
        raise DataError(f"atom_types: found {len(types)} frames, expected {n_frame} as in coords")
    return n_atom, n_frame


def _shaped(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.size != np.prod(shape):
        raise DataError(f"{name}: found shape {array.shape}, expected the numbers of {shape}")
    return array.reshape(shape)


def _repeated(name: str, value: Any, size: int, leading: tuple[int, ...]) -> np.ndarray:
    """(*leading, size), of numbers for all of them or for the last of the leading axes alone, or for one."""
    if not size:
        raise ModelError(f"{name} was given but this model takes none (get_dim_{name}() is 0); leave it out")
    array = np.asarray(value, dtype=np.float64)
    for given in (leading[i:] for i in range(len(leading) + 1)):
        if array.size == np.prod(given, dtype=int) * size:
            return np.broadcast_to(array.reshape(*given, size), (*leading, size))
    shapes = " or ".join(str((*leading[i:], size)) for i in range(len(leading) + 1))
    raise DataError(f"{name}: found shape {array.shape}, expected {shapes}")
