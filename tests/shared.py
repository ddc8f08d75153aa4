"""Access to the larger reference sets, which live beside a checkout and are not part of the repository, and to scripts."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_root() -> Path:
    """Folder of the larger sets: ``DPJAX_SHARED`` if set, else ``shared`` beside the checkout. May not exist."""
    return Path(os.environ.get("DPJAX_SHARED") or REPOSITORY.parent / "shared")


def shared(*parts: str) -> Path:
    """Path of a file or folder in the larger sets; skips the calling test when it is absent.

    At module level, where a skip is not possible, ask ``shared_root()`` and ``Path.exists`` instead.
    """
    path = shared_root().joinpath(*parts)
    if not path.exists():
        pytest.skip(
            f"{Path(*parts)} is not in the larger test sets ({shared_root()}); set DPJAX_SHARED to their folder"
        )
    return path


def golden(*parts: str) -> Path:
    """Path of a fixture that ships with the repository, ``tests/goldens/...``; missing is an error, never a skip."""
    path = REPOSITORY.joinpath("tests", "goldens", *parts)
    assert path.exists(), f"{path} is part of the repository and missing"
    return path


def load_script(name: str) -> ModuleType:
    """The module of ``scripts/NAME.py``; scripts that it takes functions from must have been loaded before."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
