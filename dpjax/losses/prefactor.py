"""Weights of terms that follow the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Prefactor:
    """Weight of a term; runs from ``start`` at the start rate to ``limit`` at rate 0."""

    start: float
    limit: float

    @property
    def active(self) -> bool:
        """A zero at either end switches the term off."""
        return self.start != 0.0 and self.limit != 0.0

    def at(self, ratio: jax.Array) -> jax.Array:
        """The value at ``ratio = learning rate / start rate``."""
        return self.limit + (self.start - self.limit) * ratio
