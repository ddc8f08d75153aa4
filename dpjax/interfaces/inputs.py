"""Checks and shapes of what users hand to ``evaluate``: rectangular arrays or lists of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpjax.batching.virtual import scale_of
from dpjax.config import ModelConfig
from dpjax.data.checks import out_of_range, without_virtual
from dpjax.data.fragments import without_ignored
from dpjax.data.labels import INPUTS
from dpjax.descriptors import members
from dpjax.errors import DataError, ModelError
from dpjax.neighbors.host import COINCIDENT


@dataclass(frozen=True)
class Structures:
    """Frames as lists of per-frame arrays; ``ragged`` if the caller gave lists and wants lists back."""

    coord: list[np.ndarray]  # (n, 3) each
    atype: list[np.ndarray]  # (n,)
    cell: list[np.ndarray | None]  # (3, 3)
    fparam: list[np.ndarray | None]  # (numb_fparam,)
    aparam: list[np.ndarray | None]  # (n, numb_aparam)
    charge_spin: list[np.ndarray | None]  # (2,)
    spin: list[np.ndarray | None]  # (n, 3)
    ragged: bool
    masked: bool = False  # whether aparam says which atoms are real
    fragmented: bool = False  # whether aparam numbers fragments

    def searched_types(self, i: int) -> np.ndarray:
        """(n,) types of a frame with -1 for atoms that are nobody's neighbours."""
        if self.aparam[i] is None or not (self.masked or self.fragmented):
            return self.atype[i]
        return (without_virtual if self.masked else without_ignored)(self.atype[i], self.aparam[i])

    def inputs(self, i: int) -> dict[str, np.ndarray | None]:
        """What a frame has beside atoms and cell, under the names of the fields of a :class:`~dpjax.batching.Frame`."""
        return {name: getattr(self, name)[i] for name in INPUTS}


def read_structures(
    config: ModelConfig,
    coord,
    atype,
    cell,
    fparam=None,
    aparam=None,
    charge_spin=None,
    spin=None,
    *,
    parameters: bool = True,
) -> Structures:
    """Check and split the arguments of ``evaluate``; see there for shapes.

    Args:
        parameters: read frame and atomic parameters, which enter the fitting net; without them those of every frame are None,
            unless they say which atoms are real.

    Raises:
        DataError: a shape, type, charge or spin that does not fit.
        ModelError: an input the model does not take, or needs and did not get.
    """
    ragged = isinstance(coord, (list, tuple)) and not _is_nested_rectangular(coord)
    coords = [_array(c, (-1, 3), f"coord of frame {i}") for i, c in enumerate(coord if ragged else _frames(coord))]
    n = len(coords)
    types = _split_types(atype, coords, len(config.data_types))
    cells = _split_cells(cell, n)
    charged = _split_charge_spin(charge_spin, n, config)
    spins = _split_spins(spin, coords, "spin" in config.inputs)
    if config.virtual_scale:
        _check_lengths(spins, types, config)
    check_cells(config, cells)
    if not (parameters or config.takes_mask):
        return Structures(coords, types, cells, [None] * n, [None] * n, charged, spins, ragged)
    fitting = config.fitting_net
    given = Structures(
        coords, types, cells,
        _split_fparam(fparam, n, fitting.numb_fparam, fitting.default_fparam),
        _split_aparam(aparam, coords, fitting.numb_aparam),
        charged, spins, ragged, config.takes_mask, config.takes_fragments,
    )  # fmt: skip
    for i in range(n if given.masked or given.fragmented else 0):
        _check_mask(given, i)
    return given


def check_cells(config: ModelConfig, cells: Sequence[Any]) -> None:
    """Raise DataError for a frame with a cell, None where it has none, of a model that has no use for it."""
    if config.takes_mask:
        reason = "the descriptor 'se_a_mask' is for open boundaries, where every atom sees all others; leave it out"
    elif config.takes_fragments and config.conventions == "reference":
        reason = (
            "DeePMD-kit evaluates models of type pairwise_dprc without periodic images, and so does one that was imported from "
            "there. Leave the cell out, with the atoms of each fragment near to the QM atoms; or load the model with "
            "conventions='corrected', which has images"
        )
    else:
        return
    for i, cell in enumerate(cells):
        if cell is not None:
            raise DataError(f"cell of frame {i}: found {np.asarray(cell).tolist()}, but {reason}")


def _check_mask(given: Structures, i: int) -> None:
    """Raise DataError where atomic parameters do not say which atoms are real, or to which fragment they belong."""
    try:
        given.searched_types(i)
    except DataError as error:
        raise DataError(f"frame {i}: {error}") from None


def _is_nested_rectangular(coord) -> bool:
    """Nested plain lists of numbers are one array, not a list of frames of arrays."""
    if any(isinstance(c, np.ndarray) or hasattr(c, "__array__") for c in coord):
        return False
    return len({len(c) for c in coord}) == 1


def _frames(coord) -> np.ndarray:
    array = np.asarray(coord, dtype=np.float64)
    if array.ndim != 3 or array.shape[-1] != 3:
        raise DataError(
            f"coord: found shape {array.shape}, expected (n_frame, n_atom, 3); use coord[None] for one frame"
        )
    return array


