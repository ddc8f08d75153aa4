"""The classes of ``deepmd.infer`` with dpjax behind them: the same names, argument orders, shapes and return tuples.

``from dpjax.interfaces.deepmd import DeepPot`` in the place of ``from deepmd.infer import DeepPot`` is all that a script needs
(docs/deepmd.md).
"""

from __future__ import annotations

from typing import Any

from dpjax.interfaces.deepmd.evaluator import DeepEval
from dpjax.interfaces.deepmd.kinds import DeepDipole, DeepDOS, DeepPolar, DeepPot, DeepProperty
from dpjax.interfaces.deepmd.model_devi import calc_model_devi

__all__ = [
    "DeepDOS",
    "DeepDipole",
    "DeepEval",
    "DeepPolar",
    "DeepPot",
    "DeepPotential",
    "DeepProperty",
    "calc_model_devi",
]


def DeepPotential(*args: Any, **kwargs: Any) -> DeepEval:
    """:class:`DeepEval` under its older name."""
    return DeepEval(*args, **kwargs)
