"""Choosing the series that stand for embedding networks, from coarse to fine, and going without where none is exact."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from flax import linen as nn

from dpjax.batching.batch import Layout
from dpjax.models.derivatives import resolutions
from dpjax.nn.chebyshev import Grid

log = logging.getLogger(__name__)

Result = TypeVar("Result")


PATIENCE = 3  # batches in a row that are not resolved before the next ones start with a finer grid


@dataclass
class Resolver:
    """Tries the resolution that was enough lately, and finer ones for a batch where it is not.

    A single frame with two atoms very near each other costs only its own batch more; networks that have become too sharp raise the
    level for good, so that few attempts are wasted and few programs compiled.

    Attributes:
        model, variables: the model whose programs are run.
        series: whether series may stand for its networks at all.
        level: position among the resolutions of a layout where a batch starts.
        failures: batches in a row for which that was not enough.
    """

    model: nn.Module
    variables: Any
    level: int = 0
    failures: int = 0
    series: bool = True
    _known: dict[Layout, tuple[Grid | None, ...]] = field(default_factory=dict)

    def run(self, layout: Layout, program: Callable[[Grid | None], tuple[Result, Any]]) -> Result:
        """The result of ``program`` at the first resolution that is enough.

        Args:
            layout: of the batch.
            program: grid -> (result, resolved); called again with the next grid where ``resolved`` is not all true.
        """
        if layout not in self._known:
            self._known[layout] = resolutions(self.model, self.variables, layout) if self.series else (None,)
        choices = self._known[layout][self.level :] or (None,)
        for grid in choices:
            result, resolved = program(grid)
            if grid is None or np.all(resolved):
                break
        if choices[0] is not None:
            self._note(choices, enough=grid == choices[0])
        return result

    def _note(self, choices: tuple[Grid | None, ...], enough: bool) -> None:
        """Start the next batches finer if this one was the last of too many that needed it."""
        self.failures = 0 if enough else self.failures + 1
        if self.failures == PATIENCE:
            self.level, self.failures = self.level + 1, 0
            how = "evaluated for every neighbour" if choices[1] is None else f"expanded in {choices[1].panels} panels"
            log.info("embedding networks are too sharp for %d panels: from now on they are %s", choices[0].panels, how)

    def state(self) -> dict[str, int]:
        """What a restart must know to try the same resolutions, JSON-able."""
        return {"level": self.level, "failures": self.failures}
