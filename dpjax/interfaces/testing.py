"""How far a model is from labels: it is evaluated on data systems and what it predicts is compared number by number.

What is compared follows from the model's output (``quantities``): energy and virial in eV, force in eV/angstrom, stress
in eV/angstrom^3 (= -virial / volume), second derivatives of the energy in eV/angstrom^2; dipoles, polarizabilities, densities of
states and properties in the unit of their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.data import LabelSpec, System, find_systems, model_labels, open_systems
from dpjax.errors import DataError, NonFiniteError
from dpjax.interfaces.chunks import Piece, chunks, per_piece, pieces, structures
from dpjax.interfaces.quantities import Quantity, Structures, quantities_of
from dpjax.interfaces.reports import Comparison, SystemReport, TestReport

ATOMS_PER_CHUNK = (
    200_000  # frames are read and evaluated in chunks of about this many atoms, of as many systems as it takes
)


def test_model(
    pot: Any,
    systems: str | Path | System | Sequence[str | Path | System],
    n_frames: int | None = None,
    progress: Callable[[SystemReport], None] | None = None,
    *,
    shuffle_seed: int | None = None,
    atomic: bool = False,
) -> TestReport:
    """Evaluates a model on labelled systems.

    Args:
        pot: a ``Potential``: its ``type_map``, ``evaluate`` and its configuration are used.
        systems: opened systems, or paths; a path is searched for systems below it.
        n_frames: frames per system, the first ones; None or 0 takes all.
        progress: called with each system's report as soon as it is there.
        shuffle_seed: take the frames of a system in the random order of this seed; None: in the order of the files.
        atomic: compare the values of atoms (energies, dipoles, ...) too; every system that is opened here then needs
            their labels, ``atom_ener.npy`` and the like. Atoms of types that contribute nothing do not count.

    Raises:
        DataError: a path without systems, data the model cannot take, or no label at all.
        NonFiniteError: a prediction is NaN or infinite.
    """
    output = pot.config.fitting_net.output
    quantities = quantities_of(output, atomic, pot.config.direct_forces, bool(pot.config.virtual_scale))
    specs = _requirements(pot.config, quantities, output.atom_label)
    order = np.random.default_rng(shuffle_seed).permutation if shuffle_seed is not None else np.arange

    def tested() -> Iterator[Piece]:
        for system in _opened(pot.type_map, systems, specs):
            found = _compared(system, quantities, specs)
            frames = order(system.n_frame)[: n_frames or system.n_frame]
            labels = tuple(dict.fromkeys(quantity.label for quantity in found))
            yield from pieces(system, frames, ATOMS_PER_CHUNK, _options(found), labels)

    reports: list[SystemReport] = []
    parts: list[list[Comparison]] = []
    number = 0
    for chunk in chunks(tested(), ATOMS_PER_CHUNK):
        arrays = [piece.read() for piece in chunk]
        out = pot.evaluate(**structures(chunk, arrays), **chunk[0].options)
        for piece, own, predicted in zip(chunk, arrays, per_piece(out, chunk), strict=True):
            if len(piece.frames):
                found = _compared(piece.system, quantities, specs)
                parts.append(_compare(pot, piece, own, predicted, found))
                number += len(piece.frames)
            if piece.last:
                reports.append(_report(piece.system, number, parts))
                parts, number = [], 0
                if progress is not None:
                    progress(reports[-1])
    return TestReport(tuple(reports), {quantity.name: quantity for quantity in quantities})


def _requirements(model: ModelConfig, quantities: Sequence[Quantity], of_atoms: str) -> tuple[LabelSpec, ...]:
    """The arrays to read: labels, those of the atoms required if they are compared, and inputs of the model."""
    specs = model_labels(model, [quantity.label for quantity in quantities])
    advice = "test without the values of the atoms"
    return tuple(replace(spec, required=True, advice=advice) if spec.name == of_atoms else spec for spec in specs)


def _opened(
    type_map: Sequence[str], systems: str | Path | System | Sequence[str | Path | System], specs: Sequence[LabelSpec]
) -> Iterable[System]:
    entries = [systems] if isinstance(systems, (str, Path, System)) else list(systems)
    if not entries:
        raise DataError("no system to test on; name at least one data directory")
    for entry in entries:
        if isinstance(entry, System):
            yield entry
        else:
            for path in find_systems(str(entry)):
                yield from open_systems(path, type_map, specs, str(path))


def _nothing_to_compare(system: System, quantities: Sequence[Quantity], specs: Sequence[LabelSpec]) -> DataError:
    labels = {quantity.label for quantity in quantities}
    files = ", ".join(spec.file_names for spec in specs if spec.name in labels)
    return DataError(
        f"{system.name}: found none of {files} in its sets; there is nothing to compare with. Add a label, or leave the "
        "system out."
    )


def _compared(system: System, quantities: Sequence[Quantity], specs: Sequence[LabelSpec]) -> list[Quantity]:
    """What can be compared of a system."""
    found = [quantity for quantity in quantities if system.found.get(quantity.label)]
    if not found:
        raise _nothing_to_compare(system, quantities, specs)
    return [quantity for quantity in found if system.periodic or not quantity.needs_cell]


def _options(quantities: Sequence[Quantity]) -> dict[str, bool]:
    """Options of ``evaluate`` that the quantities need."""
    options = {"atomic": True} if any(quantity.on_demand for quantity in quantities) else {}
    return options | ({"hessian": True} if any(quantity.atoms == "pairs" for quantity in quantities) else {})


def _report(system: System, number: int, parts: Sequence[Sequence[Comparison]]) -> SystemReport:
    """Of a system, from the comparisons of its pieces."""
    joined = (Comparison.joined(same) for same in zip(*parts, strict=True))
    comparisons = {comparison.quantity.name: comparison for comparison in joined if comparison.reference.size}
    return SystemReport(system.name, number, system.n_atom, comparisons)


def _compare(
    pot: Any, piece: Piece, arrays: dict[str, np.ndarray], out: dict[str, np.ndarray], quantities: Sequence[Quantity]
) -> list[Comparison]:
    """Compares some frames of one system, quantity by quantity."""
    system, types = piece.system, arrays["types"]
    _check_finite(system, piece.frames, out)
    place = system.places
    real = (types >= 0)[:, place]
    carries = np.array([scale != 0.0 for scale in pot.config.virtual_scale] or [False] * len(pot.type_map))
    structures = Structures(
        real=real,
        counted=real & ~np.isin(types, pot.config.silent_types)[:, place],
        magnetic=real & carries[types][:, place],
        volume=np.abs(np.linalg.det(arrays["box"].reshape(-1, 3, 3))) if system.periodic else None,
    )

    def rows(quantity: Quantity, values: np.ndarray) -> np.ndarray:
        if quantity.atoms == "pairs":
            values = values.reshape(-1, system.n_atom, 3, system.n_atom, 3)[:, :, :, place]
        return quantity.rows(values if quantity.atoms is None else values[:, place], structures)

    return [Comparison(q, rows(q, arrays[q.label]), rows(q, out[q.output])) for q in quantities]


def _check_finite(system: System, frames: np.ndarray, out: dict[str, np.ndarray]) -> None:
    for name, values in out.items():
        bad = ~np.isfinite(values.reshape(len(frames), -1)).all(axis=1)
        if bad.any():
            raise NonFiniteError(
                f"{system.name}, frame {frames[bad.argmax()]}: the predicted {name} is not finite; "
                "look at that structure, and at the learning curve of the model"
            )
