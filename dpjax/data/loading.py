"""From the ``systems`` of an input file to opened systems."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from dpjax.data.labels import LabelSpec
from dpjax.data.reader import is_hdf5, is_lmdb
from dpjax.data.system import System, open_system, require_label
from dpjax.errors import DataError


class DataSource(Protocol):
    """The part of a data configuration that says where the systems are."""

    systems: str | Sequence[str]
    rglob_patterns: Sequence[str] | None


def find_systems(
    systems: str | Path | Sequence[str | Path],
    rglob_patterns: Sequence[str] | None = None,
    base: str | Path = ".",
) -> list[Path]:
    """Finds the system directories below each entry.

    Args:
        systems: one path or several. Each is searched for directories holding ``type.raw``: those below it sorted by
            path, the directory itself last. Entries keep their order.
        rglob_patterns: glob patterns; given, only directories below an entry that match one of them count.
        base: directory that relative entries start from.

    Returns:
        Paths as given, joined with what was found below them; relative ones are still relative to ``base``.

    Raises:
        DataError: no entries, an entry does not exist, or nothing was found.
    """
    entries = [systems] if isinstance(systems, (str, Path)) else list(systems)
    if not entries:
        raise DataError("`systems` is an empty list; expected at least one data directory. Name one.")
    found: list[Path] = []
    for entry in map(Path, entries):
        below = _search(Path(base) / entry, rglob_patterns)
        if not below and not rglob_patterns:
            raise _nothing_found(Path(base) / entry)
        found += [entry / part for part in below]
    if not found:
        raise DataError(
            f"no directory with type.raw below {', '.join(map(str, entries))} matches rglob_patterns "
            f"{list(rglob_patterns or ())}. Patterns name directories, for example `**/train*`."
        )
    return found


def load_systems(
    data_config: DataSource,
    type_map: Sequence[str],
    labels: Iterable[LabelSpec],
    base: str | Path = ".",
    *,
    required: Iterable[str] = (),
    required_somewhere: Iterable[str] = (),
) -> list[System]:
    """Opens all systems of a data section.

    Args:
        data_config: has ``systems`` and ``rglob_patterns``.
        type_map: the model's elements.
        labels: arrays to make available.
        base: directory that relative paths start from.
        required: labels that every system must have (their prefactor is not zero).
        required_somewhere: labels that at least one system must have; systems without it take no part in that term.

    Raises:
        DataError: as ``find_systems`` and ``open_system``, or a label that is needed is missing.
    """
    specs = {spec.name: spec for spec in labels}
    root = Path(base)
    paths = find_systems(data_config.systems, data_config.rglob_patterns, root)
    systems = [open_system(root / path, type_map, specs.values(), str(path)) for path in paths]
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


def _search(root: Path, patterns: Sequence[str] | None) -> list[Path]:
    """Systems below ``root`` as paths relative to it."""
    if is_hdf5(root) or is_lmdb(root):
        return [Path()]
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; expected a system or a folder of systems. Correct `systems`.")
    if patterns:
        matches = {path for pattern in patterns for path in root.rglob(pattern) if _is_system(path)}
        return sorted(path.relative_to(root) for path in matches)
    below = sorted(path.relative_to(root) for path in _folders(root) if _is_system(path))
    return [*below, Path()] if _is_system(root) else below


def _folders(root: Path) -> Iterable[Path]:
    for parent, names, _ in os.walk(root):
        names[:] = [name for name in names if not name.startswith("set.")]  # big, and never hold systems
        yield from (Path(parent) / name for name in names)


def _is_system(path: Path) -> bool:
    return (path / "type.raw").is_file()


def _nothing_found(root: Path) -> DataError:
    file = root / "type.raw"
    return DataError(
        f"{file} is missing, and no directory below {root} has one (found: "
        f"{', '.join(sorted(entry.name for entry in root.iterdir())[:8]) or 'nothing'}). "
        "Expected deepmd/npy systems: type.raw (one integer type per atom) and set.*/coord.npy."
    )
