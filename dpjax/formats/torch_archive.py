"""PyTorch's files read without PyTorch: what ``torch.save`` and ``torch.jit.save`` wrote, as plain data with NumPy arrays.

Both write a zip archive: ``data.pkl`` holds the structure, ``data/<key>`` the bytes of each storage.  The structure is a pickle,
which could name any Python function; the reader here knows the few that rebuild tensors and containers, and puts an inert
:class:`Unknown` in the place of everything else.  So no code of a file runs, whoever wrote it.
"""

from __future__ import annotations

import collections
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import ModelError

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_DECLARED = re.compile(r"__(?:parameters|buffers)__ = \[(.*?)\]", re.DOTALL)


class Unknown:
    """What stands for an object of a class that the reader does not rebuild; it swallows its contents."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Unknown:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Drops an item of a list."""

    def extend(self, items: Any) -> None:
        """Drops items of a list."""


class ScriptModule:
    """A module of a TorchScript archive: its attributes, and the names of those that are parameters or buffers."""

    attributes: dict[str, Any]
    qualified_name: str

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)


class _Storage:
    """A dtype by the name of its storage class; ``torch.load`` never makes an instance while unpickling."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


def _rebuild_tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """A tensor as an array of its own.

    Raises:
        ValueError: it reaches beyond its storage.
    """
    if any(n < 0 for n in (offset, *size, *stride)):
        raise ValueError("a tensor has a negative size")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and last >= storage.size:
        raise ValueError(f"a tensor of shape {tuple(size)} reaches beyond its {storage.size} stored numbers")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps).copy()


def _first(value: Any, *_: Any) -> Any:
    return value


_KNOWN: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch", "Size"): tuple,
    ("torch.jit._pickle", "build_intlist"): list,
    ("torch.jit._pickle", "build_doublelist"): list,
    ("torch.jit._pickle", "build_boollist"): list,
    ("torch.jit._pickle", "build_tensorlist"): list,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and containers, and nothing else."""

    def __init__(self, archive: _Archive) -> None:
        super().__init__(archive.open("data.pkl"), encoding="utf-8")
        self._archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module.startswith("__torch__"):
            return type(name, (ScriptModule,), {"qualified_name": f"{module}.{name}"})
        if module == "torch" and name in _STORAGES:
            return _Storage(np.dtype(_STORAGES[name]))
        if module == "torch" and name == "BFloat16Storage":
            import ml_dtypes

            return _Storage(np.dtype(ml_dtypes.bfloat16))
        return Unknown

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"cannot read storages of kind {getattr(storage, '__name__', storage)!r}")
        return self._archive.array(key, storage.dtype, count)


class _Archive:
    """The zip file and the folder inside it that all of its entries share."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        roots = [name.removesuffix("data.pkl") for name in file.namelist() if name.endswith("/data.pkl")]
        if not roots:
            raise ValueError("the archive has no data.pkl")
        self.root = min(roots, key=len)
        order = self.root + "byteorder"
        self._big = order in file.namelist() and file.read(order).strip() == b"big"
        self._arrays: dict[str, np.ndarray] = {}

    def open(self, name: str):
        """An entry as a stream."""
        return self._file.open(self.root + name)

    def array(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        """A storage; read once, however many tensors look into it."""
        if key not in self._arrays:
            data = self._file.read(f"{self.root}data/{key}")
            found = np.frombuffer(data, dtype.newbyteorder(">") if self._big else dtype)
            if found.size < count:
                raise ValueError(f"storage {key} has {found.size} numbers, {count} were expected")
            self._arrays[key] = found[:count].astype(dtype)
        return self._arrays[key]

    def declared(self, qualified_name: str) -> set[str]:
        """Names of the parameters and buffers that the code of a TorchScript class declares."""
        path, _, name = qualified_name.rpartition(".")
        entry = f"{self.root}code/{path.replace('.', '/')}.py"
        code = self._file.read(entry).decode("utf-8", "replace")
        found = re.search(rf"^class {re.escape(name)}\b.*?(?=^class |\Z)", code, re.DOTALL | re.MULTILINE)
        text = "".join(_DECLARED.findall(found.group())) if found else ""
        return set(re.findall(r'"([^"]+)"', text))


def read_torch(path: str | os.PathLike) -> Any:
    """What ``torch.save`` stored: dicts, lists, numbers, texts, and tensors as arrays.

    Raises:
        ModelError: the file is missing, damaged or not such an archive.
    """
    return _read(Path(path), lambda archive: _Unpickler(archive).load())


def read_script(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """State and plain attributes of a module that ``torch.jit.save`` stored.

    Returns:
        (state, attributes): parameters and buffers by their dotted names, as ``state_dict`` of the module has them, and the other
        attributes of the module itself (not of those inside it).

    Raises:
        ModelError: the file is missing, damaged or not such an archive.
    """

    def read(archive: _Archive) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        module = _Unpickler(archive).load()
        if not isinstance(module, ScriptModule):
            raise ValueError("it holds no TorchScript module")
        state: dict[str, np.ndarray] = {}
        _collect(module, "", archive, state)
        plain = {key: value for key, value in module.attributes.items() if not isinstance(value, ScriptModule)}
        return state, plain

    return _read(Path(path), read)


def _collect(module: ScriptModule, prefix: str, archive: _Archive, state: dict[str, np.ndarray]) -> None:
    own = archive.declared(module.qualified_name)
    for name, value in module.attributes.items():
        if isinstance(value, ScriptModule):
            _collect(value, f"{prefix}{name}.", archive, state)
        elif name in own and isinstance(value, np.ndarray):
            state[prefix + name] = value


def _read(path: Path, read: Callable[[_Archive], Any]) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with zipfile.ZipFile(path) as file:
            return read(_Archive(file))
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{path}: not a readable PyTorch file ({reason}). Expected the zip archive that torch.save or torch.jit.save of "
            "PyTorch 1.6 or later writes; if a copy was interrupted, copy the file again."
        ) from error
