"""Rotations of equivariant states, and the frame of an edge.

The basis of degree l is fixed by what it makes of a direction n, the zonal vector ``B_l(n)`` of unit length:
``B_lm = sqrt(4 pi / (2 l + 1)) S_lm s_m`` with the real spherical harmonics S without the phase of Condon and Shortley,
``s_m = (-1)^m`` for m >= 0 and ``(-1)^(|m| + 1)`` for m < 0.  So ``B_1(x, y, z) = (y, z, -x)``.  A rotation R acts as the
orthogonal matrix ``D_l(R)`` with ``D_l(R) B_l(n) = B_l(R n)``.

Matrices of degree l follow from those of l - 1 and 1, of which they are a part: ``D_l = Q (D_(l-1) x D_1) Q^T`` with the
coefficients Q that couple both degrees to l.  Everything is a polynomial of the entries of R, so derivatives of any order are
finite.
"""

from __future__ import annotations

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.nn.equivariant.packed import Orders
from dpjax.nn.ranks import lifted

FIRST = (1, 2, 0)  # of which components of a vector degree 1 consists
SIGNS = (1.0, 1.0, -1.0)


def zonal(direction: np.ndarray, lmax: int) -> np.ndarray:
    """(n, (L + 1)^2) zonal vectors of all degrees, of unit vectors (n, 3).  NumPy, float64."""
    from scipy.special import assoc_legendre_p_all  # here, as SciPy changes warning filters where it is loaded

    x, y, z = np.asarray(direction, np.float64).T
    phi = np.arctan2(y, x)
    legendre = assoc_legendre_p_all(lmax, lmax, np.clip(z, -1.0, 1.0))[0]  # with the phase (-1)^m, (l, m, n)
    out = np.empty((len(x), (lmax + 1) ** 2))
    for ell in range(lmax + 1):
        for m in range(ell + 1):
            scale = math.sqrt((2 if m else 1) * math.factorial(ell - m) / math.factorial(ell + m))
            value = scale * legendre[ell, m]  # its phase is s_m
            out[:, ell * ell + ell + m] = value * np.cos(m * phi)
            if m:
                out[:, ell * ell + ell - m] = -value * np.sin(m * phi)
    return out


@cache
def coupling(ell: int) -> np.ndarray:
    """(2 l + 1, 2 l - 1, 3) orthonormal coefficients that couple degrees l - 1 and 1 to l >= 1."""
    points = np.random.default_rng(0).normal(size=(40 * (2 * ell + 1), 3))
    values = zonal(points / np.linalg.norm(points, axis=1, keepdims=True), ell)
    lower, first, wanted = (values[:, d * d : (d + 1) ** 2] for d in (ell - 1, 1, ell))
    both = np.einsum("na,nb->nab", lower, first).reshape(len(points), -1)
    q = np.linalg.lstsq(both, wanted, rcond=1e-10)[0].T  # least of all solutions: nothing of degree l - 2 takes part
    q *= math.sqrt(2 * ell + 1) / np.linalg.norm(q)
    return q.reshape(2 * ell + 1, 2 * ell - 1, 3)


def frame_of(unit: jax.Array) -> jax.Array:
    """(..., 3, 3) rotations that turn unit vectors (..., 3) to +z: the shortest ones, or in the lower half those that follow half a
    turn about y.  Derivatives of any order are finite for all directions."""
    below = unit[..., 2:] < 0.0
    turned = lifted(jnp.asarray([-1.0, 1.0, -1.0], unit.dtype), unit.ndim)
    half_turn = jnp.where(below, turned, jnp.ones_like(turned))
    x, y, z = jnp.moveaxis(unit * half_turn, -1, 0)
    c = 1.0 / (1.0 + z)
    rows = [[1.0 - x * x * c, -x * y * c, -x], [-x * y * c, 1.0 - y * y * c, -y], [x, y, z]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2) * half_turn[..., None, :]


def rolled(frame: jax.Array, angle: jax.Array) -> jax.Array:
    """Frames (..., 3, 3) turned about their z axis by angles (...)."""
    cos, sin, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    rows = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, zero + 1.0]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2) @ frame


def matrices(rotation: jax.Array, lmax: int, mmax: int | None = None) -> list[jax.Array]:
    """For each degree l the rows of order ``|m| <= M`` of ``D_l``, (..., min(2 l, 2 M) + 1, 2 l + 1).

    Args:
        rotation: (..., 3, 3).
        lmax: highest degree.
        mmax: M; None: all rows.
    """
    mmax = lmax if mmax is None else mmax
    signs = jnp.asarray(np.outer(SIGNS, SIGNS), rotation.dtype)
    first = rotation[..., FIRST, :][..., :, FIRST] * lifted(signs, rotation.ndim)
    out = [jnp.ones((*rotation.shape[:-2], 1, 1), rotation.dtype)]
    rows, before = first, 1  # of degree l, orders up to ``before``
    for ell in range(1, lmax + 1):
        wanted = min(ell, mmax + lmax - ell)  # higher degrees need one order more of this
        if ell > 1:
            rows = _next(rows, first, ell, before, wanted)
        before = wanted
        if ell == 1 and wanted < 1:
            rows, before = first[..., 1:2, :], 0
        centre, most = rows.shape[-2] // 2, min(ell, mmax)
        out.append(rows[..., centre - most : centre + most + 1, :])
    return out


def _next(lower: jax.Array, first: jax.Array, ell: int, before: int, wanted: int) -> jax.Array:
    """Rows of order up to ``wanted`` of degree l, from those up to ``before`` of degree l - 1."""
    q = coupling(ell)
    left = q[ell - wanted : ell + wanted + 1, ell - 1 - before : ell + before].reshape(2 * wanted + 1, -1)
    both = lower[..., :, None, :, None] * first[..., None, :, None, :]  # (..., r, 3, 2 l - 1, 3)
    both = both.reshape(*lower.shape[:-2], left.shape[1], 3 * (2 * ell - 1))
    right = q.reshape(2 * ell + 1, -1).T
    rows = jnp.einsum("ri,...ij->...rj", jnp.asarray(left, both.dtype), both)
    return jnp.einsum("...rj,jm->...rm", rows, jnp.asarray(right, both.dtype))


def into_frame(blocks: list[jax.Array], lmax: int, mmax: int) -> Orders:
    """Rotations of whole states into the frame of an edge, (..., L + 1, (L + 1)^2) and (..., 2, L - m + 1, (L + 1)^2).

    Args:
        blocks: of :func:`matrices`.
        lmax, mmax: degree of the state, and what orders are kept.
    """
    size, lead = (lmax + 1) ** 2, blocks[0].shape[:-2]

    def rows(m: int) -> jax.Array:
        own = []
        for ell in range(abs(m), lmax + 1):
            block = blocks[ell]
            row = block[..., m + block.shape[-2] // 2, :]
            own.append(jnp.pad(row, [(0, 0)] * len(lead) + [(ell * ell, size - (ell + 1) ** 2)]))
        return jnp.stack(own, axis=-2)

    return rows(0), *(jnp.stack([rows(-m), rows(m)], axis=-3) for m in range(1, mmax + 1))
