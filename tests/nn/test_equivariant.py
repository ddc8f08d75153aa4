"""Equivariant parts: against e3nn, and against what they promise, rotations and turns about an edge."""

from __future__ import annotations

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dpjax.nn.activations import activation
from dpjax.nn.equivariant import activations, grids, linear, norms
from dpjax.nn.equivariant.packed import by_orders, degrees, in_a_row, kept, kept_rows, leaving, order_slices
from dpjax.nn.equivariant.rotations import frame_of, into_frame, matrices, rolled, zonal
from tests.shared import shared

LMAX = 6
RNG = np.random.default_rng(0)
TURNS = Rotation.random(4, random_state=1).as_matrix()


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def directions(n: int) -> np.ndarray:
    """Random unit vectors, and both poles."""
    x = RNG.normal(size=(n, 3))
    return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True), [[0, 0, 1.0], [0, 0, -1.0]]])


def whole(rotation: np.ndarray, lmax: int) -> np.ndarray:
    """((L + 1)^2, (L + 1)^2) the matrix of a rotation on states."""
    return np.asarray(in_a_row(into_frame(matrices(jnp.asarray(rotation), lmax), lmax, lmax)))[
        np.argsort(kept_rows(lmax, lmax))
    ]


def state(lmax: int, width: int, n: int = 3) -> np.ndarray:
    return RNG.normal(size=(n, (lmax + 1) ** 2, width))


def test_zonal_vectors_are_the_harmonics_of_e3nn():
    """Its polar axis is y: degree l at (y, z, -x), each of unit length."""
    n = directions(10)
    turned = n[:, [1, 2, 0]] * [1.0, 1.0, -1.0]
    for ell in range(LMAX + 1):
        theirs = e3nn.spherical_harmonics(
            f"{ell}{'eo'[ell % 2]}", jnp.asarray(turned), True, normalization="norm"
        ).array
        np.testing.assert_allclose(zonal(n, LMAX)[:, ell * ell : (ell + 1) ** 2], theirs, atol=1e-12)
    np.testing.assert_allclose(zonal(n, 1)[:, 1:], turned, atol=1e-14)


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_rotations_turn_zonal_vectors(turn):
    n, rotation = directions(10), TURNS[turn]
    d = whole(rotation, LMAX)
    np.testing.assert_allclose(zonal(n, LMAX) @ d.T, zonal(n @ rotation.T, LMAX), atol=1e-12)
    np.testing.assert_allclose(d @ d.T, np.eye(len(d)), atol=1e-12)
    np.testing.assert_allclose(whole(rotation @ TURNS[0], LMAX), d @ whole(TURNS[0], LMAX), atol=1e-12)


@pytest.mark.parametrize(("lmax", "mmax"), [(0, 0), (1, 0), (2, 1), (4, 2), (6, 6)])
def test_rows_kept_in_a_frame_are_those_of_the_whole_matrix(lmax, mmax):
    kept_only = in_a_row(into_frame(matrices(jnp.asarray(TURNS), lmax, mmax), lmax, mmax))
    for got, rotation in zip(kept_only, TURNS, strict=True):
        np.testing.assert_allclose(got, whole(rotation, lmax)[kept_rows(lmax, mmax)], atol=1e-12)


def test_order_of_kept_rows():
    assert kept_rows(2, 1).tolist() == [0, 2, 6, 1, 5, 3, 7]
    assert [(s.start, s.stop) for s in order_slices(2, 1)] == [(0, 3), (3, 7)]


