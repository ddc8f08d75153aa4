"""dpjax: train, run and ship Deep Potential models in JAX.

The names of the public interface are loaded when they are first used, so that ``import dpjax`` is quick and changes no setting.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpjax.interfaces.files import build, load, save
    from dpjax.interfaces.potential import Potential
    from dpjax.interfaces.train import train

__version__ = "0.1.0"
__all__ = ["Potential", "build", "load", "save", "train"]

_HOME = {
    "Potential": "dpjax.interfaces.potential",
    "build": "dpjax.interfaces.files",
    "load": "dpjax.interfaces.files",
    "save": "dpjax.interfaces.files",
    "train": "dpjax.interfaces.train",
}
_PACKAGES = ("config", "data", "export", "interop", "losses", "neighbors", "optimizers", "schedules")


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"dpjax.{name}")
    raise AttributeError(f"module 'dpjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_PACKAGES])
