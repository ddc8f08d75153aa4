"""An input for several tasks as one input for each, and which parameters they have in common."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dpjax.config import multi_task
from dpjax.config.descriptors.kinds import MESSAGES
from dpjax.config.problems import Problem, Report
from dpjax.config.suggestions import join

OWN_KEYS = ("data_dict", "model_prob", "num_epoch_dict")
DESCRIPTOR, FITTING = "descriptor", "fitting_net"
TYPE_VECTORS = "type_embedding"
FULL_VALIDATIONS = ("full_validation", "ema_full_validation")

Pieces = Mapping[str, str]


@dataclass(frozen=True)
class TaskInput:
    """What one task would be trained with alone.

    Attributes:
        section: a whole input of one model, names of shared entries replaced by what they stand for.
        pieces: place in the tree of its parameters, such as ``descriptor`` or ``descriptor.type_embedding``, to the name of the
            piece of the common tree that stands there.
    """

    section: dict[str, Any]
    pieces: Pieces


def task_inputs(raw: dict[str, Any], steps: int) -> dict[str, TaskInput]:
    """The tasks of a normalised input, in its order.

    Args:
        raw: as ``normalize`` returns it.
        steps: length of the whole training.
    """
    branches = raw["model"]["model_dict"]
    sections = resolved_branches(raw)
    common = {key: raw[key] for key in ("learning_rate", "optimizer", "validating", "dpjax") if key in raw}
    run = {key: value for key, value in raw["training"].items() if key not in OWN_KEYS} | {"numb_steps": steps}
    return {
        name: TaskInput(
            _with_own_validation(
                copy.deepcopy(
                    {
                        "model": sections[name],
                        "loss": raw.get("loss_dict", {}).get(name, {}),
                        "training": run | raw["training"]["data_dict"][name],
                        **common,
                    }
                )
            ),
            pieces_of(name, branch),
        )
        for name, branch in branches.items()
    }


def _with_own_validation(section: dict[str, Any]) -> dict[str, Any]:
    """The input of a task; one that cannot be validated on all its frames is not, whatever the others are."""
    if _can_be_validated(section["training"], section["loss"]):
        return section
    off = dict.fromkeys(FULL_VALIDATIONS, False)
    return section | {"validating": section.get("validating", {}) | off}


def _can_be_validated(data: dict[str, Any], loss: dict[str, Any]) -> bool:
    """Full validations are of energy models, and need data to validate on."""
    return data.get("validation_data") is not None and loss.get("type", "ener") == "ener"


def resolved_branches(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The ``model`` section of each task, names of shared entries replaced by what they stand for."""
    data = copy.deepcopy(raw)
    multi_task.resolved(data, Report())
    return data["model"]["model_dict"]


def branch_of(raw: dict[str, Any], head: str) -> str | None:
    """The name of the branch that is called ``head``, or has it as an alias; None if there is none."""
    for name, branch in raw["model"]["model_dict"].items():
        if head == name or head in (branch.get("model_branch_alias") or ()):
            return name
    return None


def pieces_of(task: str, branch: dict[str, Any]) -> dict[str, str]:
    """The pieces of a branch as it is written, with names of shared entries."""
    pieces = {}
    descriptor = branch[DESCRIPTOR]
    members = descriptor.get("list") if isinstance(descriptor, dict) else None
    if members is None:
        pieces |= _piece(task, DESCRIPTOR, descriptor)
    for i, member in enumerate(members or ()):
        pieces |= _piece(task, f"{DESCRIPTOR}.members_{i}", member)
    if TYPE_VECTORS in branch:
        pieces |= _piece(task, TYPE_VECTORS, branch[TYPE_VECTORS])
    return pieces | _piece(task, FITTING, branch[FITTING])


def _not_for_several(raw: dict[str, Any]) -> Iterator[Problem]:
    """What trains one model only."""
    if raw["optimizer"].get("type") == "LKF":
        yield Problem(
            "optimizer/type", "found 'LKF', which trains one model. Choose another optimizer for several tasks."
        )
    for name, loss in raw.get("loss_dict", {}).items():
        if loss.get("type") == "dens":
            text = (
                "found 'dens', which trains one model. Train it by itself, or take the loss 'ener' for several tasks."
            )
            yield Problem(join("loss_dict", f"{name}/type"), text)


def _full_validation_of_none(raw: dict[str, Any]) -> Iterator[Problem]:
    losses = raw.get("loss_dict", {})
    able = [
        name for name, data in raw["training"]["data_dict"].items() if _can_be_validated(data, losses.get(name, {}))
    ]
    for key in FULL_VALIDATIONS:
        if raw["validating"].get(key, False) and not able:
            text = (
                "found true, but no task has both validation data and the loss `ener`, which it needs. Give one of them "
                "validation_data, or set this to false."
            )
            yield Problem(f"validating/{key}", text)


def _piece(task: str, place: str, written: Any) -> dict[str, str]:
    if not isinstance(written, str):
        return {place: f"{task}:{place}"}
    name, _, level = written.rpartition(":") if ":" in written else (written, "", "0")
    if int(level) == 0:
        return {place: f"shared:{name}"}
    return {place: f"{task}:{place}", f"{place}.{TYPE_VECTORS}": f"shared:{name}.{TYPE_VECTORS}"}


def problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """What a training of several tasks cannot do, and levels of sharing that mean nothing."""
    yield from _not_for_several(raw)
    yield from _full_validation_of_none(raw)
    sections = resolved_branches(raw)
    for name, branch in raw["model"]["model_dict"].items():
        here = join("model/model_dict", name)
        if isinstance(branch.get(FITTING), str) and not branch[FITTING].endswith(":0") and ":" in branch[FITTING]:
            text = f"found {branch[FITTING]!r}; a fitting net is shared as a whole. Leave the number out."
            yield Problem(join(here, FITTING), text)
        written = branch.get(DESCRIPTOR)
        if isinstance(written, str) and ":" in written:
            level = int(written.rpartition(":")[2])
            if level > 1 or (level == 1 and not _has_type_vectors(sections[name])):
                text = (
                    f"found {written!r}; :0 shares the whole descriptor, :1 its type vectors, which this descriptor "
                    f"{'has' if level > 1 else 'does not have'}."
                )
                yield Problem(join(here, DESCRIPTOR), text)


def _has_type_vectors(model: dict[str, Any]) -> bool:
    """Whether the descriptor of a model has type vectors, whose length is an option of it or of one of its parts."""
    descriptor = model[DESCRIPTOR]
    if TYPE_VECTORS in model:
        return False
    return "tebd_dim" in descriptor or descriptor["type"] in MESSAGES
