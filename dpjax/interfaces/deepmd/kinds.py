"""One class for each kind of output, with the return values of ``deepmd.infer``."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.fittings import AtomicOutput
from dpjax.errors import ModelError
from dpjax.interfaces.deepmd.evaluator import DeepEval
from dpjax.models import require_derived


class DeepPot(DeepEval):
    """A model of energies; arguments of the constructor as for :class:`~dpjax.interfaces.deepmd.evaluator.DeepEval`."""

    def eval(
        self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, **others: Any
    ) -> tuple[np.ndarray, ...]:
        """Energies, forces and virials.

        Args:
            coords: n_frame x n_atom x 3 numbers, angstrom, flattened or not.
            cells: n_frame x 9 numbers, angstrom; None for open boundaries.
            atom_types: (n_atom,), or with ``mixed_type`` (n_frame, n_atom); -1 is a placeholder.
            atomic: add energies and virials of atoms.
            fparam: (n_frame, dim_fparam), or (dim_fparam,) for all frames.
            aparam: (n_frame, n_atom, dim_aparam), or (n_atom, dim_aparam) for all frames, or (dim_aparam,) for all atoms.
            mixed_type: whether every frame has types of its own.
            others: ``charge_spin``, ``spin``, ``efield`` of models that take them.

        Returns:
            energy (n_frame, 1) eV, force (n_frame, n_atom, 3) eV/angstrom, virial (n_frame, 9) eV; with ``atomic`` also energies
            (n_frame, n_atom, 1) and virials (n_frame, n_atom, 9) of atoms; then, of models with spins, magnetic forces (n_frame,
            n_atom, 3) eV per unit of spin and bool (n_frame, n_atom, 1) of atoms that have a spin; last, of models that were
            trained on Hessians, the Hessian (n_frame, 3 n_atom, 3 n_atom) eV/angstrom^2.

        Raises:
            DataError: numbers that do not make up whole frames; what ``Potential.evaluate`` refuses.
            ModelError: an input that the model does not take, or needs and did not get; a model without virials.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        require_derived(self.potential.config, "DeepPot.eval, which returns virials")
        names = ["energy", "force", "virial"]
        names += ["atom_energy", "atom_virial"] if atomic else []
        names += ["force_mag", "mask_mag"] if self.has_spin else []
        names += ["hessian"] if self.has_hessian else []
        out = self._evaluated(inputs, atomic=atomic, hessian=self.has_hessian)
        return tuple(out[name] for name in names)


class DeepTensor(DeepEval):
    """A model of tensors that turn with the structure."""

    def eval(
        self, coords, cells, atom_types, atomic=True, fparam=None, aparam=None, mixed_type=False, **others: Any
    ) -> np.ndarray:
        """Tensors of atoms, or of frames; arguments and errors as for :meth:`DeepPot.eval`.

        Returns:
            With ``atomic``, the default, (n_frame, n_atom, dim), zero for atoms of types that are not in ``get_sel_type()``; else
            (n_frame, dim).
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        out = self._evaluated(inputs)
        shape = (inputs.n_frame, inputs.n_atom) if atomic else (inputs.n_frame,)
        return out[self._output.atomic if atomic else self._output.total].reshape(*shape, self._output.size)

    def eval_full(
        self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, **others: Any
    ) -> tuple[np.ndarray, ...]:
        """Tensors of frames and their derivatives, an array of forces for each component.

        Args:
            coords, cells, atom_types, atomic, fparam, aparam, mixed_type, others: as for :meth:`DeepPot.eval`.

        Returns:
            tensor (n_frame, dim), force (n_frame, dim, n_atom, 3), virial (n_frame, dim, 9); with ``atomic`` also tensors of atoms
            (n_frame, n_atom, dim) and atomic virials (n_frame, dim, n_atom, 9).

        Raises:
            ModelError: a model without derivatives (polarizabilities); else as for :meth:`DeepPot.eval`.
        """
        if not self._output.differentiated:
            raise ModelError(
                f"eval_full: models of {self._output.label} have no derivatives; eval gives the tensors themselves"
            )
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        out = self._evaluated(inputs, atomic=True)
        forces, virials = (np.swapaxes(out[name], 1, 2) for name in ("force", "atom_virial"))
        found = (out[self._output.total], forces, out["virial"])
        return (*found, out[self._output.atomic], virials) if atomic else found


class DeepDipole(DeepTensor):
    """A model of dipoles (dim 3)."""


class DeepPolar(DeepTensor):
    """A model of polarizabilities (dim 9)."""


class _OfFrames(DeepEval):
    """A model whose frames have the sum, or the mean, of what atoms have, without derivatives."""

    def eval(
        self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, **others: Any
    ) -> tuple[np.ndarray, ...]:
        """Values of frames (n_frame, dim) and, with ``atomic``, of atoms (n_frame, n_atom, dim).

        Arguments and errors as for :meth:`DeepPot.eval`.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        out = self._evaluated(inputs)
        names = (self._output.total, self._output.atomic) if atomic else (self._output.total,)
        return tuple(out[name] for name in names)


class DeepDOS(_OfFrames):
    """A model of densities of states."""

    def get_numb_dos(self) -> int:
        """Points of the density of states."""
        return self._output.size

    @property
    def numb_dos(self) -> int:
        """Points of the density of states."""
        return self.get_numb_dos()


class DeepProperty(_OfFrames):
    """A model of any other property."""

    def get_var_name(self) -> str:
        """What the property is called, as its label file is."""
        return self._output.label

    def get_task_dim(self) -> int:
        """Numbers of the property."""
        return self._output.size

    @property
    def task_dim(self) -> int:
        """Numbers of the property."""
        return self.get_task_dim()

    def get_intensive(self) -> bool:
        """Whether a frame has the mean of its atoms, not the sum."""
        return self._output.intensive


CLASSES = {"energy": DeepPot, "dipole": DeepDipole, "polarizability": DeepPolar}


def class_for(output: AtomicOutput) -> type[DeepEval]:
    """The class whose ``eval`` gives this output."""
    return CLASSES.get(output.name) or (DeepDOS if "dos" in output.losses else DeepProperty)