@pytest.mark.slow
def test_frames_turn_directions_to_z_with_finite_derivatives():
    n = directions(50)
    frames = np.asarray(frame_of(jnp.asarray(n)))
    np.testing.assert_allclose(np.einsum("nab,nb->na", frames, n), np.tile([0, 0, 1.0], (len(n), 1)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-14)

    def rows(v):
        return in_a_row(into_frame(matrices(frame_of(v / jnp.linalg.norm(v)), 4, 1), 4, 1))

    for direction in n[-2:]:
        assert np.isfinite(jax.jacfwd(jax.jacrev(rows))(jnp.asarray(direction))).all()


def test_the_first_row_of_each_degree_in_a_frame_is_the_zonal_vector():
    n = directions(5)
    blocks = matrices(frame_of(jnp.asarray(n)), LMAX, 1)
    rows = np.concatenate([b[:, b.shape[1] // 2] for b in blocks], axis=1)
    np.testing.assert_allclose(rows, zonal(n, LMAX), atol=1e-12)


@pytest.mark.parametrize("turn", range(2))
def test_maps_by_degree_and_norms_commute_with_rotations(turn):
    lmax, d = 4, whole(TURNS[turn], 4)
    x, weight, bias = state(lmax, 3), RNG.normal(size=(lmax + 1, 3, 5)), RNG.normal(size=5)
    scale, shift = RNG.normal(size=(lmax + 1, 3)), RNG.normal(size=3)
    for fn in (
        lambda x: linear.by_degree(x, jnp.asarray(weight), jnp.asarray(bias)),
        lambda x: norms.state_norm(x, jnp.asarray(scale), jnp.asarray(shift)),
    ):
        np.testing.assert_allclose(fn(jnp.asarray(d @ x)), d @ np.asarray(fn(jnp.asarray(x))), atol=1e-11)


def test_a_norm_brings_states_to_one_size():
    lmax = 3
    x = state(lmax, 8, n=20)
    x[:, 0] -= x[:, 0].mean(axis=1, keepdims=True)
    y = np.asarray(norms.state_norm(jnp.asarray(1e3 * x), jnp.ones((lmax + 1, 8)), jnp.zeros(8)))
    power = (y**2 / (2 * degrees(lmax) + 1)[:, None]).sum(axis=1).mean(axis=1) / (lmax + 1)
    np.testing.assert_allclose(power, 1.0, atol=1e-6)


@pytest.mark.parametrize(("lmax", "mmax", "streams"), [(3, 1, 1), (4, 2, 2), (2, 2, 3), (3, 0, 1)])
def test_maps_in_the_frame_commute_with_turns_about_the_edge(lmax, mmax, streams):
    width, out = 3, 2
    zero = RNG.normal(size=(streams, (lmax + 1) * width, (lmax + 1) * out))
    others = [RNG.normal(size=(streams, (lmax - m + 1) * width, 2 * (lmax - m + 1) * out)) for m in range(1, mmax + 1)]
    x = RNG.normal(size=(streams, 5, len(kept(lmax, mmax)), width))
    roll = rolled(jnp.eye(3), jnp.asarray(0.7))
    turn = np.asarray(in_a_row(into_frame(matrices(roll, lmax, mmax), lmax, mmax)))[:, kept_rows(lmax, mmax)]

    def fn(x):
        maps = [jnp.asarray(zero), *(linear.turning(jnp.asarray(m)) for m in others)]
        parts = by_orders(jnp.asarray(x), lmax, mmax)
        return np.asarray(in_a_row(linear.by_order(parts, maps, jnp.ones((streams, 1, out)))))

    np.testing.assert_allclose(fn(turn @ x), turn @ fn(x), atol=1e-11)
    gate = jnp.asarray(RNG.normal(size=(streams, width, lmax * width)))

    def gates(x):
        parts = by_orders(jnp.asarray(x), lmax, mmax)
        return np.asarray(in_a_row(activations.gated_orders(parts, gate, None, activation("silu"))))

    np.testing.assert_allclose(gates(turn @ x), turn @ gates(x), atol=1e-11)
    plain = activations.gated(jnp.asarray(x), None, gate, None, activation("silu"), kept(lmax, mmax)[:, 0])
    np.testing.assert_allclose(gates(x), plain, atol=1e-12)
    scale, shift = RNG.normal(size=(streams, lmax + 1, width)), RNG.normal(size=(streams, width))

    def norm(x):
        return np.asarray(norms.kept_norm(jnp.asarray(x), mmax, jnp.asarray(scale), jnp.asarray(shift)))

    np.testing.assert_allclose(norm(turn @ x), turn @ norm(x), atol=1e-11)


@pytest.mark.parametrize("lmax", [0, 1, 3, 6])
@pytest.mark.parametrize("linear_unit", [False, True])
def test_gates_commute_with_rotations(lmax, linear_unit):
    x, d = state(lmax, 4)[None], whole(TURNS[0], lmax)
    source = jnp.asarray(RNG.normal(size=(1, 3, 4))) if linear_unit else None
    weight = jnp.asarray(RNG.normal(size=(1, 4, 4 * lmax))) if lmax else None

    def fn(x):
        return np.asarray(activations.gated(jnp.asarray(x), source, weight, None, activation("silu"), degrees(lmax)))

    np.testing.assert_allclose(fn(d @ x), d @ fn(x), atol=1e-11)


@pytest.mark.parametrize("lmax", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("kind", ["lebedev", "angles"])
def test_products_on_a_sphere_commute_with_rotations(lmax, kind):
    points = grids.lebedev(lmax) if kind == "lebedev" else grids.angles(lmax, lmax, square=True)
    grid = grids.to_and_back(points, lmax, lmax, framed=False)
    x, d = state(lmax, 6)[None], whole(TURNS[1], lmax)
    weight = jnp.asarray(RNG.normal(size=(1, 6, 3)))

    def fn(x):
        return np.asarray(activations.on_sphere(jnp.asarray(x), weight, None, grid))

    np.testing.assert_allclose(fn(d @ x), d @ fn(x), atol=1e-10)


@pytest.mark.parametrize(("lmax", "mmax"), [(2, 1), (3, 3), (5, 2)])
def test_both_grids_bring_a_state_back(lmax, mmax):
    """What goes to the points and back is what it was, times what is owed to the orders left out."""
    for points in (grids.lebedev(lmax), grids.angles(lmax, mmax)):
        to, back = grids.to_and_back(points, lmax, mmax, framed=True)
        np.testing.assert_allclose(back @ to, np.diag(leaving(lmax, mmax)[kept(lmax, mmax)[:, 0]] ** 2), atol=1e-12)


def test_a_network_at_each_point_is_nearly_equivariant():
    lmax, d = 2, whole(TURNS[2], 2)
    grid = grids.to_and_back(grids.lebedev(lmax), lmax, lmax, framed=False)
    x = 0.3 * state(lmax, 4)
    first, second = (jnp.asarray(0.5 * RNG.normal(size=shape)) for shape in ((4, 8), (4, 4)))

    def fn(x):
        return np.asarray(activations.point_by_point(jnp.asarray(x), first, second, grid))

    error = np.abs(fn(d @ x) - d @ fn(x)).max() / np.abs(fn(x)).max()
    assert 1e-12 < error < 0.1


def test_rotations_of_the_reference():
    tables = dict(np.load(shared("golden", "dpa4", "tables", "wigner.npz")))
    np.testing.assert_allclose(zonal(tables["vec"], LMAX), tables["B"], atol=1e-12)
    for rotation, want in zip(tables["R"], tables["D"], strict=True):
        np.testing.assert_allclose(whole(rotation, LMAX), want, atol=1e-12)


@pytest.mark.parametrize("kind", ["lebedev", "e3nn"])
@pytest.mark.parametrize("layout", ["m_major", "packed"])
def test_products_on_spheres_of_the_reference(kind, layout):
    """Of a grid only what products of two functions become matters: sums over points of ``back`` times twice ``to``."""
    tables = dict(np.load(shared("golden", "dpa4", "tables", "s2grid.npz")))
    names = [name for name in tables if name.startswith(kind) and name.endswith(f"{layout}.K")]
    assert names
    for name in names:
        lmax, mmax = (int(part[1:]) for part in name.split("_")[1:3])
        framed = layout == "m_major"
        points = grids.lebedev(lmax) if kind == "lebedev" else grids.angles(lmax, mmax, square=not framed)
        to, back = grids.to_and_back(points, lmax, mmax, framed=framed)
        np.testing.assert_allclose(np.einsum("ig,gj,gk->ijk", back, to, to), tables[name], atol=1e-12, err_msg=name)
