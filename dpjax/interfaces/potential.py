"""A model ready for use: NumPy arrays in, NumPy arrays out, under DeePMD-kit's output names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dpjax.batching import Batch, Frame, Layout, choose_layout, pack, unpack_atoms
from dpjax.config import ModelConfig
from dpjax.descriptors.crowding import cuts
from dpjax.errors import CapacityError, DataError, ModelError
from dpjax.interfaces.inputs import Structures, read_structures
from dpjax.memory import keep_freed_memory
from dpjax.models import RESOLVED, build_model, predict
from dpjax.models.resolution import Resolver
from dpjax.neighbors import NeighborTable, search
from dpjax.nn.chebyshev import Grid

log = logging.getLogger(__name__)

SLOTS_PER_BATCH = 1_000_000  # neighbour slots evaluated at once when many small frames are given
Output = dict[str, Any]


class Potential:
    """A model, its variables and what is needed to evaluate them.

    Attributes:
        config: hyper-parameters of the model.
        model: Flax module; ``model.apply(variables, geometry, batch)`` is the functional core.
        variables: collections ``params`` and ``stats``.
        conventions: ``"corrected"`` or ``"reference"``; they differ only where the reference is wrong (docs/differences.md).
    """

    def __init__(self, config: ModelConfig, variables: dict, *, conventions: str = "corrected", device=None):
        if conventions not in ("corrected", "reference"):
            raise ModelError(f"conventions: found {conventions!r}, expected 'corrected' or 'reference'")
        keep_freed_memory()
        self.config = replace(config, conventions=conventions)
        self.conventions = conventions
        self.device = device
        self.model: nn.Module = build_model(self.config)
        self.variables = variables
        self._program = jax.jit(partial(predict, self.model), static_argnames=("atomic", "grid"))
        self._resolver = Resolver(self.model, variables)
        self._device_variables = None
        self._warned = False
        self._cuts = cuts(self.config)

    @property
    def type_map(self) -> list[str]:
        """Element names in the order of the model's types."""
        return list(self.config.type_map)

    @property
    def rcut(self) -> float:
        """Cut-off radius, angstrom."""
        return self.model.rcut

    def __repr__(self) -> str:
        return f"Potential({self.config.raw['descriptor']['type']}, type_map={self.type_map}, rcut={self.rcut})"

    def evaluate(
        self,
        coord,
        atype,
        cell=None,
        fparam=None,
        aparam=None,
        charge_spin=None,
        spin=None,
        atomic: bool = False,
        hessian: bool = False,
    ) -> Output:
        """Energies, forces and virials of one or many frames.

        Args:
            coord: (n_frame, n_atom, 3) angstrom, or a list of (n_atom, 3) for frames of different sizes.
            atype: (n_atom,) or (n_frame, n_atom) types, or a list; -1 marks a placeholder with zero output.
            cell: (n_frame, 3, 3) angstrom, rows are cell vectors; None for open boundaries; or a list of such or None.
            fparam: (n_frame, numb_fparam) frame parameters; the model's ``default_fparam`` where absent.
            aparam: (n_frame, n_atom, numb_aparam) atomic parameters, or a list.
            charge_spin, spin: for models that take them.
            atomic: add ``atom_energy`` (n_frame, n_atom, 1), ``atom_virial`` (n_frame, n_atom, 9), ``mask`` (n_frame, n_atom).
            hessian: not built yet.

        Returns:
            ``energy`` (n_frame, 1) eV, ``force`` (n_frame, n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV as NumPy arrays;
            lists of per-frame arrays if frames were given as a list.

        Raises:
            DataError: arrays of wrong shape, NaN, coincident atoms, singular cells, unknown types.
            ModelError: an input this model does not take or needs and did not get.
        """
        for name, value in (("charge_spin", charge_spin), ("spin", spin)):
            if value is not None:
                raise ModelError(f"{name} was given but this model has no such input; leave it out")
        if hessian:
            raise ModelError("hessian=True: Hessians are not built yet in this version")
        structures = read_structures(self.config, coord, atype, cell, fparam, aparam)
        frames = [self._frame(structures, i) for i in range(len(structures.coord))]
        rows = self._evaluate_frames(frames, atomic)
        if not rows:
            return _nothing(0 if structures.ragged else np.shape(coord)[1], atomic)
        joined = {key: [row[key] for row in rows] for key in rows[0]}
        return joined if structures.ragged else {key: np.stack(value) for key, value in joined.items()}

    def _frame(self, structures: Structures, i: int) -> Frame:
        coord, atype, cell = structures.coord[i], structures.atype[i], structures.cell[i]
        try:
            table = search(coord, atype, len(self.type_map), self.rcut, cell)
        except DataError as error:
            raise DataError(f"frame {i}: {error}") from None
        self._warn_truncation(table, coord, cell)
        return Frame(coord, atype, table, cell, structures.fparam[i], structures.aparam[i])

    def _warn_truncation(self, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Say once that ``sel`` leaves neighbours out, with type and numbers."""
        for cut in () if self._warned else self._cuts:
            for _, sentence in cut.shortage(cut.most(table, coord, cell)):
                self._warned = True
                log.warning("an atom %s", sentence)

    def _evaluate_frames(self, frames: Sequence[Frame], atomic: bool) -> list[Output]:
        rows: list[Output] = []
        layout: Layout | None = None
        with jax.enable_x64(True):
            for group in _groups(frames):
                batch, places, layout = self._pack(group, layout)
                out = self._run(jax.device_put(batch, self.device), atomic)
                rows += [
                    self._unpack(out, i, own, frame, atomic)
                    for i, (own, frame) in enumerate(zip(places, group, strict=True))
                ]
        return rows

    def _run(self, batch: Batch, atomic: bool) -> Output:
        """Outputs of a batch on its padded axes."""
        variables = self._placed_variables()

        def program(grid: Grid | None) -> tuple[Output, Any]:
            out = jax.device_get(self._program(variables, batch, atomic=atomic, grid=grid))
            return out, out.pop(RESOLVED, None)

        return self._resolver.run(batch.layout, program)

    def _pack(self, group: Sequence[Frame], layout: Layout | None):
        """Pack into the previous layout where it fits, so that a last short group compiles nothing new."""
        if layout is not None and len(group) <= layout.frames:
            try:
                return *pack(group, layout), layout
            except CapacityError:
                pass
        layout = choose_layout(group, self.model.n_section, self.model.sel)
        return *pack(group, layout), layout

    def _placed_variables(self):
        if self._device_variables is None:
            self._device_variables = jax.device_put(self.variables, self.device)
        return self._device_variables

    def _unpack(self, out: Output, i: int, places: np.ndarray, frame: Frame, atomic: bool) -> Output:
        row = {"energy": out["energy"][i], "force": unpack_atoms(out["force"], places), "virial": out["virial"][i]}
        if atomic:
            row["atom_energy"] = unpack_atoms(out["atom_energy"], places)[:, None]
            row["atom_virial"] = unpack_atoms(out["atom_virial"], places)
            counted = (frame.atype >= 0) & ~np.isin(frame.atype, self.config.atom_exclude_types)
            row["mask"] = counted.astype(np.int32)
        return row


def _nothing(n_atom: int, atomic: bool) -> Output:
    """Results of no frames at all: arrays with a leading axis of zero."""
    shapes = {"energy": (1,), "force": (n_atom, 3), "virial": (9,)}
    if atomic:
        shapes |= {"atom_energy": (n_atom, 1), "atom_virial": (n_atom, 9), "mask": (n_atom,)}
    return {key: np.zeros((0, *shape), np.int32 if key == "mask" else np.float64) for key, shape in shapes.items()}


def _groups(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    """Consecutive frames cut so that each group stays within :data:`SLOTS_PER_BATCH` neighbour slots."""
    groups: list[list[Frame]] = []
    room = 0.0
    for frame in frames:
        need = frame.coord.shape[0] * max(int(frame.table.count.sum(axis=1).max(initial=0)), 1)
        if not groups or need > room:
            groups.append([])
            room = SLOTS_PER_BATCH
        groups[-1].append(frame)
        room -= need
    return groups
