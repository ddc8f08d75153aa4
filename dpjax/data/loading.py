"""From the ``systems`` of an input file to opened systems."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from dpjax.data.finding import find_systems
from dpjax.data.labels import LabelSpec
from dpjax.data.system import System, open_systems, require_label
from dpjax.data.threads import default_workers, in_portions
from dpjax.data.waiting import shown


class DataSource(Protocol):
    """The part of a data configuration that says where the systems are."""

    systems: str | Sequence[str]
    rglob_patterns: Sequence[str] | None


def load_systems(
    data_config: DataSource,
    type_map: Sequence[str],
    labels: Iterable[LabelSpec],
    base: str | Path = ".",
    *,
    required: Iterable[str] = (),
    required_somewhere: Iterable[str] = (),
    skip_bad_frames: bool = False,
    progress: bool = True,
) -> list[System]:
    """Opens all systems of a data section.

    Args:
        data_config: has ``systems`` and ``rglob_patterns``.
        type_map: the model's elements.
        labels: arrays to make available.
        base: directory that relative paths start from.
        required: labels that every system must have (their prefactor is not zero).
        required_somewhere: labels that at least one system must have; systems without it take no part in that term.
        skip_bad_frames: leave out frames that cannot be read, where frames are stored one by one.
        progress: show how far it is where it takes long.

    Raises:
        DataError: as ``find_systems`` and ``open_system``, or a label that is needed is missing.
    """
    specs = {spec.name: spec for spec in labels}
    root = "" if str(base) == "." else f"{base}/"
    paths = [str(path) for path in find_systems(data_config.systems, data_config.rglob_patterns, base)]

    def opened(path: str) -> list[System]:
        place = path if os.path.isabs(path) else f"{root}{path}"
        return open_systems(place, type_map, specs.values(), path, skip_bad_frames=skip_bad_frames)

    each = shown(in_portions(opened, paths, default_workers()), len(paths), "opening systems", progress)
    systems = [system for found in each for system in found]
    for name in required:
        for system in systems:
            require_label(system, specs[name])
    for name in required_somewhere:
        _require_somewhere(systems, specs[name])
    return systems


def _require_somewhere(systems: list[System], spec: LabelSpec) -> None:
    lacking = [system for system in systems if not system.found[spec.name]]
    if len(lacking) == len(systems):
        require_label(systems[0], spec)
    if lacking:
        warnings.warn(
            f"{len(lacking)} of {len(systems)} systems have no {spec.file_names} (the first: {lacking[0].name}); "
            f"they take no part in the `{spec.name}` term of the loss.",
            stacklevel=3,
        )
