"""Which branch of a pretrained model a training starts from, and whether with its fitting net or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpjax.errors import ConfigError

DEFAULT, RANDOM = "Default", "RANDOM"  # DeePMD-kit's names: of the only branch of a model, and of a new fitting net


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes:
        head: the branch; None for a model that has none.
        new_head: leave its fitting net behind.
    """

    head: str | None
    new_head: bool


def chosen_start(branch: str | None, finetune_head: str | None, source: str, branches: Sequence[str] = ()) -> Start:
    """The start that is asked for.  A model with branches gives its first descriptor with a new head unless one is named.

    Args:
        branch: as given with ``--model-branch``; comes before the input's.
        finetune_head: of the input's model section.
        source: the pretrained model, for messages.
        branches: their names; none for a single model.

    Raises:
        ConfigError: a branch that the model does not have.
    """
    name = branch or finetune_head or (RANDOM if branches else DEFAULT)
    if name == RANDOM:
        return Start(branches[0] if branches else None, True)
    if name in (branches or (DEFAULT,)):
        return Start(name if branches else None, False)
    key = "--model-branch" if branch else "model/finetune_head"
    holds = (
        f"has the branches {', '.join(branches)}"
        if branches
        else f"holds a single model, whose only branch is {DEFAULT!r}"
    )
    raise ConfigError(
        f"{key}: found {name!r}, but {source} {holds}. Name a branch that is there, leave the name out, or give {RANDOM!r} for a "
        "new fitting net."
    )
