"""Files of DeePMD-kit's NVNMD: a dictionary in a ``.npy`` file, as the only entry of an array of Python objects, or in ``.json``.

Such an array is a pickle, which could name any Python function; the reader here knows those that rebuild NumPy's arrays and
numbers, and refuses everything else.  So no code of a file runs, whoever wrote it.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import ModelError, OutputError

_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = ("ndarray", "dtype", "_reconstruct", "scalar")


class _Unpickler(pickle.Unpickler):
    """What makes arrays and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Callable:
        """The function of a name in a file.

        Raises:
            UnpicklingError: it is another one.
        """
        if module == "_codecs" and name == "encode":  # bytes in old pickles
            return lambda text, encoding: text.encode("latin1")
        if module not in _MODULES or name not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
        if module == "numpy":
            return getattr(np, name)
        reconstruct, _ = np.empty(0).__reduce__()[:2]
        scalar, _ = np.float64(0.0).__reduce__()[:2]
        return {"_reconstruct": reconstruct, "scalar": scalar}[name]


def read_dictionary(path: str | PathLike) -> dict[str, Any]:
    """The dictionary in a file.

    Args:
        path: JSON if it ends in ``.json``, else as ``numpy.save`` writes an array of objects.

    Raises:
        ModelError: there is no file, or it holds something else.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text()) if path.suffix == ".json" else _object(path)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; expected one that a training for the NVNMD hardware has written"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, IndexError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path}: not a dictionary of arrays ({error}); expected what a training for the NVNMD hardware writes"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: found {type(found).__name__}, expected a dictionary")
    return found


def _object(path: Path) -> Any:
    """The only entry of an array of objects."""
    with path.open("rb") as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject or shape != (1,):
            raise ValueError(f"it holds numbers of shape {shape}")
        return _Unpickler(file).load()[0]


def write_dictionary(path: str | PathLike, content: dict[str, Any]) -> None:
    """Write a dictionary, as :func:`read_dictionary` reads it and DeePMD-kit, too.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(content, indent=4) + "\n")
            return
        entry = np.empty(1, object)
        entry[0] = content
        with path.open("wb") as file:
            np.save(file, entry, allow_pickle=True)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error.strerror or error})") from error
