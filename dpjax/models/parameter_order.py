"""The order of a model's parameters in DeePMD-kit, which decides what some optimizers treat together.

DeePMD-kit's order is that in which its modules register their parts; a parameter tree of ours is sorted by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Names that stand side by side in a tree, numbers aside, in DeePMD-kit's order.
SIBLINGS = (
    *("descriptor", "fitting_net"),
    *("degree_gain", "attention", "embedding", "type_pair_embedding", "type_embedding"),
    *("network", "type_network"),
    *("in_proj", "out_proj", "norm"),
    *("matrix", "bias", "idt"),
    *("members", "layers", "layer", "net", "net_all"),
)
NUMBERED = re.compile(r"(.+?)((?:_\d+)*)")


def reference_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of parameters (paths joined by ".") in DeePMD-kit's order.

    Raises:
        ValueError: a name has a part that ``SIBLINGS`` lacks.
    """
    return tuple(sorted(names, key=lambda name: [_rank(part) for part in name.split(".")]))


def _rank(part: str) -> tuple[int, list[int]]:
    """Where a part of a name stands among its siblings; of networks for pairs of types the first type runs fastest."""
    word, numbers = NUMBERED.fullmatch(part).groups()
    return SIBLINGS.index(word), [int(number) for number in reversed(numbers.split("_")[1:])]
