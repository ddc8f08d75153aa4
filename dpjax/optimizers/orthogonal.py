"""The nearest matrix with orthonormal rows, by iterations that need only matrix products.

With ``X = U S V^T`` an odd polynomial ``a X + b (X X^T) X + c (X X^T)^2 X`` acts on the singular values S alone; a few of them
bring every one that is not tiny near 1, which leaves about ``U V^T``.  Sources: Jordan et al., "Muon: an optimizer for
hidden layers" (2024), for the quintic iteration; Amsel et al., "The Polar Express", arXiv:2505.16932, for its optimal coefficients.

Matrices are stacks (n_matrix, rows, columns) with rows <= columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpjax.optimizers.precision import Rounding

Coefficients = tuple[float, float, float]

FAST: Coefficients = (3.4445, -4.7750, 2.0315)  # brings small singular values up quickly, to 0.7 ... 1.2
POLISH: Coefficients = (2.0, -1.5, 0.5)  # converges to 1

_SAFETY = 1.05  # the polynomials are stretched, so that rounding never takes a singular value out of their interval
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
POLAR_EXPRESS = tuple((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR_EXPRESS)
_RESTART = 2  # before this step the Gram matrix is computed afresh, which throws off its rounding errors
_SMALLEST_GRAM_NORM = 1e-7


def newton_schulz(x: jax.Array, steps: Sequence[Coefficients], rounded: Rounding, smallest_norm: float) -> jax.Array:
    """Iterates the matrices themselves.

    Args:
        x: (n_matrix, rows, columns), rows <= columns.
        steps: coefficients (a, b, c) of each step.
        rounded: is applied to each intermediate result.
        smallest_norm: Frobenius norms are taken to be at least this.

    Returns:
        Like ``x``; a matrix of zeros stays zero.
    """
    x = rounded(x)
    x = rounded(x / jnp.maximum(rounded(_norms(x)), smallest_norm))

    def step(x: jax.Array, coefficients: jax.Array) -> tuple[jax.Array, None]:
        a, b, c = coefficients
        gram = rounded(_product(x, x.mT))
        polynomial = rounded(b * gram + c * _product(gram, gram))
        return rounded(a * x + _product(polynomial, x)), None

    return jax.lax.scan(step, x, jnp.asarray(steps, x.dtype))[0]


def gram_newton_schulz(x: jax.Array, rounded: Rounding) -> jax.Array:
    """Iterates ``X X^T`` (rows, rows) and the product of the polynomials in its place: less work for wide matrices.

    Arguments and result as for :func:`newton_schulz`, with the five polynomials of the Polar Express.
    """
    x = rounded(x / (_norms(x) + _SMALLEST_GRAM_NORM))
    gram = rounded(_product(x, x.mT))
    identity = jnp.eye(x.shape[1], dtype=x.dtype)[None]
    transform = identity
    for k, (a, b, c) in enumerate(POLAR_EXPRESS):
        if k == _RESTART:
            x = rounded(_product(transform, x))
            gram = rounded(_product(x, x.mT))
        polynomial = rounded(b * gram + c * _product(gram, gram))
        if k in (0, _RESTART):
            transform = rounded(polynomial + rounded(jnp.asarray(a, x.dtype)) * identity)
        else:
            transform = rounded(a * transform + _product(transform, polynomial))
        if k + 1 not in (_RESTART, len(POLAR_EXPRESS)):  # else the next Gram matrix is not asked for
            half = rounded(a * gram + _product(gram, polynomial))
            gram = rounded(a * half + _product(polynomial, half))
    return rounded(_product(transform, x))


def _norms(x: jax.Array) -> jax.Array:
    """Frobenius norms, (n_matrix, 1, 1)."""
    return jnp.sqrt(jnp.sum(x * x, axis=(1, 2), keepdims=True))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    # accelerators would otherwise shorten the factors
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
