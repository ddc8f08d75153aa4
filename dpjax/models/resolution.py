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


@dataclass
class Resolver:
    """The coarsest resolution that was enough so far; it only becomes finer, so that few programs are compiled.

    Attributes:
        model, variables: the model whose programs are run.
        level: position among the resolutions of a layout.
    """

    model: nn.Module
    variables: Any
    level: int = 0
    _known: dict[Layout, tuple[Grid | None, ...]] = field(default_factory=dict)

    def run(self, layout: Layout, program: Callable[[Grid | None], tuple[Result, Any]]) -> Result:
        """The result of ``program`` at the first resolution that is enough.

        Args:
            layout: of the batch.
            program: grid -> (result, resolved); called again with the next grid where ``resolved`` is not all true.
        """
        if layout not in self._known:
            self._known[layout] = resolutions(self.model, self.variables, layout)
        choices = self._known[layout]
        while True:
            grid = choices[min(self.level, len(choices) - 1)]
            result, resolved = program(grid)
            if grid is None or np.all(resolved):
                return result
            self.level += 1
            finer = choices[min(self.level, len(choices) - 1)]
            how = "evaluated for every neighbour" if finer is None else f"expanded in {finer.panels} panels"
            log.info("embedding networks are too sharp for %d panels: from now on they are %s", grid.panels, how)
