"""Features of all structures of data systems in files: a ``.npy`` file for each system, or one HDF5 file.

Names, shapes and contents are those of DeePMD-kit's ``dp eval-desc`` and ``dp embed``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dpjax.data import System, find_systems, model_labels, open_systems
from dpjax.data.labels import DESCRIPTOR_INPUTS, INPUTS
from dpjax.errors import DataError, OutputError
from dpjax.interfaces.features import DESCRIPTOR, LAST_LAYER, structural
from dpjax.interfaces.potential import Potential

ATOMS_PER_CHUNK = 20_000  # frames are read, evaluated and written in chunks of about this many atoms
COMPRESSED = {"compression": "gzip", "compression_opts": 9, "shuffle": True}  # of arrays in HDF5 files
Systems = str | Path | Sequence[str | Path]


def write_feature_files(
    potential: Potential, systems: Systems, folder: str | Path, name: str = DESCRIPTOR, dtype: Any = None
) -> Iterator[tuple[System, Path, tuple[int, ...]]]:
    """Write a feature of every system to ``folder``, atoms in the order of the data.

    Args:
        systems: paths; a path is searched for systems below it.
        folder: made where it is missing.  Files are called like the systems; a name that was taken in this call gets a number.
        name: ``descriptor`` or ``fitting_last_layer``.
        dtype: of the numbers; None: as ``Potential.features`` gives them.

    Yields:
        Each system when it is done, its file, and the shape of the array: (n_frame, n_atom, dim).

    Raises:
        DataError: a path without systems, or a system that lacks parameters that the last layer needs.
        OutputError: a file cannot be written.
    """
    folder, taken = Path(folder), set()
    for system in _opened(potential, systems, (name,)):
        path = folder / f"{_free_name(system, taken)}.npy"
        shape, array = (system.n_frame, system.n_atom, potential.feature_width(name)), None
        with _writing(path) as unfinished:
            for frames, features in _chunks(potential, system, (name,)):
                if array is None:
                    array = np.lib.format.open_memmap(unfinished, "w+", dtype or features[name].dtype, shape)
                array[frames] = features[name]
            array.flush()
        yield system, path, shape


def write_embedding_file(
    potential: Potential, systems: Systems, path: str | Path, dtype: Any = np.float32
) -> Iterator[tuple[System, str, dict[str, tuple[int, ...]]]]:
    """Write descriptors, last hidden layers and their sums over the atoms of each frame to one HDF5 file.

    The file has ``type_map`` among its attributes and a group for each system, called as in :func:`write_feature_files`, with its
    path in ``system`` and its frames in ``nframes``.  In a group are ``descriptor`` (n_frame, n_atom, dim), ``atomic_feature``
    (n_frame, n_atom, width), ``structural_feature`` (n_frame, width) and ``atom_types`` (n_frame, n_atom).

    Args:
        systems, dtype: as for :func:`write_feature_files`.
        path: of the file.

    Yields:
        Each system when it is done, the name of its group, and the shapes of its arrays.

    Raises:
        DataError, OutputError: as for :func:`write_feature_files`.
    """
    taken: set[str] = set()
    with _writing(Path(path)) as unfinished, h5py.File(unfinished, "w") as file:
        file.attrs["type_map"] = np.array(potential.type_map, dtype=h5py.string_dtype())
        for system in _opened(potential, systems, (DESCRIPTOR, LAST_LAYER)):
            name = _free_name(system, taken)
            group = file.create_group(name)
            group.attrs["nframes"], group.attrs["system"] = system.n_frame, system.name
            for frames, features in _chunks(potential, system, (DESCRIPTOR, LAST_LAYER)):
                own = _embeddings(potential, features, system.frames_types(frames)[:, system.places])
                for key, values in own.items():
                    if key not in group:
                        shape, kind = (
                            (system.n_frame, *values.shape[1:]),
                            values.dtype if key == "atom_types" else dtype,
                        )
                        group.create_dataset(key, shape, kind or values.dtype, **COMPRESSED)
                    group[key][frames] = values
            yield system, name, {key: array.shape for key, array in group.items()}


def _embeddings(potential: Potential, features: dict[str, np.ndarray], types: np.ndarray) -> dict[str, np.ndarray]:
    """What a group holds, of some frames."""
    return {
        "descriptor": features[DESCRIPTOR],
        "atomic_feature": features[LAST_LAYER],
        "structural_feature": structural(potential, features[LAST_LAYER], types),
        "atom_types": types.astype(np.int32),
    }


def _opened(potential: Potential, systems: Systems, names: Sequence[str]) -> Iterator[System]:
    """The systems, with the inputs that the model needs for these features."""
    every = LAST_LAYER in names or potential.model.sees_parameters
    specs = model_labels(potential.config, inputs=INPUTS if every else DESCRIPTOR_INPUTS)
    for entry in [systems] if isinstance(systems, (str, Path)) else systems:
        for path in find_systems(str(entry)):
            for system in open_systems(path, potential.type_map, specs, str(path)):
                if not system.n_frame:
                    raise DataError(f"{system.name}: holds no frame; leave the system out")
                yield system


def _chunks(
    potential: Potential, system: System, names: Sequence[str]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Numbers of frames and their features, atoms in the order of the files."""
    for frames in system.portions(ATOMS_PER_CHUNK):
        arrays = system.arrays(frames, ["coord", "box", *system.inputs])
        cell = arrays["box"].reshape(-1, 3, 3) if system.periodic else None
        given = {name: arrays[name] for name in system.inputs}
        found = potential.features(arrays["coord"], system.frames_types(frames), cell, **given, names=names)
        yield frames, {name: values[:, system.places] for name, values in found.items()}


def _free_name(system: System, taken: set[str]) -> str:
    """What the system is called, without the folders above it; a number makes names different."""
    base = os.path.basename(system.name.rstrip("/").partition("#/")[2] or system.name.rstrip("/"))
    base = base if base not in ("", ".", "..") else Path(system.name).resolve().name or "system"
    name, number = base, 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A path to write to, which gets the name ``path`` when all is written; the file is dropped where it is not."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write features: {error.strerror or error}") from error
