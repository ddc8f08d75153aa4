"""From the arguments of a constructor of ``deepmd.infer`` to a potential."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dpjax.errors import ModelError
from dpjax.formats import read_model_tree
from dpjax.formats.dp import HDF5_SUFFIXES, YAML_SUFFIXES
from dpjax.interfaces.files import branches, load, stored
from dpjax.interfaces.potential import Potential

NEIGHBOR_LISTS = ("auto", "vesin")  # values of nlist_backend that say how dpjax finds neighbours


def opened(model_file: str | os.PathLike | Potential, head: str | None) -> tuple[Potential, bool]:
    """The potential, and whether it was trained on Hessians, so that DeePMD-kit's ``eval`` gives them too.

    Args:
        model_file: any file or folder that ``dpjax.load`` reads, or a potential.
        head: branch of a model with several, in small or capital letters; None: a branch that is called ``Default``.

    Raises:
        ModelError: as ``dpjax.load``; a head for a potential that is loaded already.
    """
    if isinstance(model_file, Potential):
        if head is not None:
            raise ModelError(f"head {head!r}: the potential is loaded already; give its head to dpjax.load")
        return model_file, False
    branch = _branch(model_file, head)
    potential = load(model_file, head=branch)
    return potential, _has_hessian(Path(model_file), branch)


def _branch(path: str | os.PathLike, head: str | None) -> str | None:
    """The spelling of a branch, or an alias, that the model has."""
    wanted = "Default" if head is None else head
    if not isinstance(wanted, str):
        raise ModelError(f"head: found {head!r}, expected the name of a branch")
    known = branches(path)
    alike = [name for name in known if name.lower() == wanted.lower()]
    if head is None:
        return "Default" if "Default" in known else None
    return head if head in known or not alike else alike[0]


def _has_hessian(path: Path, branch: str | None) -> bool:
    if path.suffix in HDF5_SUFFIXES + YAML_SUFFIXES:
        return bool((read_model_tree(path).get("model_def_script") or {}).get("hessian_mode", False))
    if not path.is_dir():
        return False
    config = stored(path)[1]["config"]
    loss = config["loss"] if branch is None else config.get("loss_dict", {}).get(branch, {})
    return loss.get("type", "ener") == "ener" and loss.get("start_pref_h", 0.0) > 0.0


def atoms_at_once(auto_batch_size: Any) -> int | None:
    """How many atoms a call may evaluate together by ``auto_batch_size``; None: as many as dpjax finds right.

    Args:
        auto_batch_size: a bool, a number of atoms, or DeePMD-kit's ``AutoBatchSize``.

    Raises:
        TypeError: anything else.
    """
    if isinstance(auto_batch_size, bool):
        return None
    number = getattr(auto_batch_size, "current_batch_size", auto_batch_size)
    if isinstance(number, int) and number > 0:
        return number
    raise TypeError(
        f"auto_batch_size: found {auto_batch_size!r}, expected a bool, a number of atoms above 0, or an AutoBatchSize"
    )


def refuse_options(neighbor_list: Any, no_jit: bool, nlist_backend: str) -> None:
    """Raises ModelError for options of DeePMD-kit's constructors that cannot do here what they say."""
    if neighbor_list is not None:
        raise ModelError("neighbor_list: dpjax finds neighbours itself, with the same result; leave it out")
    if no_jit:
        raise ModelError("no_jit: models are no TorchScript here, and always compiled; leave it out")
    if nlist_backend not in NEIGHBOR_LISTS:
        raise ModelError(
            f"nlist_backend: found {nlist_backend!r}, expected {' or '.join(map(repr, NEIGHBOR_LISTS))}: neighbours are found by "
            "vesin here"
        )
