"""Weight maps between our parameter trees and other programs' model files, one file per component."""

import importlib

from dpjax.interop.conventions import check_conventions, check_written, unread
from dpjax.interop.standard import branch_tree, flatten, read_model, tree_branches, write_model
from dpjax.interop.weights import read_weights

__all__ = [
    "branch_tree",
    "check_conventions",
    "check_written",
    "flatten",
    "from_weights",
    "read_model",
    "read_weights",
    "tree_branches",
    "unread",
    "write_model",
]


def __getattr__(name: str):
    """``from_weights`` makes a Potential, which lives to the right of this package; it is looked up when it is used."""
    if name == "from_weights":
        return importlib.import_module("dpjax.interfaces.files").from_weights
    raise AttributeError(f"module 'dpjax.interop' has no attribute {name!r}")
