"""LMDB environments as DeePMD-kit writes them: one MessagePack map per frame, and one with metadata.

The key of a frame is its number in the format that the metadata give (``012d``). Every array is a map of ``type`` (a numpy
dtype), ``shape`` and ``data`` (bytes). The packages lmdb and msgpack are needed.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.data.frames import Frames
from dpjax.data.labels import LabelSpec
from dpjax.data.record_checks import Record, check_frame
from dpjax.data.records import Glance, RecordSystem
from dpjax.data.stamp import Stamp, status_of
from dpjax.errors import DataError

QUICK_BYTES = 1 << 30  # environments up to this size are looked at whole when they are opened
METADATA = b"__metadata__"
_NAMES = {
    "coords": "coord", "cells": "box", "energies": "energy", "forces": "force", "virials": "virial", "atom_types": "atype",
}  # fmt: skip
_FACTS = ("atom_numbs", "atom_names", "orig")  # of a frame, not arrays
_open: dict[str, tuple[Stamp, Any]] = {}  # the library allows one handle per environment and process
_lock = threading.Lock()


def is_lmdb(path: str) -> bool:
    """Whether a path names an LMDB environment."""
    return path.endswith(".lmdb") or os.path.isfile(f"{path}/data.mdb")


def open_lmdb(path: str, specs: tuple[LabelSpec, ...], skip_bad: bool) -> list[tuple[str, RecordSystem]]:
    """The systems of an environment; see ``Frames`` for what is read and raised."""
    return Frames(LmdbStore(path), specs, skip_bad).systems()


class LmdbStore:
    """The frames of an environment (a ``RecordStore``)."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._data = f"{path}/data.mdb" if os.path.isdir(path) else path
        status = status_of(self._data)
        if status is None:
            raise DataError(f"{self._data} does not exist; expected an LMDB environment. Correct `systems`.")
        self._stamp = Stamp.of(status)
        metadata = self._metadata()
        self._count = _number(self.name, metadata, "nframes")
        self._format = metadata.get("frame_idx_fmt", "012d")
        self.type_names = _names(self.name, metadata.get("type_map"))
        self.names_file = f"{self.name} (metadata, type_map)"
        self.sizes = _per_frame(self.name, metadata, "frame_nlocs", self._count)
        origins = _per_frame(self.name, metadata, "frame_system_ids", self._count)
        self.origins = np.zeros(max(self._count, 1), int) if origins is None else origins
        self.quick = self._stamp.size <= QUICK_BYTES

    def __len__(self) -> int:
        return self._count

    def place(self, index: int) -> str:
        """See ``RecordStore``."""
        return f"{self.name}, key {self._key(index)}"

    def load(self, index: int) -> Record:
        """See ``RecordStore``."""
        packed = self._get(self._key(index).encode())
        place = self.place(index)
        if packed is None:
            raise DataError(f"{place} is missing, though the metadata promise {self._count} frames. {_REMEDY}")
        record = _arrays(place, _unpacked(place, packed))
        check_frame(place, record, None if self.type_names is None else len(self.type_names))
        return record

    def glance(self, index: int) -> Glance:
        """See ``RecordStore``."""
        record = self.load(index)
        return Glance(len(record["atype"]), set(record), record["atype"])

    def _key(self, index: int) -> str:
        try:
            return format(index, self._format)
        except (ValueError, TypeError) as cause:
            raise DataError(
                f"{self.name}: the metadata give {self._format!r} as frame_idx_fmt; expected a format such as '012d'. {_REMEDY}"
            ) from cause

    def _metadata(self) -> dict[str, Any]:
        packed = self._get(METADATA)
        if packed is None:
            raise DataError(
                f"{self.name} has no key {METADATA.decode()}; expected an environment as DeePMD-kit writes it. Convert the data."
            )
        return _unpacked(f"{self.name}, key {METADATA.decode()}", packed)

    def _get(self, key: bytes) -> bytes | None:
        """The bytes behind a key. Raises DataError: the environment changed, or is damaged."""
        lmdb = _package("lmdb")
        self._stamp.check_path(self._data)
        try:
            with _environment(self.name, self._data, self._stamp).begin() as transaction:
                return transaction.get(key)
        except lmdb.Error as cause:
            raise DataError(
                f"{self.name} ({self._stamp.size} bytes) is damaged ({cause}) at key {key.decode()}. {_REMEDY}"
            ) from cause


