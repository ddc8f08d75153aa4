"""Model deviation: how far models that were trained alike differ on the same structures, or are from the labels.

Deviations are standard deviations over the models, of the energy and the virial per atom and of the force on each atom
(Zhang et al., Comput. Phys. Commun. 253, 107206 (2020)).  Structures whose forces deviate are those that training data lack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.data import System, find_systems, model_labels, open_systems
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces.chunks import Piece, chunks, pieces, structures
from dpjax.interfaces.potential import Potential
from dpjax.models import require_derived

ATOMS_PER_CHUNK = (
    50_000  # frames are read and evaluated in chunks of about this many atoms, of as many systems as it takes
)
LABELS = ("energy", "force", "virial")
COLUMNS = (*(f"{which}_devi_{letter}" for letter in "vf" for which in ("max", "min", "avg")), "devi_e")


@dataclass(frozen=True)
class Deviation:
    """How far models are apart, or from the labels, in each frame.

    Attributes:
        virial: (n_frame, 3) largest and smallest deviation of the nine components, and a third of the norm of all, eV per atom.
        force: (n_frame, 3) largest, smallest and mean deviation of the force on an atom, eV/angstrom.
        energy: (n_frame,) eV per atom.
        atoms: (n_frame, n_atom) of the force on each atom, NaN for placeholders.
    """

    virial: np.ndarray
    force: np.ndarray
    energy: np.ndarray
    atoms: np.ndarray

    @property
    def table(self) -> np.ndarray:
        """(n_frame, 7) in the order of :data:`COLUMNS`."""
        return np.concatenate([self.virial, self.force, self.energy[:, None]], axis=1)

    @classmethod
    def joined(cls, parts: Sequence[Deviation]) -> Deviation:
        """The frames of all."""
        return cls(*(np.concatenate([getattr(own, name) for own in parts]) for name in cls.__dataclass_fields__))


def model_deviation(
    models: Sequence[Potential],
    coord: Any,
    atype: Any,
    cell: Any = None,
    *,
    fparam: Any = None,
    aparam: Any = None,
    charge_spin: Any = None,
    spin: Any = None,
    labels: Mapping[str, np.ndarray] | None = None,
    relative: float | None = None,
    relative_v: float | None = None,
) -> Deviation:
    """Deviation of energy models on frames of one size.

    Args:
        models: at least two with the same types; with ``labels`` one is enough.
        coord, atype, cell, fparam, aparam, charge_spin, spin: as for ``Potential.evaluate``.
        labels: ``energy`` (n_frame,), ``force`` (n_frame, n_atom, 3) and ``virial`` (n_frame, 9) to compare with: the root of
            the mean square error of the models is given instead of their spread.
        relative: divide deviations of forces by the length of the mean force, or that of the label, plus this level (eV/angstrom).
        relative_v: the same for virials per atom (eV).

    Raises:
        ConfigError: fewer models, of other types than each other, or none of energies.
        DataError: as for ``Potential.evaluate``.
    """
    check_models(models, with_labels=labels is not None)
    rows = _predictions(models, coord, atype, cell, fparam, aparam, charge_spin, spin)
    predicted = {name: np.stack([np.stack([row[name] for row in own]) for own in rows]) for name in LABELS}
    real = np.broadcast_to(np.asarray(atype) >= 0, predicted["force"].shape[1:3])
    return _deviation(predicted, real, labels, relative, relative_v)


def _deviation(
    predicted: Mapping[str, np.ndarray],
    real: np.ndarray,
    labels: Mapping[str, np.ndarray] | None,
    relative: float | None,
    relative_v: float | None,
) -> Deviation:
    """:func:`model_deviation` of predictions, models first; ``real`` (n_frame, n_atom): which atoms are no padding."""
    energy, force, virial = (predicted[name] for name in LABELS)
    natoms = np.maximum(real.sum(axis=1), 1)
    energy, virial = energy[..., 0] / natoms, virial / natoms[:, None]
    if labels is None:
        target = {"energy": energy.mean(axis=0), "force": force.mean(axis=0), "virial": virial.mean(axis=0)}
    else:
        target = {
            "energy": labels["energy"].reshape(-1) / natoms,
            "force": labels["force"].reshape(force.shape[1:]),
            "virial": labels["virial"].reshape(virial.shape[1:]) / natoms[:, None],
        }
    of_energy, of_force, of_virial = (
        np.sqrt(np.mean((values - target[name]) ** 2, axis=0))
        for name, values in (("energy", energy), ("force", force), ("virial", virial))
    )
    atoms = np.linalg.norm(of_force, axis=-1)
    if relative is not None:
        atoms = atoms / (np.linalg.norm(target["force"], axis=-1) + relative)
    if relative_v is not None:
        of_virial = of_virial / (np.linalg.norm(target["virial"], axis=-1, keepdims=True) + relative_v)
    virial_columns = [of_virial.max(axis=-1), of_virial.min(axis=-1), np.linalg.norm(of_virial, axis=-1) / 3]
    force_columns = [
        np.where(real, atoms, -np.inf).max(axis=1),
        np.where(real, atoms, np.inf).min(axis=1),
        np.where(real, atoms, 0.0).sum(axis=1) / natoms,
    ]
    return Deviation(
        np.stack(virial_columns, axis=1), np.stack(force_columns, axis=1), of_energy, np.where(real, atoms, np.nan)
    )


def _predictions(models: Sequence[Potential], *given: Any, **more: Any) -> list[list[dict[str, Any]]]:
    """Outputs of the frames, model by model; neighbours are searched once for models of one cut-off, and of the same inputs."""
    frames: dict[Any, Any] = {}
    rows = []
    for model in models:
        inputs, defaults = model.config.inputs, model.config.default_inputs
        alike = (model.rcut, *inputs.items(), *defaults.items())
        if alike not in frames:
            frames[alike] = model.frames(*given, **more)
        rows.append(model.evaluate_frames(frames[alike]))
    return rows


def check_models(models: Sequence[Potential], with_labels: bool) -> None:
    """Raises ConfigError where models cannot be compared, ModelError where one has no virials."""
    if len(models) < (1 if with_labels else 2):
        raise ConfigError(
            f"model deviation: found {len(models)} model, expected at least two, or one ensemble. Name more models, or compare "
            "with labels."
        )
    for model in models:
        if model.config.fitting_net.output.label != "energy":
            raise ConfigError(
                f"model deviation: {model!r} predicts {model.config.fitting_net.output.label}, expected energies"
            )
        require_derived(model.config, "model deviations, some of which are those of virials")
        if model.type_map != models[0].type_map:
            raise ConfigError(
                f"model deviation: the models have different types, {' '.join(models[0].type_map)} and {' '.join(model.type_map)}. "
                "Compare models with one type_map."
            )


def system_deviations(
    models: Sequence[Potential],
    systems: str | Path | Sequence[str | Path],
    *,
    real_error: bool = False,
    relative: float | None = None,
    relative_v: float | None = None,
) -> Iterator[tuple[str, Deviation]]:
    """:func:`model_deviation` of all frames of data systems, with the name of each; atoms are in the order of the files.

    Args:
        systems: paths; a path is searched for systems below it.
        real_error: compare with the labels of the data.  Without ``virial.npy`` the errors of the virial are NaN.

    Raises:
        ConfigError: as :func:`model_deviation`.
        DataError: a path without systems, or without the labels that are compared.
    """
    check_models(models, with_labels=real_error)
    specs = model_labels(models[0].config, LABELS if real_error else ())

    def opened() -> Iterator[Piece]:
        for entry in [systems] if isinstance(systems, (str, Path)) else systems:
            for path in find_systems(str(entry)):
                for system in open_systems(path, models[0].type_map, specs, str(path)):
                    labels = _labels(system, real_error)
                    yield from pieces(system, np.arange(system.n_frame), ATOMS_PER_CHUNK, {}, labels)

    parts: list[Deviation] = []
    for chunk in chunks(opened(), ATOMS_PER_CHUNK):
        arrays = [piece.read() for piece in chunk]
        rows = _predictions(models, **structures(chunk, arrays))
        start = 0
        for piece, own in zip(chunk, arrays, strict=True):
            end = start + len(piece.frames)
            parts.append(_of_piece(piece, own, [of[start:end] for of in rows], relative, relative_v))
            start = end
            if piece.last:
                yield piece.system.name, Deviation.joined(parts)
                parts = []


def _labels(system: System, real_error: bool) -> tuple[str, ...]:
    """Arrays to read that the models are compared with."""
    for name in LABELS if real_error else ():
        if name != "virial" and not system.found[name]:
            raise DataError(
                f"{system.name}: found no {name}.npy, with which the models are to be compared. Add it, or leave --real_error out."
            )
    return LABELS if real_error else ()


def _of_piece(
    piece: Piece,
    arrays: dict[str, np.ndarray],
    rows: Sequence[Sequence[dict[str, Any]]],
    relative: float | None,
    relative_v: float | None,
) -> Deviation:
    """Some frames of a system, from the predictions of each model for each of them."""
    system = piece.system
    labels = {name: arrays[name] for name in piece.labels}
    if labels and not system.found["virial"]:
        labels["virial"] = np.full((len(piece.frames), 9), np.nan)
    predicted = {name: np.stack([np.stack([row[name] for row in own]) for own in rows]) for name in LABELS}
    found = _deviation(predicted, arrays["types"] >= 0, labels or None, relative, relative_v)
    return Deviation(found.virial, found.force, found.energy, found.atoms[:, system.places])


def table_text(name: str, deviation: Deviation, frequency: int = 1, atomic: bool = False) -> str:
    """The lines of ``model_devi.out`` for a system, in DeePMD-kit's columns.

    Args:
        frequency: steps between two frames, for the first column.
        atomic: add a column for each atom.
    """
    header = f"# {name}\n# {'step':10s}" + "".join(f"{column:19s}" for column in COLUMNS)
    values = np.concatenate([deviation.table, deviation.atoms], axis=1) if atomic else deviation.table
    lines = [f"{i * frequency:12d}" + "".join(f"{value:19.6e}" for value in row) for i, row in enumerate(values)]
    return "\n".join([header + (f"{'atm_devi_f(N)':19s}" if atomic else ""), *lines]) + "\n"
