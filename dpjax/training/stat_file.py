"""``stat_file``: statistics of the training data kept for the next run.

A name ending in ``.h5`` or ``.hdf5`` is one HDF5 file, any other a folder with one such file for each kind of model.  Entries are
found again by what they depend on: types, cut-offs, ``sel``, exclusions, presets.  As in the input language, the data itself is not
part of that key: give another ``stat_file`` for other data.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from dpjax.config import ModelConfig
from dpjax.descriptors import members
from dpjax.errors import DataError
from dpjax.training.environment import environment_blocks

log = logging.getLogger(__name__)


def statistics_key(model: ModelConfig) -> str:
    """Name of the entry for this model's statistics: a digest of the settings they depend on."""
    descriptor, fitting = model.descriptor, model.fitting_net
    own = members(descriptor)
    names = [type(member).__name__ for member in (*([descriptor] if descriptor is not own[0] else []), *own)]
    settings = {
        "type_map": model.type_map,
        "descriptor": names,
        "blocks": [
            {name: asdict(block) for name, block in environment_blocks(member, model).items()} for member in own
        ],
        "exclusions": (model.pair_exclude_types, model.atom_exclude_types),
        "output": asdict(fitting.output),
        "bias": [getattr(fitting, name, None) for name in ("atom_ener", "rcond", "distinguish_types", "sel_type")],
        "preset": model.preset_out_bias,
        "parameters": (fitting.numb_fparam, fitting.numb_aparam, model.data_stat_protect),
    }
    if model.direct_forces:
        settings["direct_forces"] = True
    if model.modifier is not None:  # takes a correction off the labels
        settings["modifier"] = model.modifier.options
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=sorted).encode()).hexdigest()[:16]


def _location(stat_file: str, key: str) -> Path:
    path = Path(stat_file)
    return path if path.suffix in (".h5", ".hdf5") else path / f"statistics-{key}.h5"


def load_statistics(stat_file: str | None, key: str) -> dict[str, np.ndarray] | None:
    """Statistics saved earlier for this kind of model, or None.

    Raises:
        DataError: the file is there but damaged.
    """
    if stat_file is None or not _location(stat_file, key).exists():
        return None
    path = _location(stat_file, key)
    try:
        with h5py.File(path, "r") as file:
            if key not in file:
                return None
            values = {name: data[()] for name, data in file[key].items()}
    except OSError as error:
        raise DataError(
            f"training/stat_file: {path} is not a readable HDF5 file ({error}). Delete it to compute it anew."
        ) from error
    log.info("statistics of the data: read from %s", path)
    return values


def required_statistics(stat_file: str, key: str) -> dict[str, np.ndarray]:
    """Statistics saved earlier for this kind of model, for a run that may not make its own.

    Raises:
        DataError: the file is damaged, is not there, or has none for this kind of model.
    """
    found = load_statistics(stat_file, key)
    if found is None:
        path = _location(stat_file, key)
        lacking = f"holds no statistics {key} of such a model" if path.exists() else "does not exist"
        raise DataError(
            f"training/stat_file: {path} {lacking}, and with training/stat_file_mode 'read' none are computed. Run once with "
            "'update', or name another file."
        )
    return found


def save_statistics(stat_file: str | None, key: str, values: dict[str, np.ndarray]) -> None:
    """Keep statistics for the next run; a folder that cannot be written costs a warning, not the run.

    The file is completed under another name first, so that a kill leaves the earlier one or none, but no half of one.
    """
    if stat_file is None:
        return
    path = _location(stat_file, key)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            shutil.copyfile(path, unfinished)
        with h5py.File(unfinished, "a") as file:
            group = file.require_group(key)
            for name, value in values.items():
                if name not in group:
                    group.create_dataset(name, data=value)
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        log.warning(
            "training/stat_file: %s cannot be written (%s); the next run will compute the statistics again", path, error
        )