_REMEDY = "Copy or convert the data again; `dpjax/skip_bad_frames` leaves out frames that cannot be read."


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as cause:
        raise DataError(
            f"LMDB data need the Python package {name}, which is not installed: pip install 'dpjax[lmdb]'"
        ) from cause


def _environment(name: str, data: str, stamp: Stamp) -> Any:
    """The open environment.

    Raises:
        DataError: it cannot be opened, or is shorter than its own table says (reading on would crash the process).
    """
    lmdb = _package("lmdb")
    with _lock:
        key = str(Path(data).resolve())
        held = _open.get(key)
        if held is not None and held[0] == stamp:
            return held[1]
        if held is not None:
            _open.pop(key)[1].close()
        if stamp.size == 0:
            raise DataError(f"{data} is empty; expected an LMDB environment. {_REMEDY}")
        folder = Path(data).name == "data.mdb" and Path(name).is_dir()
        try:
            env = lmdb.open(name, readonly=True, lock=False, readahead=False, meminit=False, subdir=folder)
        except lmdb.Error as cause:
            raise DataError(f"{data} ({stamp.size} bytes) is no LMDB environment ({cause}). {_REMEDY}") from cause
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if stamp.size < needed:
            env.close()
            raise DataError(
                f"{data} is truncated: it has {stamp.size} bytes, and its table of contents speaks of {needed}. Copy or convert "
                "the data again (`mdb_copy -c` makes a complete copy of a sound environment)."
            )
        _open[key] = (stamp, env)
        return env


def _unpacked(place: str, packed: bytes) -> dict[str, Any]:
    msgpack = _package("msgpack")
    try:
        found = msgpack.unpackb(packed, raw=False, strict_map_key=False)
    except Exception as cause:  # the package has no common class of errors
        raise DataError(
            f"{place} ({len(packed)} bytes) is no MessagePack map ({cause or type(cause).__name__}). {_REMEDY}"
        ) from cause
    if not isinstance(found, dict):
        raise DataError(f"{place} holds a {type(found).__name__}; expected a MessagePack map. {_REMEDY}")
    return {_text(key): value for key, value in found.items()}


def _arrays(place: str, frame: dict[str, Any]) -> Record:
    """The arrays of a frame, flat, under the names of labels; a flag ``find_x`` of 0 takes ``x`` out."""
    record: Record = {}
    for key, value in frame.items():
        name = _NAMES.get(key, key)
        if name.startswith("atomic_"):
            name = name.replace("atomic_", "atom_", 1)
        if name not in _FACTS and value is not None:
            record[name] = _array(f"{place}, {key}", value)
    flags = [name for name in record if name.startswith("find_")]
    absent = [name.removeprefix("find_") for name in flags if not record[name].any()]
    return {name: values for name, values in record.items() if name not in flags and name not in absent}


def _array(place: str, value: Any) -> np.ndarray:
    """An array from its map, or from a plain number or list of numbers."""
    try:
        if isinstance(value, dict):
            parts = {_text(key): part for key, part in value.items()}
            values = np.frombuffer(parts["data"], np.dtype(parts["type"]).newbyteorder("<"))
            values = values.reshape(parts.get("shape", -1)).ravel()
        else:
            values = np.ravel(value)
    except (KeyError, ValueError, TypeError) as cause:
        raise DataError(
            f"{place} cannot be read as an array ({type(cause).__name__}: {cause}); expected type, shape and bytes of data. "
            f"{_REMEDY}"
        ) from cause
    if values.dtype.kind not in "fiub":
        raise DataError(f"{place} holds values of dtype {values.dtype}; expected numbers. {_REMEDY}")
    return values


def _text(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


def _number(name: str, metadata: dict[str, Any], key: str) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{name}: the metadata have {value!r} as {key}; expected the number of frames. {_REMEDY}")
    return value


def _names(name: str, names: Any) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names) or not names:
        raise DataError(f"{name}: the metadata have {names!r} as type_map; expected a list of elements. {_REMEDY}")
    return tuple(_text(n) for n in names)


def _per_frame(name: str, metadata: dict[str, Any], key: str, count: int) -> np.ndarray | None:
    """One whole number for each frame, None where the metadata have none."""
    value = metadata.get(key)
    if value is None:
        return None
    values = _array(f"{name}, metadata, {key}", value)
    if len(values) != count or values.dtype.kind not in "iu" or (count and values.min() < 0):
        raise DataError(
            f"{name}: the metadata have {len(values)} entries in {key}; expected {count} whole numbers from 0, one for each frame. "
            f"{_REMEDY}"
        )
    return values.astype(int)
