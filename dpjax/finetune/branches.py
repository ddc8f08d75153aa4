"""Which head of a pretrained model a training starts from."""

from __future__ import annotations

from dpjax.errors import ConfigError

DEFAULT, RANDOM = "Default", "RANDOM"  # DeePMD-kit's names: of the only branch of a model, and of a new fitting net


def takes_new_head(branch: str | None, finetune_head: str | None, source: str) -> bool:
    """Whether the fitting net is to be new instead of that of the pretrained model, which has no branches.

    Args:
        branch: as given with ``--model-branch``; comes before the input's.
        finetune_head: of the input's model section.
        source: the pretrained model, for messages.

    Raises:
        ConfigError: a branch that the model does not have.
    """
    name = branch or finetune_head or DEFAULT
    if name not in (DEFAULT, RANDOM):
        key = "--model-branch" if branch else "model/finetune_head"
        raise ConfigError(
            f"{key}: found {name!r}, but {source} holds a single model, whose only branch is {DEFAULT!r}. Leave it out to go on "
            f"with the fitting net of that model, or give {RANDOM!r} for a new one."
        )
    return name == RANDOM
