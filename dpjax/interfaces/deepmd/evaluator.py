"""What all classes of ``deepmd.infer`` have: the constructor, features, and facts about the model."""

from __future__ import annotations

import copy
import os
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dpjax.config.elements import ELEMENTS
from dpjax.errors import ModelError
from dpjax.interfaces.deepmd.inputs import Inputs, read_inputs
from dpjax.interfaces.deepmd.opening import atoms_at_once, opened, refuse_options
from dpjax.interfaces.facts import network_sizes, observed_types
from dpjax.interfaces.features import DESCRIPTOR, LAST_LAYER, structural
from dpjax.interfaces.potential import Potential
from dpjax.interop import write_model

DTYPES = {"fp32": np.float32, "fp64": np.float64, "native": None}


class DeepEval:
    """A model behind the interface of ``deepmd.infer.DeepEval``; called by this name it becomes the class of its output.

    Args:
        model_file: any file or folder that ``dpjax.load`` reads, or a :class:`~dpjax.interfaces.potential.Potential`.
        auto_batch_size: True or False: frames are evaluated in batches of a size that dpjax chooses.  A number: at most so
            many atoms at once (at least one frame); of DeePMD-kit's ``AutoBatchSize`` its current number counts.
        neighbor_list: None.
        head: branch of a model with several.
        no_jit: False.
        nlist_backend: ``auto`` or ``vesin``, which is how dpjax finds neighbours.

    Attributes:
        model_file: as given.
        potential: what does the work.

    Raises:
        ModelError: the file cannot be read or holds a model of another output; an option that cannot do here what it says.
        TypeError: an ``auto_batch_size`` of another kind.
    """

    def __new__(cls, model_file: str | os.PathLike | Potential, *args: Any, **options: Any) -> DeepEval:
        """An object of the class that the model's output has."""
        if cls is not DeepEval:
            return super().__new__(cls)
        found = opened(model_file, options.get("head"))
        own = super().__new__(_class_for(found[0]))
        own._opened = found
        return own

    def __init__(
        self,
        model_file: str | os.PathLike | Potential,
        *,
        auto_batch_size: Any = True,
        neighbor_list: None = None,
        head: str | None = None,
        no_jit: bool = False,
        nlist_backend: str = "auto",
    ) -> None:
        refuse_options(neighbor_list, no_jit, nlist_backend)
        self._atoms_at_once = atoms_at_once(auto_batch_size)
        self.model_file = model_file
        self.potential, self._hessian = self.__dict__.pop("_opened", None) or opened(model_file, head)
        expected = _class_for(self.potential)
        if not isinstance(self, expected):
            raise ModelError(
                f"{type(self).__name__}: {model_file} predicts {self._output.label}; open it with {expected.__name__}, or with "
                "DeepEval, which finds out"
            )

    @property
    def _output(self) -> Any:
        return self.potential.config.fitting_net.output

    def close(self) -> None:
        """Nothing has to be closed."""

    def __enter__(self) -> DeepEval:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _inputs(
        self, coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin=None, spin=None, efield=None
    ) -> Inputs:
        if efield is not None:
            raise ModelError("efield was given but this model has no such input (has_efield is False); leave it out")
        sizes = {"dim_fparam": self.get_dim_fparam(), "dim_aparam": self.get_dim_aparam()}
        others = {"fparam": fparam, "aparam": aparam, "charge_spin": charge_spin, "spin": spin}
        return read_inputs(coords, cells, atom_types, mixed_type, **sizes, **others)

    def _evaluated(self, inputs: Inputs, **options: bool) -> dict[str, np.ndarray]:
        """What ``Potential.evaluate`` gives, in portions of the size that the constructor was given."""
        parts = [
            self.potential.evaluate(part.coord, part.atype, part.cell, **part.parameters, **options)
            for part in inputs.portions(self._atoms_at_once)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _features(self, inputs: Inputs, *names: str) -> list[np.ndarray]:
        if "spin" in inputs.parameters and not self.has_spin:
            raise ModelError("spin was given but this model has no such input; leave it out")
        parts = [
            self.potential.features(part.coord, part.atype, part.cell, **part.parameters, names=names)
            for part in inputs.portions(self._atoms_at_once)
        ]
        return [np.concatenate([part[name] for part in parts]) for name in names]

    def eval_descriptor(
        self, coords, cells, atom_types, fparam=None, aparam=None, mixed_type=False, dtype="native", **others: Any
    ) -> np.ndarray:
        """Descriptors (n_frame, n_atom, dim), zero for placeholders; parameters are checked and do not enter.

        Args:
            coords, cells, atom_types, fparam, aparam, mixed_type: as for ``eval``.
            dtype: ``fp32``, ``fp64`` or ``native``, which is float64.
            others: as for ``eval``.

        Raises:
            DataError, ModelError: as for ``eval``.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        return in_dtype(self._features(inputs, DESCRIPTOR)[0], dtype)

    def eval_fitting_last_layer(
        self, coords, cells, atom_types, fparam=None, aparam=None, mixed_type=False, dtype="native", **others: Any
    ) -> np.ndarray:
        """What the last layer of the fitting net is given, (n_frame, n_atom, neuron[-1]); zero for placeholders.

        Args:
            coords, cells, atom_types, fparam, aparam, mixed_type: as for ``eval``.
            dtype: ``fp32``, ``fp64`` or ``native``, that of the fitting net.
            others: as for ``eval``.

        Raises:
            DataError, ModelError: as for ``eval``.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        return in_dtype(self._features(inputs, LAST_LAYER)[0], dtype)

    def eval_embedding(
        self, coords, cells, atom_types, fparam=None, aparam=None, mixed_type=False, dtype="fp32", **others: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descriptors, last hidden layer and its sum over the atoms of a frame that count, in one pass.

        Args:
            coords, cells, atom_types, fparam, aparam, mixed_type: as for ``eval``.
            dtype: of all three: ``fp32``, ``fp64`` or ``native``.
            others: as for ``eval``.

        Returns:
            (n_frame, n_atom, dim), (n_frame, n_atom, neuron[-1]), (n_frame, neuron[-1]).

        Raises:
            DataError, ModelError: as for ``eval``.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, **others)
        descriptor, last_layer = self._features(inputs, DESCRIPTOR, LAST_LAYER)
        structure = structural(self.potential, last_layer, inputs.atype)
        return tuple(in_dtype(array, dtype) for array in (descriptor, last_layer, structure))

    def eval_typeebd(self) -> np.ndarray:
        """The vectors of the types, (n_type + 1, tebd_dim); the last row is that of placeholders.

        Raises:
            KeyError: the descriptor has networks for each type instead.
        """
        try:
            return self.potential.type_vectors()
        except ModelError as error:
            raise KeyError(str(error)) from None

    def get_rcut(self) -> float:
        """Cut-off radius, angstrom."""
        return self.potential.rcut

    def get_ntypes(self) -> int:
        """Number of atom types."""
        return len(self.potential.type_map)

    def get_type_map(self) -> list[str]:
        """Names of the atom types."""
        return self.potential.type_map

    def get_sel_type(self) -> list[int]:
        """Types whose atoms contribute to the prediction."""
        silent = self.potential.config.silent_types
        return [t for t in range(self.get_ntypes()) if t not in silent]

    def get_dim_fparam(self) -> int:
        """Frame parameters that the model takes."""
        return self.potential.config.fitting_net.numb_fparam

    def has_default_fparam(self) -> bool:
        """Whether frame parameters may be left out."""
        return self.potential.config.fitting_net.default_fparam is not None

    def get_dim_aparam(self) -> int:
        """Parameters of each atom that the model takes."""
        return self.potential.config.fitting_net.numb_aparam

    def get_dim_chg_spin(self) -> int:
        """2 where the model takes charge and spin of a frame, else 0."""
        return self.potential.config.inputs.get("charge_spin", 0)

    def has_chg_spin_ebd(self) -> bool:
        """Whether the model takes charge and spin of a frame."""
        return self.get_dim_chg_spin() > 0

    def has_default_chg_spin(self) -> bool:
        """Whether charge and spin may be left out."""
        return "charge_spin" in self.potential.config.default_inputs

    @property
    def has_efield(self) -> bool:
        """Whether the model takes an electric field."""
        return False

    @property
    def has_spin(self) -> bool:
        """Whether atoms have spins."""
        return bool(self.potential.config.virtual_scale)

    @property
    def use_spin(self) -> list[bool]:
        """Which types have spins; empty where the model has none."""
        config = self.potential.config
        return list(config.spin.carriers(config.data_types)) if self.has_spin else []

    def get_ntypes_spin(self) -> int:
        """Types of virtual atoms for spins, of models of DeePMD-kit 1 and 2."""
        return 0

    @property
    def has_hessian(self) -> bool:
        """Whether ``eval`` gives Hessians, because the model was trained on them."""
        return self._hessian

    def get_model_def_script(self) -> dict:
        """The ``model`` section of the input, with all defaults."""
        return copy.deepcopy(self.potential.config.raw)

    def get_model_size(self) -> dict[str, int]:
        """Trained parameters of ``descriptor`` and ``fitting-net``, and their ``total``."""
        counts = network_sizes(self.potential)
        own = {"descriptor": counts["descriptor"], "fitting-net": counts["fitting_net"]}
        return own | {"total": sum(own.values())}

    def get_observed_types(self) -> dict[str, Any]:
        """``observed_type``: names of the types that the bias was fitted for, by atomic number; ``type_num``: how many."""
        names = sorted(observed_types(self.potential), key=lambda name: (*ELEMENTS, name).index(name))
        return {"type_num": len(names), "observed_type": names}

    def get_model(self) -> nn.Module:
        """The Flax module; its variables are ``potential.variables``."""
        return self.potential.model

    def serialize(self) -> dict[str, Any]:
        """The model as the tree that ``.dp`` files hold."""
        return write_model(self.potential.config, jax.device_get(self.potential.variables))["model"]


def _class_for(potential: Potential) -> type[DeepEval]:
    from dpjax.interfaces.deepmd.kinds import class_for  # the classes derive from DeepEval

    return class_for(potential.config.fitting_net.output)


def in_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """``array`` in the precision that DeePMD-kit's ``dtype`` names; raises ValueError for another name."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}, expected one of {', '.join(DTYPES)}")
    return array if DTYPES[dtype] is None else array.astype(DTYPES[dtype])
