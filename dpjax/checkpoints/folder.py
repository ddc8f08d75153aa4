"""One checkpoint folder on disk, written and read by Orbax.

The arrays and the JSON description are two items of one Orbax checkpoint: Orbax writes both under a temporary name and renames the
folder when everything is on disk, so a folder with the final name is complete.  Arrays are stored and restored as numpy arrays,
hence bit by bit and whatever the x64 setting is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from dpjax.checkpoints import manifest
from dpjax.checkpoints.manifest import Tree

ARRAYS, META = "arrays", "meta"
FORMAT = 1
TEMPORARY = ".orbax-checkpoint-tmp"  # ends the name of a folder that is not complete


def write(path: Path, arrays: Tree, meta: dict[str, Any]) -> None:
    """Writes a new folder; ``path`` must not exist.  Any exception means that nothing appeared there."""
    arrays = jax.tree.map(np.asarray, jax.device_get(arrays))
    document = {"format": FORMAT, "manifest": manifest.describe(arrays), "meta": meta}
    items = {META: ocp.args.JsonSave(document)}
    stored = manifest.storable(arrays)
    if stored:
        items[ARRAYS] = ocp.args.PyTreeSave(stored)
    with _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.Composite(**items))


def read(path: Path) -> tuple[Tree, dict[str, Any]]:
    """Arrays (numpy) and description of a folder.

    Raises:
        ValueError: the folder is damaged or was written by a newer version; other exceptions of the storage also mean damage.
    """
    path = path.absolute()
    with _checkpointer() as checkpointer:
        document = checkpointer.restore(path, args=ocp.args.Composite(**{META: ocp.args.JsonRestore()}))[META]
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}, the one this version reads")
        stored = _arrays(checkpointer, path, ARRAYS) if (path / ARRAYS).exists() else {}
    return manifest.rebuild(stored, document["manifest"]), document["meta"]


def read_foreign(path: Path, arrays: str, document: str) -> tuple[Any, Any]:
    """Arrays (numpy) and JSON document of a folder that another program wrote with Orbax, on whatever devices.

    Args:
        path: of the folder.
        arrays: name of the item with the arrays.
        document: name of the item with the document.
    """
    path = path.absolute()
    with _checkpointer() as checkpointer:
        content = checkpointer.restore(path, args=ocp.args.Composite(**{document: ocp.args.JsonRestore()}))[document]
        return _arrays(checkpointer, path, arrays), content


def _arrays(checkpointer: ocp.Checkpointer, path: Path, item: str) -> Tree:
    _check_readable(path / item)
    how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), _stored_tree(path / item))
    return checkpointer.restore(path, args=ocp.args.Composite(**{item: ocp.args.PyTreeRestore(restore_args=how)}))[item]


def _check_readable(folder: Path) -> None:
    """Reads every entry of the array storage, one after the other; raises whatever the storage does when one is damaged.

    Orbax asks for all of them at once and leaves at the first failure; the others then print tracebacks on standard error.
    """
    storage = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/"}).result()
    for key in storage.list().result():
        storage.read(key).result()


def is_complete(path: Path) -> bool:
    """Whether the folder has the two parts of a checkpoint under a final name."""
    return (path / META).is_dir() and TEMPORARY not in path.name


def _checkpointer() -> ocp.Checkpointer:
    """Of this process alone: others that train with it hold the same arrays, and have folders of their own.

    Folders are there before anything is written into them; Orbax would make them meanwhile, and in one of several processes
    sometimes too late.
    """
    at_once = ocp.options.AsyncOptions(create_directories_asynchronously=False)
    own, alone = jax.process_index(), ocp.options.MultiprocessingOptions()
    if jax.process_count() > 1:
        alone = ocp.options.MultiprocessingOptions(own, {own}, f"process-{own}")
    options = ocp.CompositeOptions(multiprocessing_options=alone, async_options=at_once)
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler(composite_options=options), multiprocessing_options=alone)


def _stored_tree(folder: Path) -> Any:
    return ocp.PyTreeCheckpointHandler().metadata(folder).tree
