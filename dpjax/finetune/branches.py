"""Which branch of a pretrained model a training or each of its tasks starts from, and whether with its fitting net or a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpjax.errors import ConfigError

DEFAULT, RANDOM = "Default", "RANDOM"  # DeePMD-kit's names: of the only branch of a model, and of a new fitting net


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes:
        head: the branch; None for a model that has none.
        new_head: leave its fitting net behind.
        unchanged: go on with it as it is, its bias, too.
    """

    head: str | None
    new_head: bool
    unchanged: bool = False


def task_starts(model_dict: Mapping[str, Any], source: str, branches: Sequence[str] = ()) -> dict[str, Start]:
    """The start of each task.

    One that names no branch goes on with the branch of its own name as it is, or, where there is none, has a new head.

    Args:
        model_dict: of the input, as it is written.

    Raises:
        ConfigError: a branch that the model does not have.
    """
    starts = {}
    for task, section in model_dict.items():
        head = section.get("finetune_head") if isinstance(section, dict) else None
        if head is None and task in branches:
            starts[task] = Start(task, new_head=False, unchanged=True)
        else:
            key = f"model/model_dict/{task}/finetune_head"
            starts[task] = chosen_start(None, head or RANDOM, source, branches, key)
    return starts


def chosen_start(
    branch: str | None,
    finetune_head: str | None,
    source: str,
    branches: Sequence[str] = (),
    key: str = "model/finetune_head",
) -> Start:
    """The start that is asked for.  A model with branches gives its first descriptor with a new head unless one is named.

    Args:
        branch: as given with ``--model-branch``; comes before the input's.
        finetune_head: of the input's model section.
        source: the pretrained model, for messages.
        branches: their names; none for a single model.
        key: where ``finetune_head`` stands in the input.

    Raises:
        ConfigError: a branch that the model does not have.
    """
    name = branch or finetune_head or (RANDOM if branches else DEFAULT)
    if name == RANDOM:
        return Start(branches[0] if branches else None, True)
    if name in (branches or (DEFAULT,)):
        return Start(name if branches else None, False)
    key = "--model-branch" if branch else key
    holds = (
        f"has the branches {', '.join(branches)}"
        if branches
        else f"holds a single model, whose only branch is {DEFAULT!r}"
    )
    raise ConfigError(
        f"{key}: found {name!r}, but {source} {holds}. Name a branch that is there, leave the name out, or give {RANDOM!r} for a "
        "new fitting net."
    )
