"""The search for systems: from the entries of ``systems`` to paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dpjax.data.hdf5 import groups_with_systems, is_hdf5
from dpjax.data.lmdb import is_lmdb
from dpjax.data.xyz import is_xyz
from dpjax.errors import DataError


def find_systems(
    systems: str | Path | Sequence[str | Path],
    rglob_patterns: Sequence[str] | None = None,
    base: str | Path = ".",
) -> list[Path]:
    """Finds the systems that each entry stands for.

    Args:
        systems: one path or several. A folder is searched for directories holding ``type.raw``: those below it sorted by
            path, the directory itself last. A bare HDF5 file stands for its top-level groups with ``type.raw``; other files,
            LMDB environments and ``file.h5#/group`` are taken as they are. Entries keep their order.
        rglob_patterns: glob patterns; given, only directories below a folder that match one of them count.
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
        root = Path(base) / entry
        if is_hdf5(str(root)):
            found += (
                [entry] if "#" in str(entry) else [Path(f"{entry}#{group}") for group in groups_with_systems(str(root))]
            )
        elif is_lmdb(str(root)) or is_xyz(str(root)):
            found.append(entry)
        else:
            below = _search(root, rglob_patterns)
            if not below and not rglob_patterns:
                raise _nothing_found(root)
            found += [entry / part for part in below]
    if not found:
        raise DataError(
            f"no directory with type.raw below {', '.join(map(str, entries))} matches rglob_patterns "
            f"{list(rglob_patterns or ())}. Patterns name directories, for example `**/train*`."
        )
    return found


def _search(root: Path, patterns: Sequence[str] | None) -> list[str]:
    """Systems below ``root`` as paths relative to it, ``""`` for itself."""
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; expected a system or a folder of systems. Correct `systems`.")
    if patterns:
        matches = {path for pattern in patterns for path in root.rglob(pattern) if (path / "type.raw").is_file()}
        return [str(path.relative_to(root)) for path in sorted(matches)]
    below: list[str] = []
    _walk(str(root), "", below)
    return [*sorted(below, key=lambda part: part.split(os.sep)), *([""] if (root / "type.raw").is_file() else [])]


def _walk(folder: str, part: str, found: list[str]) -> None:
    """Adds the systems strictly below a folder; a linked directory may be one, but is not searched."""
    try:
        with os.scandir(folder) as entries:  # sets are big, and never hold systems
            inside = [entry for entry in entries if not entry.name.startswith("set.") and entry.is_dir()]
    except OSError as error:
        raise DataError(
            f"{folder} cannot be searched for systems ({error.strerror}). Check its permissions."
        ) from error
    for entry in inside:
        below = f"{part}{entry.name}"
        if os.path.isfile(f"{entry.path}/type.raw"):
            found.append(below)
        if not entry.is_symlink():
            _walk(entry.path, f"{below}{os.sep}", found)


def _nothing_found(root: Path) -> DataError:
    file = root / "type.raw"
    return DataError(
        f"{file} is missing, and no directory below {root} has one (found: "
        f"{', '.join(sorted(entry.name for entry in root.iterdir())[:8]) or 'nothing'}). "
        "Expected deepmd/npy systems: type.raw (one integer type per atom) and set.*/coord.npy. HDF5, LMDB and extended XYZ "
        "files inside a folder are not searched: name each."
    )
