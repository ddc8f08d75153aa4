"""A model ready for use: NumPy arrays in, NumPy arrays out, under DeePMD-kit's output names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dpjax.batching import Batch, Frame, Layout, choose_layout, pack, round_up, unpack_atoms, unpack_pairs
from dpjax.compress import OverflowWatch
from dpjax.config import ModelConfig
from dpjax.config.fittings import AtomicOutput
from dpjax.config.fittings.outputs import ENERGY
from dpjax.descriptors.crowding import cuts
from dpjax.errors import CapacityError, DataError, ModelError
from dpjax.interfaces.features import FeatureMethods
from dpjax.interfaces.inputs import Structures, read_structures
from dpjax.memory import keep_freed_memory
from dpjax.models import RESOLVED, build_model, predict, predict_features
from dpjax.models.hessian import require_energy
from dpjax.models.resolution import Resolver
from dpjax.neighbors import NeighborTable, search
from dpjax.nn.chebyshev import Grid

log = logging.getLogger(__name__)

SLOTS_PER_BATCH = 1_000_000  # neighbour slots evaluated at once when many small frames are given
Output = dict[str, Any]


class Potential(FeatureMethods):
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
        self._program = jax.jit(partial(predict, self.model), static_argnames=("atomic", "hessian", "grid"))
        self._feature_program = jax.jit(partial(predict_features, self.model), static_argnames=("names", "grid"))
        self._resolver = Resolver(self.model, variables)
        self._device_variables = None
        self._warned = False
        self._cuts = cuts(self.config)
        self._overflow = OverflowWatch(self.config.compress)

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
        """Energies, forces and virials of one or many frames, or what else the model predicts.

        Args:
            coord: (n_frame, n_atom, 3) angstrom, or a list of (n_atom, 3) for frames of different sizes.
            atype: (n_atom,) or (n_frame, n_atom) types, or a list; -1 marks a placeholder with zero output.
            cell: (n_frame, 3, 3) angstrom, rows are cell vectors; None for open boundaries; or a list of such or None.
            fparam: (n_frame, numb_fparam) frame parameters; the model's ``default_fparam`` where absent.
            aparam: (n_frame, n_atom, numb_aparam) atomic parameters, or a list.
            charge_spin, spin: for models that take them.
            atomic: add ``atom_energy`` (n_frame, n_atom, 1), ``atom_virial`` (n_frame, n_atom, 9), ``mask`` (n_frame, n_atom).
            hessian: add ``hessian`` (n_frame, 3 n_atom, 3 n_atom) eV/angstrom^2, second derivatives of the energy, x, y and z of
                the first atom before those of the next; takes about as long as the forces do for each number of coordinates.

        Returns:
            ``energy`` (n_frame, 1) eV, ``force`` (n_frame, n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV as NumPy arrays;
            lists of per-frame arrays if frames were given as a list.

            Models of other quantities give, in the unit of the data they were trained on, ``global_dipole`` (n_frame, 3) and
            ``dipole`` (n_frame, n_atom, 3); ``global_polar`` (n_frame, 3, 3) and ``polar`` (n_frame, n_atom, 3, 3); ``dos``
            (n_frame, numb_dos) and ``atom_dos`` (n_frame, n_atom, numb_dos); a property under its own name (n_frame, task_dim)
            and ``atom_<name>`` (n_frame, n_atom, task_dim).  ``atomic`` adds ``mask`` and for dipoles, with an axis for the
            component of the dipole, ``force`` (n_frame, n_atom, 3, 3), ``virial`` (n_frame, 3, 9) and ``atom_virial`` (n_frame,
            n_atom, 3, 9).

        Raises:
            DataError: arrays of wrong shape, NaN, coincident atoms, singular cells, unknown types.
            ModelError: an input this model does not take or needs and did not get; a Hessian of what is no energy.
        """
        for name, value in (("charge_spin", charge_spin), ("spin", spin)):
            if value is not None:
                raise ModelError(f"{name} was given but this model has no such input; leave it out")
        if hessian:
            require_energy(self.model.output)
        structures = read_structures(self.config, coord, atype, cell, fparam, aparam)
        frames = [self._frame(structures, i) for i in range(len(structures.coord))]
        rows = self._evaluate_frames(frames, atomic, hessian)
        if not rows:
            shapes = output_shapes(self.model.output, 0 if structures.ragged else np.shape(coord)[1], atomic, hessian)
            return {
                key: np.zeros((0, *shape), np.int32 if key == "mask" else np.float64) for key, shape in shapes.items()
            }
        joined = {key: [row[key] for row in rows] for key in rows[0]}
        return joined if structures.ragged else {key: np.stack(value) for key, value in joined.items()}

    def with_variables(self, variables: dict) -> Potential:
        """The same model with other numbers; both share their compiled programs."""
        other = Potential(self.config, variables, conventions=self.conventions, device=self.device)
        other.model, other._program, other._feature_program = self.model, self._program, self._feature_program
        return other

    def frames(self, coord, atype, cell=None, fparam=None, aparam=None) -> list[Frame]:
        """Frames with their neighbours, for :meth:`evaluate_frames` of this model and of others with its types and cut-off.

        Arguments and errors as for :meth:`evaluate`.
        """
        structures = read_structures(self.config, coord, atype, cell, fparam, aparam)
        return [self._frame(structures, i) for i in range(len(structures.coord))]

    def evaluate_frames(self, frames: Sequence[Frame], atomic: bool = False, hessian: bool = False) -> list[Output]:
        """What :meth:`evaluate` gives, for each of the frames."""
        return self._evaluate_frames(frames, atomic, hessian)

    def _frame(self, structures: Structures, i: int) -> Frame:
        coord, atype, cell = structures.coord[i], structures.atype[i], structures.cell[i]
        try:
            table = search(coord, atype, len(self.type_map), self.rcut, cell)
        except DataError as error:
            raise DataError(f"frame {i}: {error}") from None
        self._warn_truncation(table, coord, cell)
        self._overflow.note(table, coord, atype, cell)
        return Frame(coord, atype, table, cell, structures.fparam[i], structures.aparam[i])

    def _warn_truncation(self, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Say once that ``sel`` leaves neighbours out, with type and numbers."""
        for cut in () if self._warned else self._cuts:
            for _, sentence in cut.shortage(cut.most(table, coord, cell)):
                self._warned = True
                log.warning("an atom %s", sentence)

    def _evaluate_frames(self, frames: Sequence[Frame], atomic: bool, hessian: bool) -> list[Output]:
        rows: list[Output] = []
        with jax.enable_x64(True):
            for batch, places, group in self._batches(frames):
                columns = round_up(max(1, *batch.natoms.tolist())) if hessian else None
                out = self._run(batch, self._program, atomic=atomic, hessian=columns)
                rows += [
                    self._unpack(out, i, own, frame, output_shapes(self.model.output, len(own), atomic, hessian))
                    for i, (own, frame) in enumerate(zip(places, group, strict=True))
                ]
        return rows

    def _batches(self, frames: Sequence[Frame]) -> Iterator[tuple[Batch, list[np.ndarray], Sequence[Frame]]]:
        """Batches on the device, the places of each frame's atoms in them, and the frames, in the given order."""
        layout: Layout | None = None
        for group in _groups(frames):
            batch, places, layout = self._pack(group, layout)
            yield jax.device_put(batch, self.device), places, group

    def _run(self, batch: Batch, program: Callable[..., Output], **options: Any) -> Output:
        """Outputs of a batch on its padded axes; ``options`` are those of the program."""
        variables = self._placed_variables()

        def at(grid: Grid | None) -> tuple[Output, Any]:
            out = jax.device_get(program(variables, batch, grid=grid, **options))
            return out, out.pop(RESOLVED, None)

        return self._resolver.run(batch.layout, at)

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

    def _unpack(
        self, out: Output, i: int, places: np.ndarray, frame: Frame, shapes: dict[str, tuple[int, ...]]
    ) -> Output:
        row = {}
        for name, shape in shapes.items():
            if name == "mask":
                counted = (frame.atype >= 0) & ~np.isin(frame.atype, self.config.silent_types)
                row[name] = counted.astype(np.int32)
            elif name == "hessian":
                row[name] = unpack_pairs(out[name], places)
            else:
                of_atoms = name in self._per_atom
                row[name] = (unpack_atoms(out[name], places) if of_atoms else out[name][i]).reshape(shape)
        return row

    @property
    def _per_atom(self) -> tuple[str, ...]:
        """Outputs that every atom has."""
        return (self.model.output.atomic, "force", "atom_virial")


def output_shapes(output: AtomicOutput, n_atom: int, atomic: bool, hessian: bool = False) -> dict[str, tuple[int, ...]]:
    """What ``evaluate`` gives for a frame of ``n_atom`` atoms: names, and shapes without the axis of the frames.

    Energy models add what belongs to atoms if ``atomic`` and second derivatives if ``hessian``; others always give their values of
    the atoms, and add derivatives.
    """
    total, own = {output.total: output.total_shape}, {output.atomic: (n_atom, *output.total_shape)}
    number = output.shape  # one for each component
    derivatives = {"force": (n_atom, *number, 3), "virial": (*number, 9)}
    derivatives_of_atoms = {"atom_virial": (n_atom, *number, 9)}
    mask = {"mask": (n_atom,)}
    if output is ENERGY:
        second = {"hessian": (3 * n_atom, 3 * n_atom)} if hessian else {}
        return total | derivatives | (own | derivatives_of_atoms | mask if atomic else {}) | second
    added = derivatives | derivatives_of_atoms if output.differentiated else {}
    return total | own | (added | mask if atomic else {})


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
