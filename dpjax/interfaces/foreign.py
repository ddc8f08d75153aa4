"""Models in the files of DeePMD-kit, as ``dpjax.load`` meets them: what a path is, which branches it has, what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpjax.checkpoints import POINTER, is_checkpoint
from dpjax.config import ModelConfig
from dpjax.errors import ModelError
from dpjax.formats import read_model_tree
from dpjax.formats.dp import HDF5_SUFFIXES, YAML_SUFFIXES
from dpjax.interop import branch_tree, read_model, tree_branches
from dpjax.interop.branches import chosen
from dpjax.interop.checkpoint_files import CHECKPOINT_SUFFIXES, FOREIGN_SUFFIXES, branch_names, read_checkpoint_file

TREE_SUFFIXES = HDF5_SUFFIXES + YAML_SUFFIXES
READ_SUFFIXES = TREE_SUFFIXES + CHECKPOINT_SUFFIXES


def is_own_folder(path: Path) -> bool:
    """Whether a path is a folder and none of those that DeePMD-kit writes as a model."""
    return path.is_dir() and (path.suffix not in CHECKPOINT_SUFFIXES + FOREIGN_SUFFIXES or is_checkpoint(path))


def newest_of_deepmd_kit(path: Path) -> Path:
    """The checkpoint that DeePMD-kit wrote last, of a folder it trained in; else the path as it is."""
    pointer = path / POINTER
    if not pointer.is_file():
        return path
    newest = path / pointer.read_text(errors="replace").strip()
    return newest if newest.suffix in CHECKPOINT_SUFFIXES and newest.exists() else path


def read(path: Path, head: str | None) -> tuple[ModelConfig, dict]:
    """Configuration and variables of a file whose name ends in one of ``READ_SUFFIXES``.

    Raises:
        ModelError: it is missing or damaged, holds a model that is not built yet, or has no such branch.
    """
    if path.suffix in CHECKPOINT_SUFFIXES:
        return read_checkpoint_file(path, head)
    return _located(path, lambda: read_model(_chosen_tree(path, head)))


def branches(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the branches of a file with their aliases; none of a single model, or of a file that does not exist.

    Raises:
        ModelError: the file is damaged.
    """
    if path.suffix not in READ_SUFFIXES or not path.exists():
        return {}
    return branch_names(path) if path.suffix in CHECKPOINT_SUFFIXES else tree_branches(read_model_tree(path))


def refuse_to_read(path: Path) -> None:
    """Raises ModelError for a file that only DeePMD-kit reads, with the command that makes another of it."""
    if path.suffix in FOREIGN_SUFFIXES:
        raise ModelError(
            f"{path}: only DeePMD-kit itself reads such a file. Convert it there, with the backend that wrote it: "
            f"dp convert-backend {path.name} {path.stem}.dp"
        )


def refuse_to_write(path: Path) -> None:
    """Raises ModelError for a file that only DeePMD-kit writes, with the commands that make it."""
    if path.suffix in CHECKPOINT_SUFFIXES + FOREIGN_SUFFIXES:
        raise ModelError(
            f"{path}: dpjax writes .dp and .yaml files, and DeePMD-kit makes this one of them: write {path.stem}.dp, then "
            f"dp convert-backend {path.stem}.dp {path.name}"
        )


def _chosen_tree(path: Path, head: str | None) -> dict:
    """The tree of a model file, or that of one of its branches."""
    tree = read_model_tree(path)
    name = chosen(tree_branches(tree), head, path)
    return branch_tree(tree, name) if name else tree


def _located(path: Path, read: Callable[[], Any]) -> Any:
    """The message of a damaged or foreign model always starts with its file."""
    try:
        return read()
    except (ModelError, KeyError, TypeError) as error:
        text = str(error) if isinstance(error, ModelError) else f"the model tree lacks or misuses {error}"
        raise ModelError(text if text.startswith(str(path)) else f"{path}: {text}") from error
