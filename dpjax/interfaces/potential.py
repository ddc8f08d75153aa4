"""A model ready for use: NumPy arrays in, NumPy arrays out, under DeePMD-kit's output names."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import numpy as np

from dpjax.batching import Frame
from dpjax.batching.virtual import point_types, points, scale_of
from dpjax.compress import OverflowWatch
from dpjax.config import ModelConfig
from dpjax.config.fittings.outputs import ENERGY
from dpjax.data.waiting import counter
from dpjax.descriptors.crowding import cuts
from dpjax.errors import ConfigError, ModelError
from dpjax.interfaces.batches import Job, Runner
from dpjax.interfaces.dipole_charge import DipoleCharge
from dpjax.interfaces.features import FeatureMethods
from dpjax.interfaces.inputs import Structures, read_structures
from dpjax.interfaces.programs import Programs
from dpjax.interfaces.results import Reading, Results
from dpjax.interfaces.stream import Given, Source
from dpjax.interfaces.table_start import TableStart
from dpjax.memory import keep_freed_memory
from dpjax.models import build_model, predict, require_curvature
from dpjax.models.derived import require_no_modifier
from dpjax.models.hessian import require_energy
from dpjax.models.resolution import Resolver
from dpjax.neighbors import NeighborTable, expected_neighbors, search_many

log = logging.getLogger(__name__)

Output = dict[str, Any]

OF_ATOMS = ("force", "force_mag", "mask_mag", "atom_virial")  # outputs that every atom has, beside its own values


class Potential(FeatureMethods):
    """A model, its variables and what is needed to evaluate them.

    Attributes:
        config: hyper-parameters of the model.
        model: Flax module; ``model.apply(variables, geometry, batch)`` is the functional core.
        variables: collections ``params`` and ``stats``.
        conventions: ``"corrected"`` or ``"reference"``; they differ only where the reference is wrong (docs/differences.md).
        correction: what the modifier of the model adds to the network's energies, forces and virials; None without one.
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
        self._programs = Programs.of(self.model)
        self._runner = Runner(self._programs, Resolver(self.model, variables), device)
        self._warned, self._warning = False, threading.Lock()
        self._cuts = cuts(self.config)
        self._overflow = OverflowWatch(self.config.compress)
        self._table_start = TableStart(variables["stats"])
        self.correction: DipoleCharge | None = None
        if self.config.modifier is not None:
            self.correction = DipoleCharge(self.config.modifier, self.config.type_map, conventions, device)

    @property
    def type_map(self) -> list[str]:
        """Element names in the order of the model's types."""
        return list(self.config.data_types)

    @property
    def rcut(self) -> float:
        """Cut-off radius, angstrom."""
        return self.model.rcut

    def __repr__(self) -> str:
        return f"Potential({self.config.title}, type_map={self.type_map}, rcut={self.rcut})"

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
        atoms_per_batch: int | None = None,
        progress: bool | None = None,
    ) -> Output:
        """Energies, forces and virials of one or many frames, or what else the model predicts.

        Frames of all sizes share batches, which all devices of the process work on unless the model was given one.

        Args:
            coord: (n_frame, n_atom, 3) angstrom, or a list of (n_atom, 3) for frames of different sizes.
            atype: (n_atom,) or (n_frame, n_atom) types, or a list; -1 marks a placeholder with zero output.
            cell: (n_frame, 3, 3) angstrom, rows are cell vectors; None for open boundaries; or a list of such or None.
            fparam: (n_frame, numb_fparam) frame parameters; the model's ``default_fparam`` where absent.
            aparam: (n_frame, n_atom, numb_aparam) atomic parameters, or a list.
            charge_spin: (n_frame, 2) charge and spin of each frame, for models that take them; the model's
                ``default_chg_spin`` where absent.  Digits after the point are cut off.
            spin: (n_frame, n_atom, 3) magnetic moments, for models that take them, or a list; zeros where an atom has none.
            atomic: add ``atom_energy`` (n_frame, n_atom, 1), ``atom_virial`` (n_frame, n_atom, 9), ``mask`` (n_frame, n_atom).
            hessian: add ``hessian`` (n_frame, 3 n_atom, 3 n_atom) eV/angstrom^2, second derivatives of the energy at fixed spins,
                x, y and z of the first atom before those of the next; takes about as long as the forces do for each number of
                coordinates.
            atoms_per_batch: atoms that a device works on at a time, at least one frame; None: as many as are worth it and find
                their place in its memory, as the compiler says.
            progress: show how many frames are done, once that takes some seconds; None: on a terminal only.

        Returns:
            ``energy`` (n_frame, 1) eV, ``force`` (n_frame, n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV as NumPy arrays;
            lists of per-frame arrays if frames were given as a list.

            Models of other quantities give, in the unit of the data they were trained on, ``global_dipole`` (n_frame, 3) and
            ``dipole`` (n_frame, n_atom, 3); ``global_polar`` (n_frame, 3, 3) and ``polar`` (n_frame, n_atom, 3, 3); ``dos``
            (n_frame, numb_dos) and ``atom_dos`` (n_frame, n_atom, numb_dos); a property under its own name (n_frame, task_dim)
            and ``atom_<name>`` (n_frame, n_atom, task_dim).  ``atomic`` adds ``mask`` and for dipoles, with an axis for the
            component of the dipole, ``force`` (n_frame, n_atom, 3, 3), ``virial`` (n_frame, 3, 9) and ``atom_virial`` (n_frame,
            n_atom, 3, 9).

            Models with spins add ``force_mag`` (n_frame, n_atom, 3), minus the derivative of the energy by the spins, eV per unit
            of spin, and ``mask_mag`` (n_frame, n_atom, 1) bool, True for atoms of types that carry one.

            Models that give their forces directly (loss ``dens``) have no ``virial`` and no ``atom_virial``: their forces are no
            derivatives of their energies.

        Raises:
            DataError: arrays of wrong shape, NaN, coincident atoms, singular cells, unknown types, charges or spins out of range;
                atoms nearer to each other than a pair table of the model begins.
            ModelError: an input this model does not take or needs and did not get; a Hessian of what is no energy, or where forces
                are no derivatives.
            ConfigError: ``atoms_per_batch`` is no positive number.
        """
        if hessian:
            require_energy(self.model.output)
            require_curvature(self.config)
            require_no_modifier(self.config, "hessian")
        if atomic:
            require_no_modifier(self.config, "atomic energies and virials")
        structures = read_structures(self.config, coord, atype, cell, fparam, aparam, charge_spin, spin)
        if atoms_per_batch is not None and not (isinstance(atoms_per_batch, int) and atoms_per_batch > 0):
            raise ConfigError(
                f"atoms_per_batch: found {atoms_per_batch!r}, expected a number of atoms above 0, or None"
            )
        tell = counter("evaluating", sys.stderr.isatty() if progress is None else progress)
        found = self._run(
            self.searched(structures), structures.atype, not structures.ragged, atomic=atomic, hessian=hessian,
            atoms_per_batch=atoms_per_batch, tell=tell,
        )  # fmt: skip
        self._correct(found, structures.coord, structures.atype, structures.cell, atoms_per_batch)
        if not found:
            shapes = output_shapes(self.config, 0 if structures.ragged else np.shape(coord)[1], atomic, hessian)
            dtypes = {"mask": np.int32, "mask_mag": bool}
            return {key: np.zeros((0, *shape), dtypes.get(key, np.float64)) for key, shape in shapes.items()}
        return found

    def with_variables(self, variables: dict) -> Potential:
        """The same model with other numbers; both share their compiled programs."""
        other = Potential(self.config, variables, conventions=self.conventions, device=self.device)
        other.model, other._programs, other.correction = self.model, self._programs, self.correction
        other._runner = Runner(self._programs, Resolver(self.model, variables), self.device)
        return other

    def frames(self, coord, atype, cell=None, fparam=None, aparam=None, charge_spin=None, spin=None) -> list[Frame]:
        """Frames with their neighbours, for :meth:`evaluate_frames` of this model and of others with its types and cut-off.

        Arguments and errors as for :meth:`evaluate`.
        """
        structures = read_structures(self.config, coord, atype, cell, fparam, aparam, charge_spin, spin)
        return self.searched(structures).frames(range(len(structures.coord)))

    def evaluate_frames(self, frames: Sequence[Frame], atomic: bool = False, hessian: bool = False) -> list[Output]:
        """What :meth:`evaluate` gives, for each of the frames."""
        types = [frame.own_types for frame in frames]
        if atomic or hessian:
            require_no_modifier(self.config, "atomic energies, atomic virials and Hessians")
        found = self._run(Given(frames), types, False, atomic=atomic, hessian=hessian)
        self._correct(found, [frame.coord for frame in frames], types, [frame.cell for frame in frames])
        return [{name: values[i] for name, values in found.items()} for i in range(len(frames))]

    def _correct(
        self, found: Output, coord: Sequence, atype: Sequence, cell: Sequence, atoms_per_batch: int | None = None
    ) -> None:
        """Add what the modifier says of each frame, where the model has one."""
        if self.correction is None or not len(coord):
            return
        for name, rows in self.correction.of(coord, atype, cell, atoms_per_batch=atoms_per_batch).items():
            for i, own in enumerate(rows):
                found[name][i] = found[name][i] + own

    def _run(
        self, source: Source, types: Sequence[np.ndarray], stacked: bool, *, atomic: bool, hessian: bool, **job: Any
    ) -> Output:
        """Outputs of all frames in their order, as one array or a list for each; nothing of no frames."""
        reading = Reading(
            lambda n_atom: output_shapes(self.config, n_atom, atomic, hessian),
            per_atom=(self.model.output.atomic, *OF_ATOMS),
            silent_types=self.config.silent_types,
        )
        options = {"atomic": atomic, "hessian": hessian or None}
        return self.computed(source, types, stacked, Job(predict, options, **job), reading)

    def computed(
        self, source: Source, types: Sequence[np.ndarray], stacked: bool, job: Job, reading: Reading
    ) -> Output:
        """What a job gives for each frame of a source.

        Args:
            source: the frames; :meth:`searched` makes one of structures.
            types: (n_atom,) of each.
            stacked: one array for all frames, which have one size; else a list of arrays.
            job: what is computed.
            reading: what is taken from its outputs.

        Returns:
            Name -> results in the order of the frames; nothing of no frames.
        """
        results = Results(reading, types, stacked)
        self._runner.run(self.variables, source, job, results)
        return results.values

    def searched(self, structures: Structures) -> Source:
        """Structures as frames with their neighbours, which are searched when they are needed."""
        return _Searched(self, structures)

    def _warn_truncation(self, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> None:
        """Say once that ``sel`` leaves neighbours out, with type and numbers."""
        with self._warning:
            for cut in () if self._warned else self._cuts:
                for _, sentence in cut.shortage(cut.most(table, coord, cell)):
                    self._warned = True
                    log.warning("an atom %s", sentence)


class _Searched:
    """Structures as frames, searched for neighbours when they are needed."""

    def __init__(self, pot: Potential, structures: Structures):
        self._pot, self._given, self._scale = pot, structures, pot.config.virtual_scale
        self.atoms = np.array([len(coord) for coord in structures.coord], int) * (2 if self._scale else 1)
        self.width = expected_neighbors(self.atoms, pot.rcut, structures.cell)

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        """Some of them."""
        given, pot = self._given, self._pot
        coord, atype, cell = ([of[i] for i in numbers] for of in (given.coord, given.atype, given.cell))
        more = [given.inputs(i) for i in numbers]
        seen = [given.searched_types(i) for i in numbers]
        if self._scale:
            more = [own | {"scale": scale_of(t, self._scale)} for own, t in zip(more, atype, strict=True)]
            coord = [points(x, t, own["spin"], self._scale) for x, t, own in zip(coord, atype, more, strict=True)]
            atype = seen = [point_types(t, self._scale) for t in atype]
        names, n_type = [f"frame {i}" for i in numbers], len(pot.config.type_map)
        tables = search_many(coord, seen, n_type, pot.rcut, cell, names, partners=bool(self._scale))
        for name, table, x, t, c in zip(names, tables, coord, atype, cell, strict=True):
            pot._warn_truncation(table, x, c)
            pot._overflow.note(name, table, x, t, c)
            pot._table_start.check(name, table, x, c)
        rows = zip(coord, atype, tables, cell, more, strict=True)
        return [Frame(x, t, table, c, **own) for x, t, table, c, own in rows]


def output_shapes(config: ModelConfig, n_atom: int, atomic: bool, hessian: bool = False) -> dict[str, tuple[int, ...]]:
    """What ``evaluate`` gives for a frame of ``n_atom`` atoms: names, and shapes without the axis of the frames.

    Energy models add what belongs to atoms if ``atomic`` and second derivatives if ``hessian``; others always give their values of
    the atoms, and add derivatives.  Where forces are no derivatives there are no virials.
    """
    output = config.fitting_net.output
    total, own = {output.total: output.total_shape}, {output.atomic: (n_atom, *output.total_shape)}
    number = output.shape  # one for each component
    derivatives = {"force": (n_atom, *number, 3), "virial": (*number, 9)}
    derivatives_of_atoms = {"atom_virial": (n_atom, *number, 9)}
    mask = {"mask": (n_atom,)}
    if config.direct_forces:
        return total | {"force": derivatives["force"]} | (own | mask if atomic else {})
    if output is ENERGY:
        second = {"hessian": (3 * n_atom, 3 * n_atom)} if hessian else {}
        if config.virtual_scale:
            derivatives |= {"force_mag": (n_atom, 3), "mask_mag": (n_atom, 1)}
        return total | derivatives | (own | derivatives_of_atoms | mask if atomic else {}) | second
    added = derivatives | derivatives_of_atoms if output.differentiated else {}
    return total | own | (added | mask if atomic else {})
