"""How far a model is from labels: it is evaluated on data systems and what it predicts is compared number by number.

What is compared follows from the model's output (``quantities``): energy and virial in eV, force in eV/angstrom, stress
in eV/angstrom^3 (= -virial / volume), second derivatives of the energy in eV/angstrom^2; dipoles, polarizabilities, densities of
states and properties in the unit of their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.data import LabelSpec, System, find_systems, label_requirements, open_systems
from dpjax.errors import DataError, NonFiniteError
from dpjax.interfaces.quantities import Quantity, Structures, quantities_of
from dpjax.interfaces.reports import Comparison, SystemReport, TestReport

ATOMS_PER_CHUNK = 20_000  # frames are read and evaluated in chunks of about this many atoms
_INPUTS = ("fparam", "aparam")


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
        pot: a ``Potential``: its ``type_map`` and ``evaluate`` are used, and what its configuration says of the fitting net.
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
    quantities = quantities_of(output, atomic)
    specs = _requirements(pot.config.fitting_net, quantities, output.atom_label)
    reports = []
    order = np.random.default_rng(shuffle_seed).permutation if shuffle_seed is not None else np.arange
    for system in _opened(pot.type_map, systems, specs):
        found = [quantity for quantity in quantities if system.found.get(quantity.label)]
        if not found:
            raise _nothing_to_compare(system, quantities, specs)
        frames = order(system.n_frame)[: n_frames or system.n_frame]
        reports.append(_test_system(pot, system, frames, found))
        if progress is not None:
            progress(reports[-1])
    return TestReport(tuple(reports), {quantity.name: quantity for quantity in quantities})


def _requirements(fitting: Any, quantities: Sequence[Quantity], of_atoms: str) -> tuple[LabelSpec, ...]:
    """The arrays to read: labels, those of the atoms required if they are compared, and inputs of the model."""
    specs = label_requirements(
        [quantity.label for quantity in quantities],
        fitting.output,
        numb_fparam=fitting.numb_fparam,
        numb_aparam=fitting.numb_aparam,
        default_fparam=fitting.default_fparam,
        selected=getattr(fitting, "sel_type", None),
    )
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


def _test_system(pot: Any, system: System, frames: np.ndarray, quantities: Sequence[Quantity]) -> SystemReport:
    chunk = max(1, ATOMS_PER_CHUNK // max(system.n_atom, 1))
    if not system.periodic:
        quantities = [quantity for quantity in quantities if not quantity.needs_cell]
    parts = [_compare(pot, system, frames[i : i + chunk], quantities) for i in range(0, len(frames), chunk)]
    joined = (Comparison.joined(same) for same in zip(*parts, strict=True))
    comparisons = {comparison.quantity.name: comparison for comparison in joined if comparison.reference.size}
    return SystemReport(system.name, len(frames), system.n_atom, comparisons)


def _compare(pot: Any, system: System, frames: np.ndarray, quantities: Sequence[Quantity]) -> list[Comparison]:
    """Compares some frames of one system, quantity by quantity."""
    inputs = [name for name in _INPUTS if name in system.labels]
    labels = dict.fromkeys(quantity.label for quantity in quantities)
    arrays = system.arrays(frames, ["coord", "box", *labels, *inputs])
    types = np.stack([system.frame_types(i) for i in frames])
    cell = arrays["box"].reshape(-1, 3, 3) if system.periodic else None
    options = {"atomic": True} if any(quantity.on_demand for quantity in quantities) else {}
    options |= {"hessian": True} if any(quantity.atoms == "pairs" for quantity in quantities) else {}
    out = pot.evaluate(arrays["coord"], types, cell, **{name: arrays[name] for name in inputs}, **options)
    _check_finite(system, frames, out)
    place = system.places
    real = (types >= 0)[:, place]
    structures = Structures(
        real=real,
        counted=real & ~np.isin(types, pot.config.silent_types)[:, place],
        volume=None if cell is None else np.abs(np.linalg.det(cell)),
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