def _array(value, shape: tuple[int, ...], what: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
        return array.reshape(shape)
    except (ValueError, TypeError):
        raise DataError(f"{what}: found shape {np.shape(value)}, expected {shape} (-1: any)") from None


def _split_types(atype, coords, n_type: int) -> list[np.ndarray]:
    shared = not isinstance(atype, (list, tuple)) or not len(atype) or np.ndim(atype[0]) == 0
    if shared and np.ndim(atype) == 1:
        rows = [np.asarray(atype)] * len(coords)
    else:
        rows = [np.asarray(row) for row in atype]
    if len(rows) != len(coords):
        raise DataError(f"atype: found {len(rows)} frames, expected {len(coords)} as in coord")
    out = []
    for i, (row, coord) in enumerate(zip(rows, coords, strict=True)):
        if row.shape != (len(coord),) or not np.issubdtype(row.dtype, np.integer):
            raise DataError(
                f"atype of frame {i}: found {row.dtype} of shape {row.shape}, expected integers of shape ({len(coord)},)"
            )
        if row.size and (row.max() >= n_type or row.min() < -1):
            raise DataError(
                f"atype of frame {i}: found types {row.min()}..{row.max()}, expected -1 (placeholder) or 0..{n_type - 1}"
            )
        out.append(row.astype(np.int32))
    return out


def _split_cells(cell, n: int) -> list[np.ndarray | None]:
    if cell is None:
        return [None] * n
    if len(cell) != n:
        raise DataError(f"cell: found {len(cell)} frames, expected {n} as in coord")
    return [None if c is None else _array(c, (3, 3), f"cell of frame {i}") for i, c in enumerate(cell)]


def _split_fparam(fparam, n: int, size: int, default) -> list[np.ndarray | None]:
    if not size:
        if fparam is not None:
            raise ModelError("fparam was given but this model has no frame parameters (numb_fparam is 0); leave it out")
        return [None] * n
    if fparam is None:
        if default is None:
            raise ModelError(f"this model needs fparam of shape (n_frame, {size}) and has no default_fparam")
        return [np.asarray(default, dtype=np.float64)] * n
    return list(_array(fparam, (n, size), "fparam"))


def _split_aparam(aparam, coords, size: int) -> list[np.ndarray | None]:
    if not size:
        if aparam is not None:
            raise ModelError(
                "aparam was given but this model has no atomic parameters (numb_aparam is 0); leave it out"
            )
        return [None] * len(coords)
    if aparam is None:
        raise ModelError(f"this model needs aparam of shape (n_frame, n_atom, {size})")
    if len(aparam) != len(coords):
        raise DataError(f"aparam: found {len(aparam)} frames, expected {len(coords)} as in coord")
    return [
        _array(a, (len(c), size), f"aparam of frame {i}") for i, (a, c) in enumerate(zip(aparam, coords, strict=True))
    ]


def _split_charge_spin(charge_spin, n: int, config: ModelConfig) -> list[np.ndarray | None]:
    if "charge_spin" not in config.inputs:
        if charge_spin is not None:
            raise ModelError("charge_spin was given but this model has no such input; leave it out")
        return [None] * n
    if charge_spin is None:
        default = config.default_inputs.get("charge_spin")
        if default is None:
            raise ModelError(
                "this model needs charge_spin of shape (n_frame, 2), the charge and the spin of each frame, and has no "
                "default_chg_spin"
            )
        return [np.asarray(default, dtype=np.float64)] * n
    rows = _array(charge_spin, (n, 2), "charge_spin")
    found = out_of_range(INPUTS["charge_spin"], rows)
    if found is not None:
        raise DataError(f"charge_spin of frame {found[0]}: {found[1]}")
    return list(rows)


def _split_spins(spin, coords, takes: bool) -> list[np.ndarray | None]:
    if not takes:
        if spin is not None:
            raise ModelError("spin was given but this model has no such input; leave it out")
        return [None] * len(coords)
    if spin is None:
        raise ModelError(
            "this model needs spin of shape (n_frame, n_atom, 3), the magnetic moment of each atom; zeros for none"
        )
    if len(spin) != len(coords):
        raise DataError(f"spin: found {len(spin)} frames, expected {len(coords)} as in coord")
    rows = [_array(s, (len(c), 3), f"spin of frame {i}") for i, (s, c) in enumerate(zip(spin, coords, strict=True))]
    for i, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise DataError(f"spin of frame {i}: found a number that is not finite")
    return rows


def _check_lengths(spins: list[np.ndarray], types: list[np.ndarray], config: ModelConfig) -> None:
    """Refuse spins of zero where a virtual atom on its atom has no finite energy."""
    if all(member.env_protection for member in members(config.descriptor)):
        return
    for i, (spin, atype) in enumerate(zip(spins, types, strict=True)):
        length = np.linalg.norm(scale_of(atype, config.virtual_scale)[:, None] * spin, axis=1)
        short = np.flatnonzero((scale_of(atype, config.virtual_scale) != 0.0) & (length < COINCIDENT))
        if len(short):
            raise DataError(
                f"spin of frame {i}: that of atom {short[0]} is zero, where this model has no energy (env_protection is 0, as in "
                "DeePMD-kit's TensorFlow backend). Give the atom a spin, or train a model with env_protection above 0."
            )
