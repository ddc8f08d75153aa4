"""Models as they are named on the command line: also DeePMD-kit's way, by what the names of its checkpoints begin with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_head_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option that chooses a branch; a model without branches refuses it by name when it is loaded."""
    parser.add_argument("--head", "--model-branch", metavar="NAME", help="branch of a model that has several")


def load_model(path: str, head: str | None = None) -> Any:
    """The ``dpjax.Potential`` of a file, a checkpoint, or a prefix of checkpoints."""
    import dpjax

    return dpjax.load(checkpoint(path), **({"head": head} if head else {}))


def branch_names(path: str) -> tuple[str, ...]:
    """Names of the branches of what :func:`load_model` reads; none for a single model, or where there is no model."""
    from dpjax.interfaces.files import branches

    found = Path(checkpoint(path))
    return () if found.is_dir() and not any(found.iterdir()) else branches(found, aliases=False)


def checkpoint(path: str) -> str:
    """The newest checkpoint ``PATH-<step>`` if nothing has the name ``PATH`` itself and there is one; else the path as it is."""
    prefix = Path(path)
    if prefix.exists() or not any(prefix.parent.glob(f"{prefix.name}-*")):
        return path
    from dpjax.checkpoints import CheckpointStore

    store = CheckpointStore(prefix.parent, prefix.name)
    step = store.latest_step()
    return path if step is None else str(store.path(step))
