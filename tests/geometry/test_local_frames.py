"""Coordinates in local frames against their definition written out for one atom, and the rules of the axes."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.geometry.local_frames import Axis, FrameRule, default_axes, local_coordinates

COUNTS = [(5, 7), (5, 0), (1, 3), (0, 0), (0, 6), (2, 2), (3, 1)]
RULE = FrameRule(3.0, (2, 3), (1, 2), (Axis(0, 1, 0), Axis(0, 0, 0)))
RULES = {
    "named": RULE,
    "second of a type": replace(RULE, axes=(Axis(0, 1, 1), Axis(1, 0, 0))),
    "both of class 1": replace(RULE, axes=(Axis(1, 1, 0), Axis(1, 0, 0))),
    "open": replace(RULE, axes=(Axis(0, -3, 0), Axis(0, -3, 1))),
    "open but for one type": replace(RULE, axes=(Axis(0, -1, 0), Axis(1, -1, 1))),
    "rank beyond what there is": replace(RULE, axes=(Axis(0, -3, 1), Axis(0, -3, 5))),
    "default": replace(RULE, axes=default_axes((2, 3))),
    "default, of class 1": replace(RULE, sel_a=(0, 1), axes=default_axes((0, 1))),
    "shorter": replace(RULE, rcut=1.6),
    "without a type": replace(RULE, axes=(Axis(0, 1, 0), Axis(0, 1, 1)), unseen=frozenset({0})),
}
TRACED = ("named", "open but for one type")  # compiled for jax, too


def atoms(seed: int = 0):
    """Displacements in sections of 6 and 8 slots, with rubbish behind the last neighbour; the nearest do not come first."""
    rng = np.random.default_rng(seed)
    sections = []
    for t, width in enumerate((6, 8)):
        disp = rng.normal(size=(len(COUNTS), width, 3))
        disp *= rng.uniform(0.7, 3.3, (len(COUNTS), width, 1)) / np.linalg.norm(disp, axis=-1, keepdims=True)
        listed = np.arange(width)[None] < np.array(COUNTS)[:, t, None]
        sections.append((np.where(listed[..., None], disp, 1e9 * disp), listed))
    return sections


def written_out(sections, i: int, rule: FrameRule):
    """The numbers of atom ``i``, slot by slot, and whether it has a frame."""
    slots = ([], [])  # of each class: displacements or None
    for t, (disp, listed) in enumerate(sections):
        near = sorted((d for d in disp[i][listed[i]] if np.linalg.norm(d) < rule.rcut), key=np.linalg.norm)
        near = [] if t in rule.unseen else near
        near += [None] * (rule.sel_a[t] + rule.sel_r[t])
        slots[0].extend(near[: rule.sel_a[t]])
        slots[1].extend(near[rule.sel_a[t] :][: rule.sel_r[t]])

    def chosen(axis: Axis):
        own, sel = slots[axis.kind], (rule.sel_a, rule.sel_r)[axis.kind]
        if axis.atype >= 0:
            slot = sum(sel[: axis.atype]) + axis.rank
            return own[slot] if slot < len(own) else None
        unasked = -axis.atype if axis.kind else -(axis.atype + 1)
        candidates = []
        for t, n in enumerate(sel):
            start = sum(sel[:t])
            candidates += [d for d in own[start : start + min(n, 3)] if d is not None and t != unasked]
        candidates.sort(key=np.linalg.norm)
        return candidates[axis.rank] if axis.rank < len(candidates) else None

    def unit(d):
        return d / np.linalg.norm(d)

    first, second = (chosen(axis) for axis in rule.axes)
    if first is not None and second is not None and unit(first) @ unit(second) < -1 + 1e-4:
        second = chosen(rule.axes[1].next)
    frame = np.zeros((3, 3))
    if first is not None and second is not None and first is not second:
        e1 = unit(first)
        e2 = unit(second - second @ e1 * e1)
        frame = np.stack([e1, e2, np.cross(e1, e2)])
    numbers = []
    for d in slots[0]:
        r = np.inf if d is None else np.linalg.norm(d)
        x, y, z = np.zeros(3) if d is None else frame @ d / r**2
        numbers += [1 / r, z, x, y]
    numbers += [0.0 if d is None else 1 / np.linalg.norm(d) for d in slots[1]]
    return np.array(numbers), frame.any()


@pytest.mark.parametrize("name", RULES)
def test_the_definition_is_met(name):
    rule, sections = RULES[name], atoms()
    got, framed = local_coordinates(sections, rule)
    assert got.shape == (len(COUNTS), rule.width)
    for i in range(len(COUNTS)):
        want, has_frame = written_out(sections, i, rule)
        np.testing.assert_allclose(got[i], want, rtol=1e-12, atol=1e-14)
        assert framed[i] == has_frame
    if name not in TRACED:
        return
    traced, also = jax.jit(local_coordinates, static_argnums=1)(
        [(jnp.asarray(disp), jnp.asarray(listed)) for disp, listed in sections], rule
    )
    np.testing.assert_allclose(traced, got, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(also, framed)


def one(*disp):
    """A single atom whose neighbours are all of one type."""
    return [(np.array([disp], float), np.ones((1, len(disp)), bool))]


ALONE = FrameRule(3.0, (3,), (0,), (Axis(0, 0, 0), Axis(0, 0, 1)))


def test_the_next_neighbour_takes_the_place_of_one_that_is_opposite():
    line = one([1.0, 0, 0], [-1.2, 1e-3, 0], [0, 0, 1.5])
    numbers, framed = local_coordinates(line, ALONE)
    assert framed.all()
    np.testing.assert_allclose(numbers[0, 8:12], [1 / 1.5, 0.0, 0.0, 1 / 1.5], atol=1e-12)  # it lies on the second axis
    bent, _ = local_coordinates(one([1.0, 0, 0], [-1.2, 0.1, 0], [0, 0, 1.5]), ALONE)
    np.testing.assert_allclose(bent[0, 8:12], [1 / 1.5, 1 / 1.5, 0.0, 0.0], atol=1e-12)  # on the third


@pytest.mark.parametrize(
    ("disp", "rule"),
    [
        pytest.param([[1.0, 0, 0]], ALONE, marks=pytest.mark.slow),
        pytest.param([[1.0, 0, 0], [-1.2, 0, 0]], ALONE, marks=pytest.mark.slow),
        pytest.param([[1.0, 0, 0], [1.2, 0, 0], [0, 2.0, 0]], ALONE, marks=pytest.mark.slow),
        pytest.param(
            [[1.0, 0, 0], [0, 1.2, 0]],
            replace(ALONE, axes=(Axis(0, 0, 0), Axis(0, 0, 0))),
            marks=pytest.mark.slow,
        ),
        ([[1.0, 0, 0], [0, 1.2, 0]], replace(ALONE, axes=(Axis(0, 0, 0), Axis(1, -1, 0)))),
    ],
    ids=["one neighbour", "only the opposite", "in one direction", "twice the same", "a class without slots"],
)
def test_without_a_frame_there_are_distances_and_finite_derivatives(disp, rule):
    numbers, framed = local_coordinates(one(*disp), rule)
    assert not framed.any()
    rows = numbers[0].reshape(-1, 4)
    np.testing.assert_allclose(rows[: len(disp), 0], 1 / np.linalg.norm(disp, axis=1))
    assert not rows[:, 1:].any()

    def total(disp):
        return jnp.sum(jnp.sin(local_coordinates([(disp, jnp.ones(disp.shape[:2], bool))], rule)[0]))

    given = jnp.asarray([disp], float)
    assert np.isfinite(jax.grad(total)(given)).all()
    assert np.isfinite(jax.hessian(total)(given)).all()


def test_a_mirror_changes_the_third_coordinate_alone():
    sections = atoms(3)
    got, _ = local_coordinates(sections, RULE)
    mirrored, _ = local_coordinates([(disp * [1, 1, -1], listed) for disp, listed in sections], RULE)
    rows, other = (x[:, : 4 * sum(RULE.sel_a)].reshape(len(COUNTS), -1, 4) for x in (got, mirrored))
    np.testing.assert_allclose(other, rows * [1, -1, 1, 1], atol=1e-13)
    assert np.abs(rows[..., 1]).max() > 0.01
