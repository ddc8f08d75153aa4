"""Forms of a term: how the errors of a quantity become one number, and which of their means is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dpjax.losses.means import root, weighted_mean, weighted_sum


class Residuals(NamedTuple):
    """Errors of a quantity, one row for each atom or frame.

    Attributes:
        error: (n_row, ...), finite where its weight is 0.
        weight: 0 for what does not count, else 1; (n_row, 1) or like the errors.
        natoms: (n_row, 1), by which quantities that grow with the frame are divided; never 0.
        factor: of each entry in sums and means, which does not change how many entries a mean has; finite, shaped like the
            weight.
    """

    error: jax.Array
    weight: jax.Array
    natoms: jax.Array | float = 1.0
    factor: jax.Array | float = 1.0

    def mean(self, values: jax.Array) -> jax.Array:
        """Mean of what belongs to the errors, times the factors, over the entries that count."""
        return weighted_mean(values * self.factor, self.weight)


class Score(NamedTuple):
    """Numbers of a term, () each."""

    value: jax.Array  # what is minimised
    printed: jax.Array  # what lcurve.out shows
    square: jax.Array | None = None  # plain mean square, in the units of the label


class Form(Protocol):
    """A rule that turns residuals into a score; ``kind`` is how the printed number is called, ``rmse`` or ``mae``."""

    kind: ClassVar[str]

    def __call__(self, residuals: Residuals) -> Score: ...


@dataclass(frozen=True)
class Squared:
    """Mean of d^2 / N^power; N is 1 for quantities of atoms. The rmse is always per atom."""

    power: int = 2
    kind: ClassVar[str] = "rmse"

    def __call__(self, residuals: Residuals) -> Score:
        square = residuals.error**2
        value = residuals.mean(square / residuals.natoms**self.power)
        per_atom = residuals.mean(square / residuals.natoms**2)
        return Score(value, jnp.sqrt(per_atom), residuals.mean(square))


@dataclass(frozen=True)
class Huber:
    """Mean of :func:`huber` of d / N, or of the lengths of vectors d; what is printed are mean squares."""

    delta: float
    lengths: bool = False
    kind: ClassVar[str] = "rmse"

    def __call__(self, residuals: Residuals) -> Score:
        error = length(residuals.error) if self.lengths else residuals.error
        value = residuals.mean(huber(error / residuals.natoms, self.delta))
        return Squared()(residuals)._replace(value=value)


@dataclass(frozen=True)
class Absolute:
    """Mean of abs(d) / N, or of the lengths of vectors d."""

    lengths: bool = False
    kind: ClassVar[str] = "mae"

    def __call__(self, residuals: Residuals) -> Score:
        size = length(residuals.error) if self.lengths else absolute(residuals.error)
        value = residuals.mean(size / residuals.natoms)
        return Score(value, value)


@dataclass(frozen=True)
class SummedAbsolute:
    """Sum of abs(d) times the factors; what is printed is the plain mean of abs(d)."""

    kind: ClassVar[str] = "mae"

    def __call__(self, residuals: Residuals) -> Score:
        size = absolute(residuals.error)
        return Score(weighted_sum(size * residuals.factor, residuals.weight), weighted_mean(size, residuals.weight))


def absolute(error: jax.Array) -> jax.Array:
    """Size whose slope at 0 is 0, as in PyTorch; that of ``jnp.abs`` is 1 there."""
    return error * jnp.sign(error)


def huber(error: jax.Array, delta: float) -> jax.Array:
    """``error**2 / 2`` where its size is at most ``delta``, else ``delta`` times (its size minus ``delta / 2``)."""
    size = absolute(error)
    return jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


def length(vectors: jax.Array) -> jax.Array:
    """Lengths of the rows, (n_row, 1); the slope of length 0 is 0."""
    return root(jnp.sum(vectors**2, axis=-1, keepdims=True))
